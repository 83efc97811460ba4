"""Rank, threshold and coverage distribution shared by all conformal methods."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as law

from jaxmed.stats.checks import Floats, check_level, finite, same_length


def conformal_rank(n: int, level: float) -> int:
    r"""Return the rank of the calibration score that is the threshold.

    .. math:: k = \lceil (n + 1)\, \text{level} \rceil

    Args:
        n: number of calibration cases.
        level: target coverage, in (0, 1).

    Returns:
        The rank, from 1; `n + 1` if there are too few cases for the level.

    Examples:
        >>> conformal_rank(300, 0.9), conformal_rank(8, 0.9)
        (271, 9)
    """
    if n < 1:
        raise ValueError("the calibration set is empty")
    # 0.95 * 20 may round to slightly above 19, which must not raise the rank.
    return min(math.ceil((n + 1) * check_level(level) - 1e-9), n + 1)


def conformal_threshold(
    scores: ArrayLike, level: float, *, weights: ArrayLike | None = None, own: float = 1.0
) -> float:
    r"""Return the score that a new case does not exceed with probability `level`.

    This is the `conformal_rank`-th smallest calibration score; with weights, the `level` quantile
    of the weighted scores and a point mass at infinity with the new case's weight.

    **Guarantee.** If the new case is exchangeable with the calibration cases,
    :math:`P(s_{n+1} \le t) \ge \text{level}`, and at most :math:`\text{level} + 1/(n+1)` for
    continuous scores. With weights :math:`w = dP_\text{test}/dP_\text{cal}` (known), the lower
    bound holds for a test case from the other distribution.

    Args:
        scores: (cases,) nonconformity scores, higher is less conforming.
        level: target coverage, in (0, 1).
        weights: (cases,) likelihood ratios, up to a factor.
        own: weight of the new case, on the same scale.

    Returns:
        The threshold; infinity if there are too few cases for the level.

    Raises:
        ValueError: for an empty calibration set, NaN, a level outside (0, 1) or negative weights.

    References:
        Vovk, Gammerman, Shafer (2005), Algorithmic Learning in a Random World. Tibshirani et al.
        (2019), Conformal prediction under covariate shift, NeurIPS.

    Examples:
        >>> conformal_threshold(np.arange(1, 20) / 20, 0.9)
        0.9
    """
    check_level(level)
    s = np.sort(finite(scores, "scores"))
    if weights is None:
        k = conformal_rank(s.size, level)
        return float(s[k - 1]) if k <= s.size else math.inf
    w = finite(weights, "weights")
    same_length(scores=s, weights=w)
    if w.min() < 0 or not own >= 0 or not w.sum() + own > 0:
        raise ValueError("weights must be 0 or more, and not all 0")
    order = np.argsort(np.asarray(scores, float), kind="stable")
    reached = np.cumsum(w[order]) / (w.sum() + own)
    at = int(np.searchsorted(reached, level - 1e-12))
    return float(s[at]) if at < s.size else math.inf


def conformal_p_values(
    calibration: ArrayLike, scores: ArrayLike, *, smoothing: ArrayLike | None = None
) -> Floats:
    r"""Return conformal p-values: the share of calibration scores at least as high.

    .. math:: p = \frac{1 + \#\{i : s_i \ge s\}}{n + 1}

    **Guarantee.** For a new case exchangeable with the calibration cases
    :math:`P(p \le \alpha) \le \alpha`, with equality if smoothed.

    Args:
        calibration: (n,) calibration scores.
        scores: scores of the new cases, any shape.
        smoothing: uniform draws of the shape of `scores` that break ties at random; without them
            ties count in full.

    Returns:
        p-values of the shape of `scores`.

    Raises:
        ValueError: for an empty calibration set or NaN.

    Examples:
        >>> conformal_p_values([1.0, 2.0, 3.0], [2.5, 0.0])
        array([0.5, 1. ])
    """
    c = np.sort(finite(calibration, "calibration"))
    s = np.asarray(scores, dtype=np.float64)
    if np.isnan(s).any():
        raise ValueError(f"scores hold {int(np.isnan(s).sum())} NaN value(s)")
    above = c.size - np.searchsorted(c, s, side="left")
    if smoothing is None:
        return (above + 1) / (c.size + 1)
    strictly = c.size - np.searchsorted(c, s, side="right")
    u = np.asarray(smoothing, dtype=np.float64)
    return (strictly + u * (above - strictly + 1)) / (c.size + 1)


class CoverageLaw(NamedTuple):
    """Distribution of the coverage over calibration sets.

    rank: rank of the threshold; mean, sd, lower, upper: of the coverage given the calibration set
    (it lies between lower and upper with the requested probability).
    """

    rank: int
    mean: float
    sd: float
    lower: float
    upper: float

    def interval(self, n: int, level: float = 0.99) -> tuple[float, float]:
        """Return limits of the share covered among `n` test cases (beta-binomial)."""
        b = self.mean * (1 - self.mean) / self.sd**2 - 1
        mixed = law.betabinom(n, self.mean * b, (1 - self.mean) * b)
        low, high = mixed.ppf([(1 - level) / 2, (1 + level) / 2])
        return float(low / n), float(high / n)

    def variance(self, n: int) -> float:
        """Return the variance of the share covered among `n` test cases."""
        between = self.sd**2
        return between + (self.mean * (1 - self.mean) - between) / n


def coverage_law(n: int, level: float, *, probability: float = 0.9) -> CoverageLaw:
    r"""Return the distribution of a split conformal method's coverage.

    Given the calibration set, coverage is :math:`\text{Beta}(k, n + 1 - k)` for continuous scores;
    the guarantee concerns its mean. Among finitely many test cases it is beta-binomial.

    Args:
        n: number of calibration cases.
        level: target coverage.
        probability: probability of the limits.

    Returns:
        The distribution.

    Raises:
        ValueError: for too few cases (every prediction set would contain all classes), or a level
            outside (0, 1).

    References:
        Vovk (2012), Conditional validity of inductive conformal predictors, ACML.

    Examples:
        >>> c = coverage_law(99, 0.9)
        >>> c.rank, round(c.mean, 3), round(c.sd, 3)
        (90, 0.9, 0.03)
    """
    k = conformal_rank(n, level)
    check_level(probability, "probability")
    if k > n:
        raise ValueError(f"{n} cases are too few for a level of {level}: all is covered")
    beta = law.beta(k, n + 1 - k)
    low, high = beta.ppf([(1 - probability) / 2, (1 + probability) / 2])
    return CoverageLaw(k, float(beta.mean()), float(beta.std()), float(low), float(high))
