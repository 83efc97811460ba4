"""Images in which agents look about, so laid out that a window is copied row by row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike
from scipy import ndimage

from jaxmed.core import Array
from jaxmed.reinforcement.imaging._sampled import check_outside

_STEPS = 65534  # Of int16, between -32767 and 32767.


@dataclass(frozen=True)
class PackedVolumes:
    """Images, each at several scales, in one array; made by :func:`pack_volumes`.

    Attributes:
        values: all voxels of all images and scales, one after the other.
        begin: where an image at a scale begins in ``values``, ``(n, scales)``.
        size: voxels along each axis, ``(n, rank)``.
        stride: voxels between neighbours of a window, and of a step, ``(n, scales, rank)``.
        spacing: mm between voxels along each axis, ``(n, rank)``.
        offset: what is added to a value multiplied by ``factor``, ``(n, channels)``.
        factor: by which a stored value is multiplied, ``(n, channels)``.
        scales: multiples of the smallest spacing, coarse to fine.
        window: voxels of a window along each axis.
    """

    values: Array
    begin: Array
    size: np.ndarray
    stride: np.ndarray
    spacing: np.ndarray
    offset: Array
    factor: Array
    scales: tuple[int, ...]
    window: int

    @property
    def rank(self) -> int:
        """How many spatial axes the images have."""
        return self.size.shape[1]

    def __len__(self) -> int:
        return len(self.size)


def pack_volumes(
    volumes: Sequence[ArrayLike] | ArrayLike,
    *,
    spacing: ArrayLike,
    window: int = 13,
    scales: Sequence[int] = (3, 2, 1),
    outside: float = 0.0,
    storage: Literal["int16", "float32"] = "int16",
    channels: bool = False,
) -> PackedVolumes:
    """Lay out images of any sizes so that windows about any voxel, at any scale, are cut fast.

    At a scale ``s`` neighbours in a window are ``s`` times the smallest spacing of the set apart,
    in whole voxels and at least one; images are smoothed beforehand by a Gaussian of
    ``(stride - 1) / 2`` voxels. Voxels are stored by the remainders of their place by the stride,
    so that a row of a window is one piece of memory, and its neighbours lie near.

    Args:
        volumes: images, each ``(*spatial)``, or ``(*spatial, channels)`` with ``channels``; two or
            three spatial axes.
        spacing: mm between voxels along each axis, ``(rank,)``, or of each image ``(n, rank)``.
        window: voxels of a window along each axis, an odd number.
        scales: from coarse to fine, whole numbers.
        outside: what a window shows beyond the borders.
        storage: ``"int16"`` keeps 65,535 grey values of each image and channel, between its
            smallest and its largest (or ``outside``, if that lies beyond), in half the memory, so
            that a value is at most 1/131,068 of this range from what it was; ``"float32"`` keeps
            all.
        channels: whether the last axis of the images is not spatial.

    Returns:
        The images, for :func:`landmark` and its like.

    Raises:
        ValueError: for no image, images of another rank or with values that are not finite,
            a spacing that does not fit them, no scale or scales that do not fall, a window that is
            even or cannot be filled by any image, an ``outside`` that is not finite, values that
            16 bits cannot tell apart, or more values than 32-bit indices reach.
    """
    arrays = checked_volumes(volumes, channels)
    rank = arrays[0].ndim - 1
    mm = spacings_of(spacing, len(arrays), rank)
    steps = checked_scales(scales)
    size = np.array([x.shape[:-1] for x in arrays])
    _check_window(window, size)
    near = steps * mm.min()  # mm between neighbours at each scale.
    stride = np.maximum(np.rint(near[:, None] / mm[:, None, :]), 1).astype(int)
    low, high = (
        np.stack([f(x.reshape(-1, x.shape[-1]), axis=0) for x in arrays]) for f in (np.min, np.max)
    )
    check_outside(outside)
    if storage == "int16":
        offset, factor = _sixteen_bits(low.astype(float), high.astype(float), outside)
    elif storage == "float32":
        offset, factor = np.zeros_like(low), np.ones_like(low)
    else:
        raise ValueError(f"storage is 'int16' or 'float32', got {storage!r}")
    half = window // 2
    begin = np.zeros((len(arrays), len(steps)), np.int64)
    pieces, total = [], 0
    for i, (x, far) in enumerate(zip(arrays, stride, strict=True)):
        for level, apart in enumerate(far):
            piece = (_by_phase(x, apart, half, outside) - offset[i]) / factor[i]
            piece = np.rint(piece) if storage == "int16" else piece
            begin[i, level] = total
            pieces.append(piece.astype(storage).ravel())
            total += pieces[-1].size
    # What is read from where there is no image or voxel: NaN, of 16 bits by its factor.
    pieces.append(
        np.full(window * arrays[0].shape[-1], 0 if storage == "int16" else np.nan, storage)
    )
    if total >= 2**31:
        raise ValueError(
            f"{len(arrays)} images at {len(steps)} scales are {total:,} values, more than 32-bit "
            "indices reach: give fewer images, or smaller ones"
        )
    return PackedVolumes(
        values=jnp.asarray(np.concatenate(pieces)),
        begin=jnp.asarray(begin, jnp.int32),
        size=size,
        stride=stride,
        spacing=mm,
        offset=jnp.asarray(offset, jnp.float32),
        factor=jnp.asarray(factor, jnp.float32),
        scales=tuple(int(s) for s in steps),
        window=window,
    )


def windows(packed: PackedVolumes) -> Callable[[Array, Array, Array], Array]:
    """Make ``(image, scale, position) -> window``, ``(*(window,) * rank, channels)`` float32.

    Args:
        packed: the images.

    Returns:
        A function of the image's number, the scale's number and a position in whole voxels; under
        ``vmap`` it is one gather of rows. A window about no voxel of an image is NaN.
    """
    rank, across = packed.rank, packed.window
    channels = packed.offset.shape[1]
    size, stride = (jnp.asarray(x, jnp.int32) for x in (packed.size, packed.stride))
    nowhere = packed.values.size - across * channels
    each = jnp.asarray(_each(packed.size[:, None], packed.stride), jnp.int32)
    about = jnp.arange(across) - across // 2
    rows = lax.GatherDimensionNumbers(
        offset_dims=(rank - 1,), collapsed_slice_dims=(), start_index_map=(0,)
    )

    def window(image: Array, scale: Array, position: Array) -> Array:
        image, scale, position = (jnp.asarray(x, jnp.int32) for x in (image, scale, position))
        there = ((position >= 0) & (position < size[image])).all()
        there &= (image >= 0) & (image < len(packed))
        there &= (scale >= 0) & (scale < len(packed.scales))
        apart, n = stride[image, scale], each[image, scale]
        at, phase = position // apart, position % apart
        stored = n + jnp.array([2] * (rank - 1) + [across - 1])
        block = jnp.zeros((), jnp.int32)
        for axis in range(rank):
            block = block * apart[axis] + phase[axis]
        line = block
        for axis in range(rank - 1):
            # One voxel is stored beyond each border, for all that lie there.
            here = jnp.clip(at[axis] + about, -1, n[axis]) + 1
            line = line[..., None] * stored[axis] + here
        start = packed.begin[image, scale] + (line * stored[-1] + at[-1]) * channels
        start = jnp.where(there, start, nowhere)
        # Behind a barrier XLA computes them once, not anew for each voxel of a row.
        start = lax.optimization_barrier(start)
        # All starts are within: across lines by the clip above, along them by their padding.
        cut = lax.gather(
            packed.values, start[..., None], rows, (across * channels,), mode="promise_in_bounds"
        )
        cut = cut.reshape((across,) * rank + (channels,))
        if cut.dtype == jnp.float32:
            return cut
        factor = jnp.where(there, packed.factor[image], jnp.nan)
        factor, offset, cut = lax.optimization_barrier((factor, packed.offset[image], cut))
        return cut.astype(jnp.float32) * factor + offset

    return window


def _sixteen_bits(
    low: np.ndarray, high: np.ndarray, outside: float
) -> tuple[np.ndarray, np.ndarray]:
    """Offset and factor by which int16 holds what lies between, and what lies outside."""
    whole = np.maximum(high, outside) - np.minimum(low, outside)
    factor = np.where(whole > 0, whole, 1) / _STEPS
    few = (high > low) & (256 * factor > high - low)
    if few.any() or factor.min() < np.finfo(np.float32).tiny:
        i, channel = (int(x) for x in np.argwhere(few | (factor == factor.min()))[0])
        raise ValueError(
            f"volumes[{i}], channel {channel}, has values from {low[i, channel]:g} to "
            f"{high[i, channel]:g} beside outside={outside:g}, which 16 bits cannot tell apart: "
            "give an outside near them, scale them, or storage='float32'"
        )
    offset = (np.minimum(low, outside) + np.maximum(high, outside)) / 2
    return offset.astype(np.float32), factor.astype(np.float32)


def _each(size: np.ndarray, stride: np.ndarray) -> np.ndarray:
    """Voxels of a phase along each axis, the last of which may lie beyond the border."""
    return -(-size // stride)


def _by_phase(image: np.ndarray, stride: np.ndarray, half: int, outside: float) -> np.ndarray:
    """An image with its borders, ``(*phases, *voxels of a phase, channels)``."""
    if (stride > 1).any():
        image = ndimage.gaussian_filter(image, [*(stride - 1) / 2, 0], mode="nearest")
    size, rank = np.array(image.shape[:-1]), len(stride)
    # Lines hold all that a window may reach; across them an index beyond the border is clipped.
    border = np.array([1] * (rank - 1) + [half])
    each = _each(size, stride) + 2 * border
    around = [(b * s, n * s - m - b * s) for b, s, n, m in zip(border, stride, each, size)]
    padded = np.pad(image, [*around, (0, 0)], constant_values=outside)
    split = [n for pair in zip(each, stride) for n in pair]
    axes = [*range(1, 2 * rank, 2), *range(0, 2 * rank, 2), 2 * rank]
    return padded.reshape(*split, image.shape[-1]).transpose(axes)


def checked_volumes(volumes: Any, channels: bool) -> list[np.ndarray]:
    """The images as float32 with channels, all of one rank, finite."""
    with np.errstate(over="ignore"):  # What float32 does not hold is told below.
        arrays = [np.asarray(x, np.float32) for x in volumes]
    if not arrays:
        raise ValueError("there are no volumes to look at")
    arrays = [x if channels else x[..., None] for x in arrays]
    for i, x in enumerate(arrays):
        if x.ndim not in (3, 4) or x.ndim != arrays[0].ndim or 0 in x.shape:
            expected = "(*spatial, channels)" if channels else "(*spatial)"
            raise ValueError(
                f"volumes[{i}] has the shape {x.shape[: None if channels else -1]}: volumes are "
                f"{expected}, of two or three spatial axes, all of them of as many"
            )
        if x.shape[-1] != arrays[0].shape[-1]:
            raise ValueError(
                f"volumes[{i}] has {x.shape[-1]} channels, volumes[0] has {arrays[0].shape[-1]}"
            )
        if not np.isfinite(x).all():
            raise ValueError(
                f"volumes[{i}] has {int((~np.isfinite(x)).sum())} values that are not finite as "
                "float32: replace them, or leave the volume out"
            )
    return arrays


def spacings_of(spacing: Any, n: int, rank: int) -> np.ndarray:
    """``(n, rank)`` mm."""
    if spacing is None:
        raise ValueError(
            f"spacing=None: give mm between voxels along each of the {rank} axes, (1,) * {rank} "
            "where they are unknown; distances are then in voxels"
        )
    mm = np.asarray(spacing, float)
    if mm.shape not in ((rank,), (n, rank)):
        raise ValueError(
            f"spacing has the shape {mm.shape}; for {n} images of {rank} axes it is ({rank},) or "
            f"({n}, {rank})"
        )
    if not (np.isfinite(mm).all() and (mm > 0).all()):
        raise ValueError(f"spacing is of mm above 0, got {mm.tolist()}")
    return np.broadcast_to(mm, (n, rank)).copy()


def checked_scales(scales: Sequence[int]) -> np.ndarray:
    """Whole numbers from coarse to fine."""
    steps = np.asarray(scales)
    whole = steps.ndim == 1 and steps.size and np.array_equal(steps, np.rint(steps))
    if not whole or steps[-1] < 1 or any(a <= b for a, b in itertools.pairwise(steps)):
        raise ValueError(
            f"scales are whole numbers from coarse to fine, such as (3, 2, 1), got {scales!r}"
        )
    return steps.astype(int)


def _check_window(window: int, size: np.ndarray) -> None:
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window has a voxel in its middle, so it is odd, got window={window}")
    most = 2 * int(size.max()) - 1
    if window > most:
        raise ValueError(
            f"window={window} reaches beyond every image from all of its voxels: the longest axis "
            f"has {size.max()} voxels, so {most} shows all there is"
        )
