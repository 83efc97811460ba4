"""Images that a generator learns from and is judged by, in [-1, 1]."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource, crop_or_pad, decathlon, folds, medmnist

from .._common.sets import FLAT

SETS = (*FLAT, "hippocampus")
"""Sets of MedMNIST of one label an image, and volumes of the hippocampus."""

_GRID = (40, 56, 40)  # Voxels about the middle of a scan, of which 2 x 2 x 2 become one.


class Parts(NamedTuple):
    """A set.

    Attributes:
        sources: by part: `train`, which alone is learned from, `val` and `test`; each of `image` in
            [-1, 1] and, if there are classes, `label`, of volumes `map`, the share of each voxel
            in each structure.
        classes: their names; none for volumes.
    """

    sources: dict[str, ArraySource]
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image, (*spatial, channels)."""
        return np.shape(self.sources["train"][0]["image"])

    def arrays(self, *parts: str) -> dict[str, np.ndarray]:
        """All images of some parts, one after the other."""
        columns = [self.sources[part].arrays for part in parts]
        return {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}


def read(name: str, *, seed: int = 0) -> Parts:
    """Read a set: MedMNIST's own split, or a seeded one of the scans of hippocampi."""
    if name == "hippocampus":
        return _hippocampus(seed)
    sources, classes = {}, ()
    for part in ("train", "val", "test"):
        source = medmnist(name, part)
        arrays = {
            "image": 2 * jm.data.column(source, "image") - 1,
            "label": jm.data.column(source, "label"),
        }
        classes = tuple(source.classes)
        sources[part] = ArraySource(
            arrays, case_ids=source.case_ids, classes=classes, notes=source.notes, name=name
        )
    return Parts(sources, classes)


def _hippocampus(seed: int) -> Parts:
    source = decathlon(jm.data.data_root() / "Task04_Hippocampus")
    found: dict[str, list[Any]] = {"image": [], "map": []}
    for i in range(len(source)):
        example = source[i]
        image, mask = np.asarray(example["image"], np.float32)[..., 0], np.asarray(example["mask"])
        low, high = np.quantile(image, [0.01, 0.99])
        image = np.clip(2 * (image - low) / max(high - low, 1e-6) - 1, -1, 1)
        structures = np.stack([mask == c for c in (1, 2)], -1).astype(np.float32)
        found["image"].append(_coarse(crop_or_pad(image[..., None], _GRID, value=-1)))
        found["map"].append(_coarse(crop_or_pad(structures, _GRID)))
    arrays = {name: np.stack(rows).astype(np.float32) for name, rows in found.items()}
    part = folds(len(source), 10, seed=seed)
    test = np.sort(np.concatenate([part[0].test, part[1].test, part[2].test]))
    rest = np.setdiff1d(np.arange(len(source)), test)
    val, train = rest[::8], np.setdiff1d(rest, rest[::8])
    return Parts(
        {
            which: ArraySource(
                {name: rows[at] for name, rows in arrays.items()},
                case_ids=[source.case_ids[i] for i in at],
                name="hippocampus",
            )
            for which, at in (("train", train), ("val", val), ("test", test))
        },
        (),
    )


def _coarse(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 x 2 voxels."""
    a, b, c = (n // 2 for n in _GRID)
    return x.reshape(a, 2, b, 2, c, 2, -1).mean(axis=(1, 3, 5))
