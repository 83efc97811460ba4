"""What protocols ask of predicted and given classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats import checks


def class_probabilities(values: ArrayLike, name: str = "probabilities") -> NDArray[np.float64]:
    """Return probabilities (cases, classes) of two cases and two classes or more.

    Raises:
        ValueError: for another shape, or rows that are no probabilities.
    """
    p = checks.finite(values, name, minimum=2, ndim=2)
    if p.shape[1] < 2 or p.min() < 0 or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise ValueError(
            f"{name} must be (cases, classes) with rows that add up to 1, got the shape {p.shape} "
            f"with sums from {p.sum(1).min():g} to {p.sum(1).max():g}"
        )
    return p


def labels_of_all(
    labels: ArrayLike, n: int, classes: int, name: str = "labels"
) -> NDArray[np.int64]:
    """Return labels (n,) among which each class is.

    Raises:
        ValueError: for another shape, what is no class, or a class without a label.
    """
    y = np.asarray(labels)
    if y.shape != (n,) or y.dtype.kind not in "iub":
        raise ValueError(f"{name} must be ({n},) whole numbers from 0, got {y.shape} {y.dtype}")
    missing = sorted(set(range(classes)) - set(y.astype(int).tolist()))
    if missing or y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"{name} must be all of 0..{classes - 1}, got {y.min()} to {y.max()}"
            + (f" without {missing}" if missing else "")
        )
    return y.astype(np.int64)
