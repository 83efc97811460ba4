"""`jaxmed export RUN`: a trained network as one file that JAX alone can call."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def run(arguments: Sequence[str]) -> int:
    """Read the options, export the model of a run."""
    parser = argparse.ArgumentParser(
        prog="jaxmed export",
        description="Write the network of a finished run with its weights as StableHLO, for any "
        "batch size: network.stablehlo, which jax.export.deserialize reads without jaxmed, and "
        "recipe.json, which says how images are prepared.",
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument(
        "-o", "--out", type=Path, default=None, help="folder; by default `export` in the run's"
    )
    parser.add_argument(
        "--platforms", nargs="+", default=("cpu", "cuda", "tpu"), metavar="PLATFORM",
        help="where it is to run: cpu, cuda, rocm, tpu",
    )  # fmt: skip
    options = parser.parse_args([*arguments])
    from jaxmed.inference import export_model, load_model

    model = load_model(options.run)
    out = options.out or options.run / "export"
    print(export_model(out, model, platforms=options.platforms))
    return 0
