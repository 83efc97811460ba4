"""Fixed positions of patches."""

from __future__ import annotations

import numpy as np


def sincos_positions(grid: tuple[int, ...], width: int) -> np.ndarray:
    r"""Compute fixed positions of a grid of patches: sines and cosines of each coordinate.

    Each of r axes contributes :math:`\sin(x \omega_i), \cos(x \omega_i)` with
    :math:`\omega_i = 10000^{-i / m}`, :math:`m = \lfloor w / 2r \rfloor`; the remaining channels
    are 0.

    >>> sincos_positions((2, 1), 6).astype(float).round(2).tolist()
    [[0.0, 1.0, 0.0, 1.0, 0.0, 0.0], [0.84, 0.54, 0.0, 1.0, 0.0, 0.0]]
    """
    each = width // (2 * len(grid))
    if each == 0:
        raise ValueError(f"a width of {width} has no room for the positions of {len(grid)} axes")
    omega = 10000.0 ** (-np.arange(each) / each)
    parts = []
    for axis in np.meshgrid(*map(np.arange, grid), indexing="ij"):
        angle = axis.reshape(-1, 1) * omega
        parts += [np.sin(angle), np.cos(angle)]
    table = np.concatenate(parts, axis=1)
    return np.pad(table, [(0, 0), (0, width - table.shape[1])]).astype(np.float32)
