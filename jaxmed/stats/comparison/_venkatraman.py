"""Venkatraman's permutation test of the equality of two ROC curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, binary_scores, both_classes


def _ranks(values: Floats) -> NDArray[np.intp]:
    """Ranks 0..n-1 along the last axis, ties in the order of the data."""
    order = np.argsort(values, axis=-1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(values.shape[-1]) + np.zeros_like(order), axis=-1)
    return ranks


def _statistic(sign: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    """Sum over thresholds of the gap between the two counts of errors, for each row."""
    # One step of the threshold changes the errors by +1 (a positive) or -1 (a negative).
    steps = np.zeros(first.shape)
    signs = np.broadcast_to(sign, first.shape)
    np.put_along_axis(steps, first, signs, axis=-1)
    other = np.zeros(first.shape)
    np.put_along_axis(other, second, signs, axis=-1)
    return np.abs(np.cumsum(steps - other, axis=-1)).sum(axis=-1)


def venkatraman_test(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    unit: str = "case",
) -> TestResult:
    """Test whether two scores of the same cases have the same ROC curve.

    The errors of both scores are counted at each rank as threshold; the statistic is the sum of
    the absolute differences. Under the null hypothesis the two ranks of a case are exchangeable.
    Ties are ranked in the order of the data, and broken at random in the permutations.

    Args:
        labels: (cases,) 0 or 1.
        first: (cases,) scores of one model.
        second: (cases,) scores of the other.
        n_resamples: permutations.
        seed: seed of the permutations.
        unit: name of the counted unit.

    Returns:
        The test; the p-value counts permutations at or above the statistic (data included).

    Raises:
        ValueError: for one class only, NaN or unequal lengths.

    References:
        Venkatraman and Begg (1996), Biometrika 83:835.

    Examples:
        >>> y, x = [0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6]
        >>> venkatraman_test(y, x, x, n_resamples=99).p_value
        1.0
    """
    positive, x = binary_scores(labels, first, name="first")
    _, y = binary_scores(labels, second, name="second")
    both_classes(positive)
    n = x.size
    sign = np.where(positive, 1.0, -1.0)
    r, s = _ranks(x), _ranks(y)
    observed = float(_statistic(sign, r, s))
    rng = np.random.default_rng(seed)
    at_least = 0
    left = n_resamples
    while left:
        size = min(left, max(1, 500_000 // n))
        a = r + rng.uniform(-0.5, 0.5, (size, n))
        b = s + rng.uniform(-0.5, 0.5, (size, n))
        swap = rng.random((size, n)) < 0.5
        drawn = _statistic(sign, _ranks(np.where(swap, b, a)), _ranks(np.where(swap, a, b)))
        at_least += int((drawn >= observed - 1e-9).sum())
        left -= size
    return TestResult(
        observed,
        (at_least + 1) / (n_resamples + 1),
        None,
        None,
        n,
        unit,
        f"Venkatraman, paired ({n_resamples} permutations)",
        name="ROC curves",
    )
