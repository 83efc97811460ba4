"""Input checks shared by the room: each failure names the argument, its value and the rule."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def check_level(level: float, name: str = "level") -> float:
    """Return `level` if it lies in (0, 1)."""
    if not 0.0 < float(level) < 1.0:
        raise ValueError(f"{name} must lie in (0, 1), such as 0.9, but is {level!r}")
    return float(level)


def finite(values: ArrayLike, name: str, *, ndim: int | None = 1, minimum: int = 1) -> Floats:
    """Return `values` as float64, refusing NaN, infinities, another rank and too few of them."""
    array = np.asarray(values, dtype=np.float64)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), but its shape is {array.shape}")
    if array.ndim and array.shape[0] < minimum:
        raise ValueError(f"{name} needs at least {minimum} value(s), but has {array.shape[0]}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} holds {bad} value(s) that are NaN or infinite")
    return array


def probabilities(probs: ArrayLike, name: str = "probs", *, ndim: int | None = 2) -> Floats:
    """Return probabilities whose last axis sums to 1; two columns are made of one."""
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
    """Return labels as class numbers 0..classes-1."""
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


def same_length(**arrays: Any) -> int:
    """Return the common length of the arrays, or name those that differ."""
    sizes = {name: len(value) for name, value in arrays.items() if value is not None}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(f"lengths differ: {told}")
    return next(iter(sizes.values()))


def choice(what: str, got: Any, known: Any) -> Any:
    """Return `got` if it is one of `known`."""
    if got not in known:
        raise ValueError(f"{what} {got!r} is not known; choose one of {', '.join(sorted(known))}")
    return got
