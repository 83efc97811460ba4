"""Boxes of a large image out of those of its windows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, PyTree
from jaxmed.detection.finding._detections import Detections
from jaxmed.detection.finding._nms import nms
from jaxmed.ops._boxes import corners


def merge_windows(
    found: Detections,
    offsets: jax.typing.ArrayLike,
    window: Sequence[int],
    image: Sequence[int],
    *,
    iou: float = 0.5,
    count: int = 100,
    margin: float = 1.0,
) -> Detections:
    """Join what was found in overlapping windows of an image.

    Boxes are moved to their place. One that comes nearer than ``margin`` to a window's edge inside
    the image is of an object that the window cuts, and is left out: a window beside it has the
    whole, if windows overlap by more than an object's edge. :func:`nms` does the rest.

    Args:
        found: of all windows, ``(windows, n, ...)``, in each window's own voxels.
        offsets: ``(windows, rank)`` first voxel of each window; below 0 where it begins before the
            image.
        window: spatial shape of a window.
        image: spatial shape of the image.
        iou: as in :func:`nms`.
        count: as in :func:`nms`.
        margin: in voxels.

    Returns:
        The boxes of the image.

    Raises:
        ValueError: shapes that do not fit.

    Examples:
        >>> one = Detections(*map(jnp.asarray, (
        ...     [[[1.0, 2.0, 3.0, 8.0]], [[1.0, 0.0, 3.0, 6.0]]], [[0.9], [0.8]], [[0], [0]],
        ...     [[True], [True]])))
        >>> both = merge_windows(one, [[0, 0], [0, 1]], (4, 8), (4, 20), count=2)
        >>> both.mask.tolist()  # the first ends where its window does, the second begins there
        [False, False]
    """
    at, wide, edge = (jnp.asarray(x, jnp.float32) for x in (offsets, window, image))
    low, high = corners(found.boxes)
    if at.shape != (len(low), low.shape[-1]) or wide.shape != edge.shape or len(wide) != len(at.T):
        raise ValueError(
            f"boxes {found.boxes.shape}, offsets {at.shape}, window {tuple(window)} and image "
            f"{tuple(image)} do not fit each other"
        )
    at = at[:, None]
    cut = ((low < margin) & (at > 0)) | ((high > wide - margin) & (at + wide < edge))
    moved = jnp.concatenate([jnp.clip(low + at, 0, edge), jnp.clip(high + at, 0, edge)], axis=-1)
    mask = found.mask & ~cut.any(-1)
    flat = [x.reshape(-1, *x.shape[2:]) for x in (moved, found.scores, found.labels, mask)]
    return nms(*flat, iou=iou, count=count, candidates=len(flat[0]))


def detect_windows(
    detector: Network,
    params: PyTree,
    state: PyTree,
    image: np.ndarray | Array,
    window: Sequence[int],
    *,
    overlap: float = 0.5,
    iou: float = 0.5,
    count: int = 100,
    margin: float = 1.0,
) -> Detections:
    """Find objects in an image of any size, window by window.

    Each window is one call of a compiled program. An image that is smaller than a window is padded
    with zeros behind.

    Args:
        detector: made by :func:`detector`.
        params: its parameters.
        state: its state.
        image: ``(*spatial, channels)``.
        window: spatial shape of a window.
        overlap: of neighbouring windows, at least, as a share of their edge: that of the largest
            object over the window's.
        iou: as in :func:`nms`.
        count: as in :func:`nms`.
        margin: as in :func:`merge_windows`.

    Returns:
        The boxes of the image.

    Raises:
        ValueError: a window of another rank, or an overlap outside [0, 1).
    """
    spatial = np.shape(image)[:-1]
    if len(window) != len(spatial) or not 0 <= overlap < 1:
        raise ValueError(f"window {tuple(window)} with overlap {overlap} in an image {spatial}")
    starts = window_starts(spatial, window, overlap)
    behind = [(0, max(0, w - n)) for w, n in zip(window, spatial, strict=True)]
    padded = np.pad(np.asarray(image), [*behind, (0, 0)])

    apply = _compiled(detector)
    parts = []
    for start in starts:
        cut = tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))
        parts.append(apply(params, state, padded[cut][None]))
    found = Detections(*(jnp.concatenate([p[name] for p in parts]) for name in Detections._fields))
    return merge_windows(found, starts, window, spatial, iou=iou, count=count, margin=margin)


@functools.lru_cache(maxsize=8)
def _compiled(detector: Network) -> Callable[..., dict[str, Array]]:
    @jax.jit
    def apply(params: PyTree, state: PyTree, inputs: Array) -> dict[str, Array]:
        found = detector.apply(params, state, inputs)[0]
        return {name: found[name] for name in Detections._fields}

    return apply


def window_starts(spatial: Sequence[int], window: Sequence[int], overlap: float) -> np.ndarray:
    """First voxels (windows, rank) of evenly spaced windows that cover an image."""
    axes = []
    for n, w in zip(spatial, window, strict=True):
        step = max(1, int(w * (1 - overlap)))
        count = 1 + max(0, -(-(n - w) // step))
        axes.append(np.round(np.linspace(0, max(0, n - w), count)).astype(int))
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(spatial))
