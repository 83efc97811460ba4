"""Slices of gliomas in three sequences, of which one is made of the other two."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource, folds, in_memory, lgg_mri

SEQUENCES = ("pre", "flair", "post")


class Slices(NamedTuple):
    """Patients that are learned from, and one fold that is not.

    Attributes:
        train: `source` (n, height, width, 2) and `target` (n, height, width, 1) in [-1, 1], `mask`.
        test: likewise, of other patients.
        left_out: patients whose sequences are one and the same, three times or twice.
    """

    train: ArraySource
    test: ArraySource
    left_out: tuple[str, ...]


def read(path: Path | None, target: str, *, shrink: int, held_out: int, seed: int) -> Slices:
    """Read the folder `kaggle_3m`, and deal its patients.

    Where a sequence was not measured the data have another one in its place. Patients whose target
    stands among the sources, or whose sources are one, would make the task another, and are left
    out.

    Args:
        path: the folder; by default that in JAXMED_DATA.
        target: the sequence that is made.
        shrink: pixels along each axis that become one.
        held_out: one in so many patients is held out.
        seed: of the deal.
    """
    source = in_memory(lgg_mri(path or jm.data.data_root() / "lgg_mri" / "kaggle_3m"))
    image, mask = _small(source.arrays["image"], source.arrays["mask"], shrink)
    groups = np.array(source.groups)
    alike = np.zeros(len(groups), bool)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        alike |= abs(image[..., a] - image[..., b]).max(axis=(1, 2)) < 1e-6
    left_out = tuple(sorted(set(groups[alike].tolist())))
    kept = np.flatnonzero(~np.isin(groups, left_out))
    names = np.unique(groups[kept])
    if len(names) < max(2, held_out):
        raise ValueError(f"{len(names)} patients are too few to hold out one in {held_out}")
    fold = folds(len(names), held_out, seed=seed)[0]
    k = SEQUENCES.index(target)
    arrays = {
        "source": np.delete(2 * image - 1, k, axis=-1),
        "target": 2 * image[..., k : k + 1] - 1,
        "mask": mask,
    }
    parts = []
    for rows in (fold.train, fold.test):
        at = kept[np.isin(groups[kept], names[rows])]
        parts.append(
            ArraySource(
                {name: array[at] for name, array in arrays.items()},
                case_ids=[source.case_ids[i] for i in at],
                groups=groups[at].tolist(),
                classes=("background", "tumour"),
                name="lgg_mri",
            )
        )
    return Slices(*parts, left_out)


def _small(image: np.ndarray, mask: np.ndarray, shrink: int) -> tuple[np.ndarray, np.ndarray]:
    n, height, width, channels = image.shape
    blocks = (n, height // shrink, shrink, width // shrink, shrink)
    shares = mask.reshape(blocks).mean((2, 4))
    return (
        image.reshape(*blocks, channels).mean((2, 4)).astype(np.float32),
        (shares >= 0.5).astype(np.int32),
    )
