"""Checks of multi-class probabilities and labels, shared by the subpackage."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats.checks import Floats

Bools = NDArray[np.bool_]


def probabilities(probs: ArrayLike, name: str = "probs", *, ndim: int | None = 2) -> Floats:
    """Return probabilities whose last axis sums to 1; one column is expanded to two."""
    p = np.asarray(probs, dtype=np.float64)
    if ndim == 2 and p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    if (ndim is not None and p.ndim != ndim) or p.ndim < 2:
        wanted = "(cases, classes)" if ndim == 2 else f"of {ndim or '2 or more'} dimensions"
        raise ValueError(f"{name} must be {wanted}, but its shape is {p.shape}")
    if p.size == 0:
        raise ValueError(f"{name} is empty, its shape is {p.shape}")
    if np.isnan(p).any():
        raise ValueError(f"{name} holds {int(np.isnan(p).sum())} NaN value(s)")
    if p.min() < 0 or p.max() > 1 + 1e-6:
        raise ValueError(
            f"{name} must lie in [0, 1], but range from {p.min():g} to {p.max():g}: logits need a "
            "softmax first"
        )
    off = float(np.abs(p.sum(axis=-1) - 1).max())
    if off > 1e-3:
        raise ValueError(f"{name} must sum to 1 over the classes, but one sum is {off:.3g} off")
    return p


def class_labels(labels: ArrayLike, classes: int, n: int | None = None) -> NDArray[np.intp]:
    """Check labels and return them as class indices 0..classes-1."""
    y = np.asarray(labels)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if n is not None and y.shape[:1] != (n,):
        raise ValueError(f"labels must be one a case, {n}, but their shape is {y.shape}")
    if y.size == 0:
        raise ValueError("labels are empty")
    whole = y.astype(np.intp)
    if (whole != y).any() or whole.min() < 0 or whole.max() >= classes:
        raise ValueError(f"labels must be class numbers 0..{classes - 1}")
    return whole
