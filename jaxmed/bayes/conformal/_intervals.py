"""Conformal regression intervals: split, normalised, per group, quantile; jackknife+ and CV+."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.bayes.conformal._ranks import conformal_threshold
from jaxmed.stats.checks import Floats, check_level, finite, same_length

Kind = Literal["absolute", "normalised", "quantile"]


class IntervalRule(NamedTuple):
    """A calibrated rule for prediction intervals.

    thresholds: by group, or one under `None`, in the target's unit (or in units of `scale`);
    kind: `absolute`, `normalised` or `quantile`; level; n: number of calibration cases; notes.
    """

    thresholds: dict[object, float]
    kind: Kind
    level: float
    n: int
    notes: tuple[str, ...] = ()


def fit_intervals(
    targets: ArrayLike,
    predictions: ArrayLike,
    *,
    level: float = 0.9,
    scale: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    own: float = 1.0,
) -> IntervalRule:
    r"""Calibrate prediction intervals on cases the model was not trained on.

    The kind follows from the arguments: with a prediction alone, :math:`\hat y \pm t` (absolute
    residuals); with `scale`, :math:`\hat y \pm t\,\sigma(x)` (normalised); with predictions
    (cases, 2), lower and upper quantiles moved outwards by `t`, or inwards if `t < 0` (CQR).

    **Guarantee**, for any model and sample size: if calibration and new cases are exchangeable,
    :math:`P(y \in C(x)) \ge \text{level}`, within each group if `groups` are given; with `weights`
    (the known likelihood ratio of the new distribution) for a new case under covariate shift.

    Args:
        targets: (cases,) true values.
        predictions: (cases,), or (cases, 2) of lower and upper quantiles.
        level: target coverage.
        scale: (cases,) positive, such as a posterior's standard deviation.
        groups: (cases,) group labels (Mondrian).
        weights: (cases,), as in `conformal_threshold`.
        own: weight of the new case.

    Returns:
        The rule, for `predict_intervals`.

    Raises:
        ValueError: for an empty calibration set, NaN, mismatched shapes or a scale that is not
            positive.

    References:
        Lei et al. (2018), JASA 113:1094. Romano, Patterson, Candès (2019), NeurIPS (CQR).

    Examples:
        >>> rule = fit_intervals(np.arange(9.0), np.zeros(9), level=0.8)
        >>> predict_intervals(rule, [10.0])
        array([[ 3., 17.]])
    """
    y = finite(targets, "targets")
    prediction = finite(predictions, "predictions", ndim=None)
    same_length(targets=y, predictions=prediction, scale=scale, groups=groups, weights=weights)
    score, kind = _residual(y, prediction, scale)
    found: dict[object, float]
    if groups is None:
        found = {None: conformal_threshold(score, level, weights=weights, own=own)}
    else:
        g = np.asarray(groups)
        w = None if weights is None else np.asarray(weights, float)
        found = {
            name: conformal_threshold(
                score[g == name], level, weights=None if w is None else w[g == name], own=own
            )
            for name in np.unique(g).tolist()
        }
    notes = tuple(
        f"{'all cases' if k is None else f'group {k}'}: too few calibration cases for a level of "
        f"{level}, so intervals are unbounded"
        for k, t in found.items()
        if math.isinf(t)
    )
    return IntervalRule(found, kind, level, y.size, notes)


def _residual(y: Floats, prediction: Floats, scale: ArrayLike | None) -> tuple[Floats, Kind]:
    if prediction.ndim == 2 and prediction.shape[1] == 2:
        if scale is not None:
            raise ValueError("quantiles have a scale of their own: leave scale out")
        return np.maximum(prediction[:, 0] - y, y - prediction[:, 1]), "quantile"
    if prediction.ndim != 1:
        raise ValueError(f"predictions must be (cases,) or (cases, 2), not {prediction.shape}")
    if scale is None:
        return np.abs(y - prediction), "absolute"
    return np.abs(y - prediction) / _positive(scale), "normalised"


def _positive(scale: ArrayLike) -> Floats:
    sigma = finite(scale, "scale")
    if sigma.min() <= 0:
        raise ValueError(f"scale must be positive, but its least is {sigma.min():g}")
    return sigma


def predict_intervals(
    rule: IntervalRule,
    predictions: ArrayLike,
    *,
    scale: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Floats:
    """Return prediction intervals for new cases.

    Args:
        rule: result of `fit_intervals`.
        predictions: (cases,), or (cases, 2) of quantiles.
        scale: (cases,), for a normalised rule.
        groups: (cases,), for a rule by group.

    Returns:
        (cases, 2): lower and upper limits. Crossed quantiles can give an empty interval, lower
        above upper.

    Raises:
        ValueError: for a group absent from calibration, or if an argument the rule needs is
            missing.
    """
    prediction = finite(predictions, "predictions", ndim=None)
    if (prediction.ndim == 2) != (rule.kind == "quantile"):
        raise ValueError(f"the rule is {rule.kind}, but predictions are {prediction.shape}")
    if (scale is None) == (rule.kind == "normalised"):
        raise ValueError(f"the rule is {rule.kind}: scale goes with a normalised one alone")
    if None in rule.thresholds:
        t: Floats | float = rule.thresholds[None]
    else:
        if groups is None:
            raise ValueError("the rule is by group: give groups")
        given = np.asarray(groups).tolist()
        same_length(predictions=prediction, groups=given)
        strange = [g for g in given if g not in rule.thresholds]
        if strange:
            raise ValueError(f"group {strange[0]!r} was not in calibration: no threshold for it")
        t = np.array([rule.thresholds[g] for g in given])
    if rule.kind == "quantile":
        return np.stack([prediction[:, 0] - t, prediction[:, 1] + t], axis=1)
    half = t if scale is None else t * _positive(scale)
    return np.stack([prediction - half, prediction + half], axis=1)


def jackknife_plus(
    residuals: ArrayLike, predictions: ArrayLike, *, level: float = 0.9, minmax: bool = False
) -> Floats:
    r"""Return intervals from models that each left out some cases (jackknife+ or CV+).

    .. math:: \left[ q^-\{\hat y_{-i}(x) - R_i\},\; q^+\{\hat y_{-i}(x) + R_i\} \right],
        \quad R_i = |y_i - \hat y_{-i}(x_i)|

    with :math:`\hat y_{-i}` from the model trained without case `i`: leave-one-out (jackknife+) or
    its fold's model (CV+). No separate calibration set is needed.

    **Guarantee**, for exchangeable cases and any symmetric training:
    :math:`P(y \in C) \ge 2\,\text{level} - 1` (CV+: minus at most :math:`\sqrt{2/n}`), in
    practice about `level`; with `minmax` at least `level`.

    Args:
        residuals: (cases,) absolute residuals, each from the model trained without the case.
        predictions: (cases, new) predictions for the new cases by the model trained without each
            training case.
        level: nominal coverage.
        minmax: use the more conservative jackknife-minmax.

    Returns:
        (new, 2).

    Raises:
        ValueError: for mismatched shapes, NaN, negative residuals or a level outside (0, 1).

    References:
        Barber et al. (2021), Predictive inference with the jackknife+, Ann Stat 49:486.

    Examples:
        >>> jackknife_plus(np.arange(1.0, 10), np.zeros((9, 1)), level=0.8)
        array([[-8.,  8.]])
    """
    check_level(level)
    r = finite(residuals, "residuals")
    p = finite(predictions, "predictions", ndim=2)
    same_length(residuals=r, predictions=p)
    if r.min() < 0:
        raise ValueError("residuals must be absolute, but one is negative")
    n = r.size
    k = math.ceil((n + 1) * level - 1e-9)
    if k > n:
        return np.tile([-math.inf, math.inf], (p.shape[1], 1))
    if minmax:
        t = np.sort(r)[k - 1]
        return np.stack([p.min(axis=0) - t, p.max(axis=0) + t], axis=1)
    low, high = np.sort(p - r[:, None], axis=0), np.sort(p + r[:, None], axis=0)
    return np.stack([low[n - k], high[k - 1]], axis=1)


def cross_sets(
    calibration: ArrayLike, scores: ArrayLike, folds: ArrayLike, *, level: float = 0.9
) -> np.ndarray:
    r"""Return prediction sets from cross-validation (CV+ for classification).

    A class is in the set unless its score exceeds too many calibration scores, each compared
    under the model of that case's fold:

    .. math:: y \in C(x) \iff \sum_i 1\{s_i < s_{-k(i)}(x, y)\} < \text{level}\,(n + 1)

    **Guarantee**, for exchangeable cases: :math:`P(y \in C) \ge 2\,\text{level} - 1` minus terms
    of order :math:`\sqrt{2/n}` at most; in practice about `level`.

    Args:
        calibration: (cases,) score of each case's true class under its fold's model.
        scores: (folds, new, classes) scores of new cases under each fold's model.
        folds: (cases,) fold of each calibration case, 0..folds-1.
        level: nominal coverage.

    Returns:
        (new, classes) booleans.

    References:
        Romano, Sesia, Candès (2020), Classification with valid and adaptive coverage, NeurIPS.

    Examples:
        >>> s = np.linspace(0.1, 0.9, 9)
        >>> cross_sets(s, np.array([[[0.2, 0.95]]]), np.zeros(9, int), level=0.8)
        array([[ True, False]])
    """
    check_level(level)
    own = finite(calibration, "calibration")
    s = finite(scores, "scores", ndim=3)
    fold = np.asarray(folds)
    same_length(calibration=own, folds=fold)
    if fold.min() < 0 or fold.max() >= len(s):
        raise ValueError(f"folds must be 0..{len(s) - 1}, but range to {fold.max()}")
    smaller = np.zeros(s.shape[1:], np.int64)
    for k in range(len(s)):
        smaller += np.searchsorted(np.sort(own[fold == k]), s[k], side="left")
    return smaller < level * (own.size + 1)
