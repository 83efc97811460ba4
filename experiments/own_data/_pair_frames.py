"""Scans to be registered, read and put into one frame."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmed import registration as reg
from jaxmed.data import (
    ArraySource,
    ManifestSource,
    Scan,
    Space,
    normalise,
    resample_spacing,
    to_space,
)

_LIMITS = (1.0, 99.0)


class Seen(NamedTuple):
    """What a first look at a scan told.

    Attributes:
        space: its grid.
        numbers: of the structures in its mask.
    """

    space: Space
    numbers: tuple[int, ...]

    @property
    def middle(self) -> np.ndarray:
        """The middle of its grid, in its millimetres."""
        return (self.space.affine @ [*((n - 1) / 2 for n in self.space.shape), 1.0])[:-1]

    def reach(self, origin: np.ndarray) -> np.ndarray:
        """How far it reaches from a place, in millimetres along the patient's axes."""
        ends = [(-0.5, n - 0.5) for n in self.space.shape]
        corners = np.array([[*corner, 1.0] for corner in itertools.product(*ends)])
        return np.abs(corners @ self.space.affine[:-1].T - origin).max(0)


class Frame(NamedTuple):
    """The grid on which a network sees every scan; its middle is the origin.

    Attributes:
        shape: in voxels.
        spacing: voxel edge lengths in millimetres.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @property
    def space(self) -> Space:
        """The grid, along the patient's axes."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:-1, -1] = -(np.array(self.shape) - 1) / 2 * self.spacing
        return Space(self.shape, affine)


class Ready(NamedTuple):
    """A scan as the network sees it, in the frame's millimetres.

    Attributes:
        image: on the frame's grid; beyond its border it goes on as it ends.
        inside: (*spatial,) where it is one.
        mask: on its own grid, if there is one, in classes from 1 on.
    """

    image: Scan
    inside: np.ndarray
    mask: Scan | None


def look(source: ManifestSource, which: Sequence[int]) -> dict[int, Seen]:
    """Look at scans once: their grids, and what their masks hold.

    Raises:
        ValueError: scans of several numbers of axes or channels, an image of one value; names them.
    """
    kinds: dict[tuple[int, int], str] = {}
    found = {}
    for i in which:
        image = source.image(i)
        name = source.case_ids[i]
        kinds.setdefault((image.array.ndim - 1, image.array.shape[-1]), name)
        if len(kinds) > 1:
            (axes, channels), (others, more) = kinds
            one, other = kinds.values()
            raise ValueError(
                f"{source.name}: {one} has {axes} axes and {channels} channels, {other} {others} "
                f"and {more}: a network registers scans of one kind"
            )
        if np.ptp(image.array) == 0:
            raise ValueError(
                f"{source.name}: {name} holds one value: there is nothing to register by"
            )
        numbers = () if source.masks is None else np.unique(source.mask(i, like=image).array)
        found[i] = Seen(image.space, tuple(int(n) for n in numbers if n))
    return found


def numbers_of(
    source: ManifestSource, seen: Mapping[int, Seen], train: Sequence[int]
) -> tuple[int, ...]:
    """The numbers of structures in the masks that are trained on, in order.

    Raises:
        ValueError: no mask holds one, only one scan's holds a number, or one that is measured holds
            another; names the scan.
    """
    if source.masks is None:
        return ()
    having: dict[int, list[int]] = {}
    for i in train:
        for number in seen[i].numbers:
            having.setdefault(number, []).append(i)
    if not having:
        raise ValueError(f"{source.name}: no mask that is trained on has a structure")
    remedy = "Say what numbers mean by --map NUMBER=CLASS, or leave that scan out"
    for number, those in sorted(having.items()):
        if len(those) == 1:
            raise ValueError(
                f"{source.name}: of the masks that are trained on only that of "
                f"{source.case_ids[those[0]]} holds {number}: a structure is in several. {remedy}"
            )
    for i, one in seen.items():
        if strange := sorted({*one.numbers} - having.keys()):
            raise ValueError(
                f"{source.name}: the mask of {source.case_ids[i]} holds {strange[0]}, which no "
                f"mask that is trained on holds (there are {sorted(having)}). {remedy}"
            )
    return tuple(sorted(having))


