"""Sliding windows: start positions and voxel weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed.ops._check import per_axis


def sliding_windows(
    shape: Sequence[int], window: int | Sequence[int], *, overlap: float | Sequence[float] = 0.25
) -> np.ndarray:
    """Compute the start positions of equal windows that cover a shape.

    Uses the fewest windows that keep at least ``overlap`` between neighbours, spread evenly, the
    last one flush with the edge. An axis shorter than its window gets one start at 0; pad it first.

    Args:
        shape: spatial shape in voxels.
        window: edge lengths in voxels, one or one per axis.
        overlap: minimum fraction of a window shared with its neighbour, in [0, 1), one or one
            per axis.

    Returns:
        ``(windows, ndim)`` int32 array, the last axis varying fastest.

    Raises:
        ValueError: if the overlap is not in [0, 1) or the lengths disagree.

    Examples:
        >>> sliding_windows((10,), 4, overlap=0.25).ravel().tolist()
        [0, 3, 6]
    """
    shape = per_axis("shape", tuple(shape), len(shape))
    window = per_axis("window", window, len(shape))
    shares = np.broadcast_to(np.asarray(overlap, float), (len(shape),))
    if not ((shares >= 0) & (shares < 1)).all():
        raise ValueError(f"overlap={overlap!r} must lie in [0, 1)")
    starts = []
    for n, w, share in zip(shape, window, shares, strict=True):
        room = max(n - w, 0)
        step = max(int(w * (1 - share)), 1)
        count = -(-room // step) + 1
        starts.append(np.round(np.linspace(0, room, count)).astype(np.int32))
    return np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, len(shape))


def window_importance(
    window: Sequence[int], *, kind: str = "gaussian", sigma: float = 0.125
) -> np.ndarray:
    """Compute the weight of each voxel of a window for averaging overlapping windows.

    Args:
        window: edge lengths in voxels.
        kind: ``"gaussian"``, falling from 1 at the centre, or ``"constant"``.
        sigma: standard deviation of the Gaussian as a fraction of each edge.

    Returns:
        float32 array of shape ``window``, all entries positive, largest 1.

    Raises:
        ValueError: if ``kind`` is unknown or ``sigma`` not positive.

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021.

    Examples:
        >>> window_importance((3,), kind="constant").tolist()
        [1.0, 1.0, 1.0]
    """
    window = per_axis("window", tuple(window), len(window))
    if kind == "constant":
        return np.ones(window, np.float32)
    if kind != "gaussian":
        raise ValueError(f"kind={kind!r}; expected 'gaussian' or 'constant'")
    if not sigma > 0:
        raise ValueError(f"sigma={sigma!r} must be positive")
    weights = np.ones(window)
    for axis, w in enumerate(window):
        z = (np.arange(w) - (w - 1) / 2) / (sigma * w)
        weights = weights * np.exp(-0.5 * z**2).reshape(
            [w if a == axis else 1 for a in range(len(window))]
        )
    weights = weights / weights.max()
    # Far corners need a positive weight, or a voxel covered only by corners would be 0 / 0.
    return np.maximum(weights, 1e-3).astype(np.float32)
