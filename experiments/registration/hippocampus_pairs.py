"""Register hippocampi of different people without labels (Medical Segmentation Decathlon, Task 04).

    jaxmed train hippocampus_pairs
    jaxmed train hippocampus_pairs --symmetric --labels nearest

The last scans in the order of the folder, the first of them with the last and so on inwards, as
Learn2Reg 2020 pairs its own; the middles of the grids lie on each other to begin with. Nothing is
learned. What was chosen (penalty, levels, steps) was chosen on other scans of the folder. Dice of
the two parts is a mean over pairs; each scan occurs once.

Expected on 30 pairs: mean Dice .764 (.744 to .784) from .582 as the scans lay and .670 after the
affine map; standard deviation of the logarithm of the Jacobian .062 as Learn2Reg computes it, .249
plainly; no voxel folds. About six seconds of one CPU core a pair.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import jaxmed as jm
from jaxmed import losses
from jaxmed.data import decathlon
from jaxmed.report import Results, Split, stage

from ._hippocampi import pairs_of
from ._pairs import HowPairs, registered, told


@dataclasses.dataclass(frozen=True)
class Config(HowPairs):
    """What is registered, and how.

    Args:
        data: the Decathlon folder; by default Task04_Hippocampus in JAXMED_DATA.
        pairs: how many; twice as many scans are taken, the last ones.
        skip: scans at the end that are left out, to choose settings on others.
    """

    data: Path | None = None
    pairs: int = 30
    skip: int = 0


def run(config: Config, out: Path) -> Results:
    """Register the pairs and measure their masks."""
    seconds: dict[str, float] = {}
    source = decathlon(config.data or jm.data.data_root() / "Task04_Hippocampus")
    n = len(source) - config.skip
    if not 2 <= config.pairs <= n // 2:
        raise ValueError(f"--pairs: 2 to {n // 2} of {n} scans, got {config.pairs}")
    similarity = partial(losses.lncc, window=config.window)
    with stage(seconds, "registration"):
        pairs = [*pairs_of(source, n, config.pairs)]
        return registered(
            pairs,
            config,
            similarity,
            classes=source.classes[1:],
            title="Hippocampi of different people, registered",
            description=f"{len(pairs)} pairs of scans of different people. {told(config)}",
            splits=(Split("pairs", len(pairs)),),
            notes=source.notes,
            seconds=seconds,
        )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
