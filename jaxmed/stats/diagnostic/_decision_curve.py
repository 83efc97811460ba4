"""Net benefit: decision curves and cost curves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats.checks import (
    Floats,
    as_array,
    both_classes,
    check_level,
    group_codes,
    probabilities,
)
from jaxmed.stats.resampling._resample import resample_weights


class DecisionCurve(NamedTuple):
    """Net benefit at each threshold of the model, of treating all, and of treating none (0).

    lower and upper are pointwise bootstrap limits for the model; NaN without resamples.
    """

    thresholds: Floats
    net_benefit: Floats
    treat_all: Floats
    lower: Floats
    upper: Floats
    level: float


def decision_curve(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    n_resamples: int = 500,
    seed: int = 0,
) -> DecisionCurve:
    r"""Return the net benefit of treating cases whose probability reaches a threshold.

    .. math:: \frac{TP}{n} - \frac{FP}{n} \frac{t}{1 - t}

    For a case-control sample, give the population's prevalence.

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class; at the threshold counts as positive.
        thresholds: (points,) in [0, 1); 1% to 99% if absent.
        prevalence: prevalence of the population meant; the sample's own if absent.
        level: confidence level of the pointwise limits.
        groups: (cases,) patient of each row.
        n_resamples: number of resamples of the bootstrap; 0 gives no limits, nor do
            rows that are all of one group.
        seed: seed of the bootstrap.

    Returns:
        The curve.

    Raises:
        ValueError: for one class only, probabilities or thresholds outside their ranges.

    References:
        Vickers and Elkin (2006), Med Decis Making 26:565.

    Examples:
        >>> c = decision_curve([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1], thresholds=[0.5], n_resamples=0)
        >>> c.net_benefit, c.treat_all
        (array([0.]), array([0.]))
    """
    check_level(level)
    positive, p = probabilities(labels, probs)
    both_classes(positive)
    # Exact hundredths: `arange` lies slightly above some, and .29 would miss .29.
    t = (
        np.arange(1, 100) / 100
        if thresholds is None
        else as_array(thresholds, "thresholds", np.float64)
    )
    if t.ndim != 1 or t.size == 0 or not (t.min() >= 0 and t.max() < 1):
        raise ValueError("thresholds must be (points,) in [0, 1)")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"prevalence must lie in (0, 1), but is {prevalence}")
    odds = t / (1 - t)
    called = p[:, None] >= t  # (cases, points)

    def benefit(weights: Floats) -> Floats:
        total = weights.sum(axis=1, keepdims=True)
        n1 = weights @ positive[:, None]
        n0 = total - n1
        with np.errstate(invalid="ignore", divide="ignore"):
            share = n1 / total if prevalence is None else np.full_like(n1, prevalence)
            tpr = weights @ (called & positive[:, None]) / n1
            fpr = weights @ (called & ~positive[:, None]) / n0
        return np.where(n1 > 0, tpr, 0) * share - np.where(n0 > 0, fpr, 0) * (1 - share) * odds

    value = benefit(np.ones((1, p.size)))[0]
    rate = positive.mean() if prevalence is None else prevalence
    lower = upper = np.full(t.size, np.nan)
    # Rows that are all of one group say nothing of how groups differ: no interval.
    if n_resamples and group_codes(groups, p.size)[1] > 1:
        rng = np.random.default_rng(seed)
        drawn = np.concatenate(
            [benefit(w) for w in resample_weights(rng, p.size, n_resamples, groups=groups)]
        )
        lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return DecisionCurve(t, value, rate - (1 - rate) * odds, lower, upper, level)


class CostCurve(NamedTuple):
    """Normalised expected cost against the cost share of missed positives."""

    probability_cost: Floats
    cost: Floats
    thresholds: Floats


def cost_curve(labels: ArrayLike, scores: ArrayLike, *, points: int = 101) -> CostCurve:
    r"""Return Drummond and Holte's cost curve: the minimum cost over all thresholds.

    .. math:: \min_t\; FNR(t)\,c + FPR(t)\,(1 - c)

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        points: values of c, from 0 to 1.

    Returns:
        The curve and the threshold that reaches it.

    References:
        Drummond and Holte (2006), Mach Learn 65:95.

    Examples:
        >>> bool(cost_curve([0, 0, 1, 1], [1, 2, 3, 4]).cost.max() == 0)
        True
    """
    from jaxmed.stats.diagnostic._curves import roc_curve

    curve = roc_curve(labels, scores)
    c = np.linspace(0, 1, points)
    costs = np.outer(c, 1 - curve.tpr) + np.outer(1 - c, curve.fpr)
    best = costs.argmin(axis=1)
    return CostCurve(c, costs[np.arange(points), best], curve.thresholds[best])
