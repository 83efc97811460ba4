"""`jaxmed demo`: the experiment `demo`, with its numbers explained."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmed.cli._given import read_study, tell
from jaxmed.cli.runs._experiment import load
from jaxmed.cli.runs._runner import run_experiment
from jaxmed.cli.runs._train import parse


def run(arguments: Sequence[str]) -> int:
    """Run the demo, and say what came out and where it is."""
    experiment = load("demo")
    config, out, study, *_ = parse(experiment, arguments, alone=True)
    out = out or Path("runs") / "demo"
    print(
        f"A 3D U-Net learns grey and white matter from {config.heads} synthetic heads, then "
        "segments a real scan."
    )
    command = shlex.join(["jaxmed", "demo", *arguments])
    results = run_experiment(experiment, config, out, command=command, study=read_study(study))
    tell(results, out / "report.html")
    print("\n" + meaning(results.metrics))
    print(f"Open {(out / 'report.html').absolute()} in a browser for curves and pictures.")
    return 0


def meaning(metrics: Mapping[str, Any]) -> str:
    """What the Dice of the real scan means, in words."""
    grey, white = (metrics[f"real_dice/{tissue} matter"].value for tissue in ("grey", "white"))
    return (
        f"On the real MNI152 T1 template the network's grey matter has a Dice of {grey:.2f} and "
        f"its white\nmatter of {white:.2f} with the atlas: 1 is the same voxels, 0 none in common; "
        "above 0.8 only\nthe outermost voxels differ. It had seen synthetic scans alone."
    )
