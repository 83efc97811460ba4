"""Examples: which known cases are most like this one, as the network sees it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from jaxmed.core import Array


class Neighbours(NamedTuple):
    """Nearest known cases, the nearest first.

    Attributes:
        cases: (batch, k), their numbers.
        distances: (batch, k).
    """

    cases: np.ndarray
    distances: np.ndarray


def nearest_examples(
    features: Array | np.ndarray,
    known: Array | np.ndarray,
    *,
    k: int = 5,
    metric: Literal["cosine", "euclidean"] = "cosine",
) -> Neighbours:
    """Find the known cases whose features are nearest.

    Args:
        features: (batch, features) of the cases that are asked about, a network's endpoint.
        known: (n, features) of cases whose answer is known, by the same network.
        k: how many.
        metric: ``"cosine"``, one less the cosine of the angle; or ``"euclidean"``.

    Returns:
        The cases and their distances; of equal ones the first.

    Raises:
        ValueError: if there are fewer than k, the widths differ, or a value is not finite.

    Examples:
        >>> nearest_examples(np.array([[1.0, 0]]), np.array([[0.0, 1], [2, 0]]), k=1).cases.tolist()
        [[1]]
    """
    asked, others = np.asarray(features, np.float64), np.asarray(known, np.float64)
    if asked.ndim != 2 or others.ndim != 2 or asked.shape[1] != others.shape[1]:
        raise ValueError(
            f"features are (batch, features) of one width, got {asked.shape} and {others.shape}"
        )
    if not 1 <= k <= len(others):
        raise ValueError(f"k is from 1 to the {len(others)} known cases, got {k}")
    if not (np.isfinite(asked).all() and np.isfinite(others).all()):
        raise ValueError("features are finite numbers, got NaN or infinities")
    if metric == "cosine":
        asked, others = _unit(asked), _unit(others)
    elif metric != "euclidean":
        raise ValueError(f'metric is "cosine" or "euclidean", got {metric!r}')
    distances = np.stack([np.sqrt(((others - row) ** 2).sum(1)) for row in asked])
    if metric == "cosine":
        distances = distances**2 / 2
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Neighbours(order, np.take_along_axis(distances, order, 1))


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)
