"""Map of a bag's instance scores in the image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def instance_map(
    scores: ArrayLike,
    centres: ArrayLike,
    shape: Sequence[int],
    patch: int | Sequence[int],
    *,
    mask: ArrayLike | None = None,
    fill: float = np.nan,
) -> NDArray[np.float64]:
    """Draw each instance's score over its patch, averaging where patches overlap.

    The scores are an attention, or one class's column of ``instance_logits``, of one bag, as
    returned by :func:`jaxmed.paradigms.multiple_instance`. Attention sums to 1 over a bag: divide
    by its maximum to compare bags.

    Args:
        scores: (instances,) scores.
        centres: (instances, axes), each patch's centre in voxels, in the order of ``shape``.
        shape: shape of the image in voxels, one to three axes.
        patch: width of a patch in voxels, one number or one per axis. Around a centre c lie the
            voxels from ``round(c) - (patch - 1) // 2`` on; voxels outside the image are ignored.
        mask: (instances,), 0 for padding, which is not drawn.
        fill: value where there is no patch.

    Returns:
        The map, of the shape ``shape``, float64.

    Raises:
        ValueError: if the shapes do not match, or a patch is not positive.

    Examples:
        >>> instance_map([1.0, 3.0], [[1], [3]], (6,), 3).tolist()
        [1.0, 1.0, 2.0, 3.0, 3.0, nan]
    """
    values, at = np.asarray(scores, float), np.asarray(centres, float)
    shape = tuple(int(n) for n in shape)
    if values.ndim != 1 or at.shape != (len(values), len(shape)):
        raise ValueError(
            f"scores are (instances,) and centres (instances, {len(shape)}) for an image of shape "
            f"{shape}, got {values.shape} and {at.shape}"
        )
    widths = np.broadcast_to(np.asarray(patch, int), (len(shape),))
    if widths.min() < 1:
        raise ValueError(f"a patch is at least 1 voxel wide, got {patch}")
    if mask is not None:
        real = np.asarray(mask) > 0
        if real.shape != values.shape:
            raise ValueError(f"mask must have the shape {values.shape}, got {real.shape}")
        values, at = values[real], at[real]
    first = np.rint(at).astype(int) - (widths - 1) // 2
    low, high = np.clip(first, 0, shape), np.clip(first + widths, 0, shape)
    # A box is the cumulative sum of signs at its corners, at a cost independent of the patch size.
    total, count = (np.zeros([n + 1 for n in shape]) for _ in range(2))
    for corner in itertools.product((0, 1), repeat=len(shape)):
        chosen = np.array(corner, bool)
        place, sign = tuple(np.where(chosen, high, low).T), (-1) ** sum(corner)
        np.add.at(total, place, sign * values)
        np.add.at(count, place, float(sign))
    for axis in range(len(shape)):
        total, count = total.cumsum(axis), count.cumsum(axis)
    inside = tuple(slice(n) for n in shape)
    total, count = total[inside], np.rint(count[inside])
    return np.where(count > 0, total / np.maximum(count, 1), fill)