def origins(
    source: ManifestSource, seen: Mapping[int, Seen], centred: bool
) -> dict[int, np.ndarray]:
    """What of each scan's millimetres is the frame's origin: its middle, or its patient's first's.

    The second keeps how scans of one patient lie to each other, as their headers say.
    """
    first: dict[str, np.ndarray] = {}
    found = {}
    for i, one in seen.items():
        found[i] = one.middle
        if not centred and source.groups is not None:
            found[i] = first.setdefault(source.groups[i], one.middle)
    return found


def frame_of(seen: Mapping[int, Seen], around: Mapping[int, np.ndarray], size: int | None) -> Frame:
    """The grid that holds the scans: as fine as most of them, edges of `size` voxels at most.

    Args:
        seen: the scans.
        around: where of each the origin is.
        size: by default 64 of volumes and 192 of pictures.
    """
    rank = len(next(iter(seen.values())).space.shape)
    size = size or (64 if rank == 3 else 192)
    if size < 8:
        raise ValueError(f"--size is 8 voxels or more, got {size}")
    longest = 2 * np.max([one.reach(around[i]) for i, one in seen.items()], 0)
    usual = np.median([one.space.spacing for one in seen.values()], 0)
    spacing = np.maximum(usual, longest / size)
    shape = np.ceil(longest / spacing - 1e-6).astype(int)
    even = np.where(shape > 8, -(-shape // 8) * 8, shape)
    return Frame(tuple(even.tolist()), tuple(spacing.tolist()))


def ready(
    source: ManifestSource, i: int, frame: Frame, origin: np.ndarray, numbers: Sequence[int]
) -> Ready:
    """Read a scan and put it onto the frame, `origin` of its own millimetres in the middle."""
    read = source.image(i)
    affine = read.affine.copy()
    affine[:-1, -1] -= origin
    mask = None
    if source.masks is not None:
        array = source.mask(i, like=read).array
        mask = Scan(np.searchsorted([0, *numbers], array).astype(np.int32), affine, read.file)
    scan = Scan(normalise(read.array, "percentile", limits=_LIMITS), affine, read.file)
    if not np.allclose(scan.spacing, frame.spacing, rtol=0.01):
        scan = resample_spacing(scan, frame.spacing)
    space = frame.space
    inside = scan.space.reaches(space).astype(np.float32)
    still = reg.affine_warp(np.eye(len(affine)))
    image = reg.warp_scan(still, going_on(scan), space)
    return Ready(image._replace(file=space), inside, mask)


def going_on(scan: Scan) -> Scan:
    """The scan with its border repeated on all sides, by half as much as it is long and a voxel."""
    room = [n // 2 + 1 for n in scan.array.shape[:-1]]
    array = np.pad(scan.array, [*((n, n) for n in room), (0, 0)], mode="edge")
    start = np.eye(len(scan.affine))
    start[:-1, -1] = [-n for n in room]
    return Scan(array, scan.affine @ start, scan.file)


def stacked(source: ManifestSource, which: Sequence[int], found: Sequence[Ready]) -> ArraySource:
    """Scans on the frame as arrays, to be paired."""
    arrays = {
        "image": np.stack([one.image.array for one in found]),
        "inside": np.stack([one.inside for one in found]),
    }
    masks = [(one.mask, one.image.space) for one in found if one.mask is not None]
    if masks:
        arrays["mask"] = np.stack([to_space(m.array, m.affine, space) for m, space in masks])
    groups = source.groups
    return ArraySource(
        arrays,
        case_ids=[source.case_ids[i] for i in which],
        groups=None if groups is None else [groups[i] for i in which],
    )
