"""Seconds to import, each in a fresh process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable

from benchmarks._case import Case, Options, Run, UnavailableError


def cases(options: Options) -> list[Case]:
    """The bare package, the statistics alone, and all that a training run touches."""
    del options
    everything = "import jaxmed; jaxmed.networks, jaxmed.losses, jaxmed.train, jaxmed.data"
    return [
        _case("import jaxmed", "import jaxmed", {"python": "pass"}),
        _case("import jaxmed.stats", "import jaxmed.stats", {"scipy": "import scipy.stats"}),
        _case(
            "what a training run imports",
            everything,
            {
                "jax": "import jax, flax.linen, optax",
                "torch": "import torch",
                "monai": "import monai, monai.networks.nets, monai.losses, monai.transforms",
            },
        ),
    ]


def _case(name: str, ours: str, peers: dict[str, str]) -> Case:
    return Case(name, {"jaxmed": _side(ours), **{k: _side(v) for k, v in peers.items()}})


def _side(code: str) -> Callable[[], Run]:
    def make() -> Run:
        package = code.removeprefix("import ").split(",")[0].split(";")[0].split(".")[0]
        if code != "pass" and importlib.util.find_spec(package) is None:
            raise UnavailableError(f"pip install {package}")

        def call() -> None:
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(f"{code}: {done.stderr.strip()[-500:]}")

        return Run(call)

    return make
