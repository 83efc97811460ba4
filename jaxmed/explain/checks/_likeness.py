"""How alike two maps are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxmed.core import Array
from jaxmed.quantities import midrank


def rank_correlation(
    first: Array | np.ndarray, second: Array | np.ndarray, *, absolute: bool = False
) -> np.ndarray:
    """Spearman's rank correlation of two maps of each case, over voxels.

    Args:
        first: a map (batch, *spatial, channels), whose channels are added up.
        second: likewise.
        absolute: whether signs are left out, so that maps of opposite sign are alike.

    Returns:
        (batch,); NaN where a map is constant.

    Raises:
        ValueError: if the maps differ in shape.

    Examples:
        >>> rank_correlation(np.array([[[1.0], [2], [3]]]), np.array([[[1.0], [4], [9]]])).tolist()
        [1.0]
    """
    a, b = (voxels(x) for x in (first, second))
    if a.shape != b.shape:
        raise ValueError(f"two maps have one shape, got {np.shape(first)} and {np.shape(second)}")
    if absolute:
        a, b = np.abs(a), np.abs(b)
    return np.array([_correlation(midrank(x), midrank(y)) for x, y in zip(a, b, strict=True)])


class Agreement(NamedTuple):
    """How alike the maps of several methods are.

    Attributes:
        names: of the methods.
        cases: (methods, methods, batch), rank correlations.
        mean: (methods, methods), over cases; NaN where none is defined.
    """

    names: tuple[str, ...]
    cases: np.ndarray
    mean: np.ndarray


def agreement(maps: Mapping[str, Array | np.ndarray], *, absolute: bool = False) -> Agreement:
    """Rank correlations between the maps of several methods.

    Args:
        maps: of each method, all in one shape.
        absolute: as of :func:`rank_correlation`.

    Returns:
        The correlations of all pairs.
    """
    names = tuple(maps)
    cases = np.array(
        [[rank_correlation(maps[a], maps[b], absolute=absolute) for b in names] for a in names]
    )
    defined = np.isfinite(cases)
    total = np.where(defined, cases, 0).sum(-1)
    many = defined.sum(-1)
    return Agreement(names, cases, np.where(many == 0, np.nan, total / np.maximum(many, 1)))


def voxels(values: Array | np.ndarray) -> np.ndarray:
    """A map with its channels added up, (batch, voxels), in float64."""
    values = np.asarray(values, np.float64)
    if values.ndim < 3:
        raise ValueError(f"a map is (batch, *spatial, channels), got the shape {values.shape}")
    return values.sum(-1).reshape(len(values), -1)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    below = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / below) if below > 0 else np.nan
