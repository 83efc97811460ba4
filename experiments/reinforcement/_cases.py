"""Scans with landmarks that follow from their masks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import linalg, ndimage

import jaxmed as jm
from jaxmed.data import contact_point, insertion_points


class Cases(NamedTuple):
    """Scans in memory.

    Attributes:
        names: of the scans.
        patients: of the scans.
        images: each (*spatial) float32, mean 0 and standard deviation 1.
        points: (n, landmarks, rank) voxels.
        spacing: (rank,) mm.
        landmarks: their names.
        unit: of distances.
        notes: for the report.
    """

    names: list[str]
    patients: list[str]
    images: list[np.ndarray]
    points: np.ndarray
    spacing: np.ndarray
    landmarks: tuple[str, ...]
    unit: str
    notes: tuple[str, ...]

    def take(self, rows: np.ndarray) -> Cases:
        """Some of them."""
        return self._replace(
            names=[self.names[i] for i in rows],
            patients=[self.patients[i] for i in rows],
            images=[self.images[i] for i in rows],
            points=self.points[rows],
        )

    def with_copies(self, copies: int, seed: int) -> Cases:
        """Each image, and copies that are turned, scaled and shaded at random."""
        rng = np.random.default_rng([seed, 1])
        made = [
            _changed(rng, x, p) for x, p in zip(self.images, self.points) for _ in range(copies)
        ]
        return self._replace(
            names=self.names + [name for name in self.names for _ in range(copies)],
            patients=self.patients + [name for name in self.patients for _ in range(copies)],
            images=self.images + [image for image, _ in made],
            points=np.concatenate([self.points, *[point[None] for _, point in made]]),
        )

    def shrunk(self, factor: int) -> Cases:
        """Means over blocks of so many voxels along each axis; what fills none is cut off."""
        if factor < 1:
            raise ValueError(f"--shrink is at least 1 voxel, got {factor}")
        return self._replace(
            images=[_blocks(x, factor) for x in self.images],
            points=(self.points - (factor - 1) / 2) / factor,
            spacing=self.spacing * factor,
        )

    def framed(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All about the middle of one shape: images, points, and where the images begin in it."""
        begin = np.array([[(n - m) // 2 for n, m in zip(shape, x.shape)] for x in self.images])
        framed = np.stack(
            [
                np.pad(
                    x,
                    [(b, n - m - b) for b, n, m in zip(low, shape, x.shape)],
                    constant_values=x.min(),
                )
                for x, low in zip(self.images, begin)
            ]
        )
        return framed[..., None], self.points + begin[:, None], begin


def hippocampus(folder: Path | None) -> Cases:
    """The centre of the surface on which the two parts of a hippocampus touch."""
    source = jm.data.decathlon(folder or jm.data.data_root() / "Task04_Hippocampus")
    read = jm.data.in_memory(source)
    spacing = np.array([example["spacing"] for example in read], float)
    if not np.allclose(spacing, spacing[0], rtol=1e-3):
        raise ValueError(f"{source.name}: scans of several voxel sizes; this experiment takes one")
    points = [contact_point(e["mask"], 1, 2, spacing=e["spacing"]) for e in read]
    names = [str(name) for name in source.case_ids]
    return Cases(
        names, names, [_standard(e["image"][..., 0]) for e in read], np.stack(points)[:, None],
        spacing[0], ("contact",), "mm",
        (*source.notes, "The landmark follows from masks, and has their errors."),
    )  # fmt: skip


def acdc(folder: Path | None) -> Cases:
    """The two insertion points of the right ventricle, in a middle slice of both phases."""
    root = folder or jm.data.data_root() / "ACDC"
    names, patients, images, points = [], [], [], []
    for path in sorted(root.glob("patient*/*_gt.nii.gz")):
        scan = jm.data.read_image(path.with_name(path.name.replace("_gt", "")))
        mask = jm.data.read_mask(path, like=scan).array
        found = {}
        for z in range(mask.shape[-1]):
            try:
                found[z] = insertion_points(mask[..., z], ventricle=1, wall=2)
            except ValueError:  # Above the base and near the apex they do not meet.
                continue
        if not found:
            continue
        z = sorted(found)[len(found) // 2]
        half = _blocks(scan.array[..., z, 0], 2)
        names.append(f"{path.name.removesuffix('_gt.nii.gz')} slice {z}")
        patients.append(path.parent.name)
        images.append(_standard(half))
        points.append((found[z] - 0.5) / 2)
    if not names:
        raise ValueError(f"{root} holds no patient*/*_gt.nii.gz in which the three structures meet")
    return Cases(
        names, patients, images, np.stack(points), np.array([2.0, 2.0]), ("first", "second"),
        "pixels", ("Voxel sizes are unknown in these files: distances are in pixels.",),
    )  # fmt: skip


def _changed(
    rng: np.random.Generator, image: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn by some 10 degrees, scale by up to 15 %, shade; drawn anew if a point would be lost."""
    rank, size = image.ndim, np.array(image.shape)
    middle = (size - 1) / 2
    while True:
        skew = np.triu(rng.normal(0, np.radians(10), (rank, rank)), 1)
        turn = linalg.expm(skew - skew.T) * rng.uniform(0.85, 1.15)
        moved = (points - middle) @ np.linalg.inv(turn).T + middle
        if ((moved >= 0) & (moved <= size - 1)).all():
            break
    # From a voxel of the copy to one of the image.
    copy = ndimage.affine_transform(
        image, turn, middle - turn @ middle, order=1, mode="constant", cval=image.min()
    )
    low, high = copy.min(), copy.max()
    shaded = ((copy - low) / max(high - low, 1e-6)) ** np.exp(rng.normal(0, 0.2))
    return _standard(shaded), moved


def _blocks(image: np.ndarray, factor: int) -> np.ndarray:
    whole = image[tuple(slice(n // factor * factor) for n in image.shape)]
    split = [m for n in whole.shape for m in (n // factor, factor)]
    return whole.reshape(split).mean(tuple(range(1, 2 * image.ndim, 2)))


def _standard(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image, np.float32)
    return (image - image.mean()) / max(float(image.std()), 1e-6)
