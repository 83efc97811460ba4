"""What a data set of scans is like: all that a plan is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from jaxmed.data import DataError, Fault
from jaxmed.data.images._geometry import nonzero_box

_SAMPLED = 10_000  # voxels of a case from which intensities are estimated
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Intensity:
    """Intensities of one channel inside the structures of all cases.

    ``low`` and ``high`` are the percentiles 0.5 and 99.5.
    """

    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Fingerprint:
    """A data set of scans with masks, as a plan sees it.

    Attributes:
        cases: number of scans.
        channels: names of the channels.
        classes: names of the classes, the background first.
        shapes: voxels of each scan, cut to its nonzero region.
        spacings: voxel edge lengths of each scan, in millimetres.
        kept: median share of a scan's voxels that the nonzero region keeps.
        intensities: of each channel.
        unit_range: whether all intensities lie in [0, 1], as those of pictures do.
        volumes: median voxels of each class but the background, over the cases that have it.
        present: number of cases that have each of these classes.
        one_piece: number of masks that mark something if what each of them marks, all classes
            together, is one piece, joined by faces of voxels; else 0.
    """

    cases: int
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    spacings: tuple[tuple[float, ...], ...]
    kept: float
    intensities: tuple[Intensity, ...]
    unit_range: bool
    volumes: tuple[float, ...]
    present: tuple[int, ...]
    one_piece: int = 0

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.shapes[0])


def fingerprint(source: Any, cases: Sequence[int] | None = None, *, seed: int = 0) -> Fingerprint:
    """Read the scans and masks of a source and describe them.

    Args:
        source: of `jaxmed.data.dataset` or `decathlon`, opened with ``canonical=True``.
        cases: those to read, by default all; leave test cases out.
        seed: of the draw of voxels.

    Returns:
        The fingerprint.

    Raises:
        DataError: scans of different rank or channels, or masks that are all empty.
    """
    numbers = range(len(source)) if cases is None else [int(i) for i in cases]
    shapes, spacings, kept = [], [], []
    samples: list[np.ndarray] = []
    labels: dict[int, list[int]] = {}
    low, high = np.inf, -np.inf
    whole = True
    layout: tuple[int, int] | None = None
    for i in numbers:
        example = source[i]
        image, mask = example["image"], example["mask"]
        name = str(source.case_ids[i])
        found = (image.ndim - 1, image.shape[-1])
        layout = layout or found
        if found != layout:
            detail = (
                f"{found[0]} spatial axes and {found[1]} channels, the first scan has {layout[0]} "
                f"and {layout[1]}"
            )
            raise DataError.of([Fault(name, "shape", detail)])
        box = nonzero_box(image)
        size = image.shape[:-1] if box is None else tuple(s.stop - s.start for s in box)
        kept.append(np.prod(size) / np.prod(image.shape[:-1]))
        shapes.append(size)
        spacings.append(tuple(float(s) for s in example["spacing"]))
        low, high = min(low, float(image.min())), max(high, float(image.max()))
        values, counts = np.unique(mask[mask > 0], return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            labels.setdefault(value, []).append(count)
        inside = np.flatnonzero(mask > 0)
        if len(inside):
            whole = whole and ndimage.label(mask > 0)[1] == 1
            draw = np.random.default_rng([seed, i]).integers(0, len(inside), _SAMPLED)
            samples.append(image.reshape(-1, image.shape[-1])[inside[draw]])
    if not samples:
        raise DataError.of([Fault(str(source.name), "empty-masks", "no mask marks anything")])
    voxels = np.concatenate(samples).astype(np.float64)
    classes = mask_classes(source, max(labels))
    return Fingerprint(
        cases=len(numbers),
        channels=channel_names(source, voxels.shape[1]),
        classes=classes,
        shapes=tuple(shapes),
        spacings=tuple(spacings),
        kept=float(np.median(kept)),
        intensities=tuple(_intensity(voxels[:, c]) for c in range(voxels.shape[1])),
        unit_range=low >= 0 and high <= 1,
        volumes=tuple(float(np.median(labels.get(k, [0]))) for k in range(1, len(classes))),
        present=tuple(len(labels.get(k, [])) for k in range(1, len(classes))),
        one_piece=len(samples) if whole else 0,
    )


def mask_classes(source: Any, largest: int) -> tuple[str, ...]:
    """Names of the classes of a source's masks, by number where nothing names them."""
    labels = getattr(source, "mask_labels", None)
    named = tuple(source.classes if labels is None else labels.classes)
    if len(named) > 1:
        return named
    return ("background", *(f"class {i}" for i in range(1, largest + 1)))


def channel_names(source: Any, count: int) -> tuple[str, ...]:
    """Names of a source's channels."""
    named = tuple(getattr(source, "channels", ()) or getattr(source, "modalities", ()) or ())
    if len(named) == count:
        return named
    if count == 3:
        return ("red", "green", "blue")
    return ("image",) if count == 1 else tuple(f"channel {i}" for i in range(count))


def _intensity(values: np.ndarray) -> Intensity:
    low, high = np.percentile(values, _PERCENTILES)
    return Intensity(float(values.mean()), float(values.std()), float(low), float(high))
