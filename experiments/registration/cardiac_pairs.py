"""Carry masks of the heart from end-diastole to end-systole (ACDC).

    jaxmed train cardiac_pairs --data ACDC

End-diastole is moved onto end-systole of the same patient, without masks; the mask drawn at
end-diastole is carried along and compared with the one drawn at end-systole. Nothing is learned.
The folder is the challenge's: `patient*/Info.cfg`, which names the frames, the frames, and their
masks with `_gt`. Where its headers say voxels of 1 mm in every direction, which no cine has,
voxels of 1.5 x 1.5 x 10 mm are assumed for the penalty; Dice does not depend on it.

Expected on forty patients: mean Dice .797 (.775 to .819),
from .602 as the heart lay at end-diastole; no voxel folds; less than two minutes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

import jaxmed as jm
from jaxmed import losses
from jaxmed.data import read_image, read_mask
from jaxmed.report import Results, Split, stage

from ._pairs import HowPairs, Linear, Pair, registered, side, told

ASSUMED = (1.5, 1.5, 10.0)
CLASSES = ("right ventricle", "myocardium", "left ventricle")
SHAPE = (128, 128, 16)


@dataclasses.dataclass(frozen=True)
class Config(HowPairs):
    """What is registered, and how.

    Args:
        data: the folder; by default ACDC in JAXMED_DATA.
        patients: how many, in the order of their names; 0 is all.
        skip: how many of the first are left out, to choose settings on them.
    """

    data: Path | None = None
    patients: int = 0
    skip: int = 0
    linear: Linear = "none"
    window: int = 9
    levels: tuple[int, ...] = (2, 1)


def run(config: Config, out: Path) -> Results:
    """Register the patients and measure the carried masks."""
    seconds: dict[str, float] = {}
    folder = config.data or jm.data.data_root() / "ACDC"
    found = sorted(path.parent for path in folder.glob("*/Info.cfg"))[config.skip :]
    found = found[: config.patients or None]
    if len(found) < 2:
        raise ValueError(f"--data {folder}: two folders or more with Info.cfg, found {len(found)}")
    similarity = partial(losses.lncc, window=(config.window,) * 2 + (1,))
    with stage(seconds, "registration"):
        return registered(
            _pairs(found),
            config,
            similarity,
            classes=CLASSES,
            title="End-diastole carried to end-systole",
            description=f"{len(found)} patients. {told(config)}",
            splits=(Split("patients", len(found)),),
            seconds=seconds,
        )


def _pairs(folders: list[Path]) -> Iterator[Pair]:
    for folder in folders:
        lines = (folder / "Info.cfg").read_text(encoding="utf-8").splitlines()
        said = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        sides = []
        for phase in ("ES", "ED"):
            stem = f"{folder.name}_frame{int(said[phase]):02d}"
            image = read_image(folder / f"{stem}.nii.gz")
            mask = read_mask(folder / f"{stem}_gt.nii.gz")
            spacing = ASSUMED if np.allclose(image.spacing, 1) else image.spacing
            sides.append(side(image.array, mask.array, np.diag([*spacing, 1.0]), SHAPE))
        yield Pair(folder.name, *sides)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
