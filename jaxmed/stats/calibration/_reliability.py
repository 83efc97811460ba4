"""Reliability bins, calibration errors, calibration slope and intercept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.calibration._logistic import LogisticFit, fit_logistic, glm_covariance
from jaxmed.stats.checks import (
    Floats,
    as_array,
    check_level,
    group_codes,
    probabilities,
    quantile,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._proportion import proportion_limits
from jaxmed.stats.diagnostic._scoring import _is_multi, class_probabilities, logits_of
from jaxmed.stats.resampling._bootstrap import interval_from_replicates
from jaxmed.stats.resampling._resample import resample_weights


class Reliability(NamedTuple):
    """Bins of a reliability diagram, empty bins left out.

    confidence: mean probability of each bin; observed: share of positives (or of right calls),
    lower and upper: its Wilson limits; count: cases; edges: (bins + 1,) of all bins, or the
    extremes of each bin for equal mass.
    """

    confidence: Floats
    observed: Floats
    lower: Floats
    upper: Floats
    count: NDArray[np.int64]
    edges: Floats


def _targets(labels: ArrayLike, probs: ArrayLike, of: str) -> tuple[Floats, Floats]:
    """Return the predicted events (0/1) and their confidences."""
    if _is_multi(probs):
        y, p = class_probabilities(labels, probs)
        if of != "top":
            raise ValueError(f"of={of!r} is for two classes; here use 'top' or 'class'")
        top = quantities.largest(p)
        return (top == y).astype(np.float64), p[np.arange(len(y)), top]
    positive, p = probabilities(labels, probs)
    if of == "positive":
        return positive.astype(np.float64), p
    if of == "top":
        right = np.where(quantities.at_least(p, 0.5), positive, ~positive)
        return right.astype(np.float64), np.maximum(p, 1 - p)
    raise unknown("of", of, ("positive", "top", "class"))


def bin_codes(p: Floats, n_bins: int, binning: str, closed: str) -> NDArray[np.intp]:
    """Return the bin of each probability, by width or by equal mass."""
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, but is {n_bins}")
    if binning == "mass":
        # Each row's bin by rank, as equal in size as they can be; tied rows all go where the middle
        # of their ranks goes, so that no order of the rows parts them.
        full, more = divmod(p.size, n_bins)
        sizes = np.full(n_bins, full)
        sizes[:more] += 1
        middle = quantities.midrank(p) - 0.5
        return np.searchsorted(np.cumsum(sizes), middle, "right").astype(np.intp)
    if binning != "width":
        raise unknown("binning", binning, ("width", "mass"))
    if closed == "right":  # (k/K, (k+1)/K], with 0 in the first
        return quantities.width_bins(p, n_bins)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    if closed == "left":  # [k/K, (k+1)/K), with 1 in the last
        return np.clip(np.searchsorted(edges, p, "right") - 1, 0, n_bins - 1)
    raise unknown("closed", closed, ("right", "left"))


def reliability(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    n_bins: int = 10,
    binning: str = "width",
    closed: str = "right",
    of: str = "auto",
    level: float = 0.95,
) -> Reliability:
    """Return the bins of a reliability diagram with Wilson limits.

    Args:
        labels: (cases,) 0/1 or class numbers.
        probs: (cases,), (cases, 2) or (cases, classes).
        n_bins: number of bins.
        binning: `width`, or `mass` (as many cases in each, equal probabilities kept together).
        closed: the closed end of each bin, `right` (Guo 2017) or `left`.
        of: `positive` class, or `top` label; `auto` is positive for two classes.
        level: confidence level of the limits.

    Returns:
        The non-empty bins.

    Raises:
        ValueError: as `ece`.

    Examples:
        >>> reliability([0, 1, 1], [0.1, 0.8, 0.9], n_bins=2).count
        array([1, 2])
    """
    check_level(level)
    of = ("top" if _is_multi(probs) else "positive") if of == "auto" else of
    hit, p = _targets(labels, probs, of)
    codes = bin_codes(p, n_bins, spelled(binning), closed)
    count = np.bincount(codes, minlength=n_bins)
    kept = np.flatnonzero(count)
    hits = np.bincount(codes, hit, n_bins)[kept]
    limits = np.array(
        [proportion_limits(h, c, level=level) for h, c in zip(hits, count[kept], strict=True)]
    )
    return Reliability(
        np.bincount(codes, p, n_bins)[kept] / count[kept],
        hits / count[kept],
        limits[:, 0],
        limits[:, 1],
        count[kept],
        np.linspace(0, 1, n_bins + 1)
        if binning == "width"
        else np.quantile(p, np.linspace(0, 1, n_bins + 1)),
    )


def _binned_error(
    pairs: list[tuple[Floats, Floats, NDArray[np.intp]]],
    n_bins: int,
    norm: str,
    weights: Floats | None,
) -> Floats:
    """Return the error (b,) under row weights (b, n), the mean over the pairs (classes)."""
    total = 0.0
    for hit, p, codes in pairs:
        if weights is None:
            share = np.bincount(codes, minlength=n_bins)[None] / hit.size
            gap = np.bincount(codes, hit - p, n_bins)[None] / hit.size
        else:
            sizes = weights.sum(axis=1, keepdims=True)
            member = np.zeros((hit.size, n_bins))
            member[np.arange(hit.size), codes] = 1.0
            share = weights @ member / sizes
            gap = weights @ (member * (hit - p)[:, None]) / sizes
        total = total + quantities.calibration_error(gap, share, norm)
    return np.asarray(total) / len(pairs)


def ece(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    n_bins: int = 15,
    binning: str = "width",
    closed: str = "right",
    norm: str = "l1",
    of: str = "auto",
    method: str = "bootstrap",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    r"""Estimate the expected calibration error; the result names the definition used.

    .. math:: \sum_b \frac{n_b}{n}\,\bigl|\bar y_b - \bar p_b\bigr|

    The estimate is biased upwards (it is not zero for a perfect model), more so with many bins and
    few cases, and percentile limits share the bias: read it together with the diagram.

    Args:
        labels: (cases,) 0/1 or class numbers.
        probs: (cases,), (cases, 2) or (cases, classes).
        n_bins: number of bins.
        binning: `width`, or `mass` (adaptive ECE; equal probabilities are kept together).
        closed: `right`, (k/K, (k+1)/K] with 0 in the first bin (Guo 2017); or `left`, with 1 in
            the last (netcal, torchmetrics). They differ where values fall on edges.
        norm: `l1` (ECE), `l2` (its root mean square, RMSCE) or `max` (MCE).
        of: `positive` (P(y = 1) against the outcome), `top` (the chosen label), `class` (mean
            over classes, classwise ECE); `auto` is positive for two classes, else top.
        method: `bootstrap` (percentile; bins stay as they are).
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap; 0 gives no interval.
        seed: seed of the bootstrap.

    Returns:
        The estimate, its definition in `method`.

    Raises:
        ValueError: for probabilities outside [0, 1], NaN, unknown names.

    References:
        Naeini, Cooper, Hauskrecht (2015), AAAI. Guo et al. (2017), ICML.
        Nixon et al. (2019), CVPR workshops.

    Examples:
        >>> round(ece([0, 1], [0.2, 0.7], n_bins=2, n_resamples=0).value, 3)
        0.25
    """
    check_level(level)
    if spelled(method) not in ("bootstrap", "percentile"):
        raise unknown("method", method, ("bootstrap",))
    of = ("top" if _is_multi(probs) else "positive") if of == "auto" else of
    if of == "class":
        p = as_array(probs, "probs", np.float64)
        if p.ndim != 2:
            raise ValueError("of='class' needs probs of (cases, classes)")
        y, p = class_probabilities(labels, p)
        sources = [((y == c).astype(np.float64), p[:, c]) for c in range(p.shape[1])]
    else:
        sources = [_targets(labels, probs, of)]
    pairs = [(hit, q, bin_codes(q, n_bins, spelled(binning), closed)) for hit, q in sources]
    n = sources[0][0].size
    value = float(_binned_error(pairs, n_bins, norm, None)[0])
    codes, k = group_codes(groups, n)
    rule = f"{n_bins} bins by {binning}" + (f", {closed}-closed" if binning == "width" else "")
    name = {"l1": "ECE", "l2": "RMSCE", "max": "MCE"}[norm]
    low, high, se = float("nan"), float("nan"), None
    notes: tuple[str, ...] = ()
    if n_resamples and k > 1:
        rng = np.random.default_rng(seed)
        values = np.concatenate(
            [
                _binned_error(pairs, n_bins, norm, weights)
                for weights in resample_weights(rng, n, n_resamples, groups=groups)
            ]
        )
        low, high = interval_from_replicates(value, values, method="percentile", level=level)
        se = float(values.std(ddof=1))
        if value < low:
            notes = ("the value lies below its resamples: ECE is biased upwards at this n",)
    else:
        notes = ("no interval asked for",) if k > 1 else ("one unit has no spread: no interval",)
    return Estimate(
        value,
        low,
        high,
        level,
        k,
        unit or ("case" if codes is None else "patient"),
        f"{of} {'probability' if of == 'positive' else 'label'}, {rule}; percentile bootstrap",
        notes,
        se=se,
        name=name,
    )


def _with_errors(
    fit: LogisticFit,
    errors: str,
    design: Floats,
    positive: NDArray[np.bool_],
    offset: Floats | float = 0.0,
) -> LogisticFit:
    if errors == "information" or not fit.converged:
        return fit
    if errors != "glm":
        raise unknown("errors", errors, ("information", "glm"))
    return fit._replace(covariance=glm_covariance(design, positive.astype(np.float64), offset))


def _wald(fit: LogisticFit, at: int, level: float, n: int, unit: str, name: str) -> Estimate:
    if not fit.converged:
        why = "outcomes are separated by the probabilities: no finite fit"
        return _undefined(why, level, n, unit, name)
    value, se = float(fit.coefficients[at]), float(np.sqrt(fit.covariance[at, at]))
    half = quantile(level) * se
    return Estimate(
        value, value - half, value + half, level, n, unit, "logistic, wald", se=se, name=name
    )


def _undefined(why: str, level: float, n: int, unit: str, name: str) -> Estimate:
    inf = float("inf")
    return Estimate(
        float("nan"), -inf, inf, level, n, unit, "logistic, wald", (why,), name=name
    )  # fmt: skip


def calibration_slope(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    level: float = 0.95,
    errors: str = "information",
    unit: str = "case",
) -> Estimate:
    r"""Estimate the calibration slope b of logit P(y = 1) = a + b logit p.

    1 is ideal; below 1 the probabilities are too extreme. `details["intercept"]` has a.

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class; 0 and 1 are cut at logits of +-30.
        level: confidence level.
        errors: `information` at the maximum, or `glm` (R's, which differ in the fifth digit).
        unit: name of the counted unit.

    Returns:
        The estimate, with Wald limits.

    Raises:
        ValueError: for probabilities outside [0, 1].

    References:
        Cox (1958), Biometrika 45:562. Van Calster et al. (2019), BMC Med 17:230.

    Examples:
        >>> y, p = [0, 0, 1, 0, 1, 1], [0.1, 0.3, 0.4, 0.6, 0.7, 0.9]
        >>> round(calibration_slope(y, p).value, 3)
        1.505
    """
    check_level(level)
    positive, p = probabilities(labels, probs)
    logit = logits_of(p)
    if np.ptp(logit) <= 1e-9 * np.abs(logit).max(initial=1.0):
        why = "the probabilities are all the same: they have no slope"
        return _undefined(why, level, p.size, unit, "calibration slope")
    design = np.column_stack([np.ones(p.size), logit])
    fit = _with_errors(fit_logistic(design, positive.astype(np.float64)), errors, design, positive)
    import dataclasses

    e = _wald(fit, 1, level, p.size, unit, "calibration slope")
    return dataclasses.replace(e, details={"intercept": float(fit.coefficients[0])})


def calibration_intercept(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    level: float = 0.95,
    errors: str = "information",
    unit: str = "case",
) -> Estimate:
    """Estimate calibration-in-the-large: a in logit P(y = 1) = a + logit p. 0 is ideal.

    Arguments as in `calibration_slope`; below 0 the probabilities are too high on average.
    `details["observed_expected"]` has the ratio of observed to expected positives.

    Examples:
        >>> abs(calibration_intercept([0, 1], [0.5, 0.5]).value) < 1e-9
        True
    """
    check_level(level)
    positive, p = probabilities(labels, probs)
    design, offset = np.ones((p.size, 1)), logits_of(p)
    fit = fit_logistic(design, positive.astype(np.float64), offset=offset)
    fit = _with_errors(fit, errors, design, positive, offset)
    import dataclasses

    e = _wald(fit, 0, level, p.size, unit, "calibration intercept")
    ratio = float(positive.sum() / p.sum()) if p.sum() > 0 else float("nan")
    return dataclasses.replace(e, details={"observed_expected": ratio})


def recalibrate(probs: ArrayLike, slope: float, intercept: float) -> Floats:
    """Return probabilities transformed by a slope and intercept on the logit scale."""
    return special.expit(intercept + slope * logits_of(as_array(probs, "probs", np.float64)))
