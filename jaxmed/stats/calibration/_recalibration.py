"""Recalibration maps and score decompositions: temperature, isotonic, CORP, Murphy, ICI."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from jaxmed.stats.calibration._reliability import bin_codes
from jaxmed.stats.checks import Floats, probabilities
from jaxmed.stats.diagnostic._scoring import logits_of


def fit_temperature(labels: ArrayLike, probs: ArrayLike, *, bound: float = 30.0) -> float:
    """Return the temperature T that minimises the log loss of expit(logit / T).

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class.
        bound: logits are cut at +- this.

    Returns:
        T; above 1 the probabilities were too extreme.

    Raises:
        ValueError: for probabilities outside [0, 1].

    References:
        Guo et al. (2017), ICML.

    Examples:
        >>> fit_temperature([1, 1, 0, 0, 1, 0], [0.9, 0.95, 0.1, 0.9, 0.6, 0.05]) > 1
        True
    """
    positive, p = probabilities(labels, probs)
    signed = np.where(positive, 1.0, -1.0) * logits_of(p, bound=bound)

    def loss(log_t: float) -> float:
        return float(np.mean(np.logaddexp(0.0, -signed * np.exp(-log_t))))

    found = optimize.minimize_scalar(
        loss, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10}
    )
    return float(np.exp(found.x))


def isotonic(labels: ArrayLike, probs: ArrayLike) -> Floats:
    """Return probabilities recalibrated by isotonic regression (pool adjacent violators).

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class.

    Returns:
        (cases,) in the order given; equal probabilities stay equal.

    Raises:
        ValueError: for probabilities outside [0, 1].

    References:
        Ayer et al. (1955), Ann Math Stat 26:641.

    Examples:
        >>> isotonic([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
        array([0. , 0.5, 0.5, 1. ])
    """
    positive, p = probabilities(labels, probs)
    values, codes = np.unique(p, return_inverse=True)
    counts = np.bincount(codes).astype(np.float64)
    means = np.bincount(codes, positive) / counts
    found = optimize.isotonic_regression(means, weights=counts)
    return found.x[codes] if values.size else p


class ScoreParts(NamedTuple):
    """Brier score split: score = miscalibration - discrimination + uncertainty."""

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def corp(labels: ArrayLike, probs: ArrayLike) -> ScoreParts:
    """Split the Brier score by isotonic recalibration, without bins (CORP).

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class.

    Returns:
        The parts; all are 0 or more.

    References:
        Dimitriadis, Gneiting, Jordan (2021), PNAS 118:e2016191118.

    Examples:
        >>> corp([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]).uncertainty
        0.25
    """
    positive, p = probabilities(labels, probs)
    fitted = isotonic(positive, p)
    rate = positive.mean()
    score, best, reference = (
        float(np.mean((q - positive) ** 2)) for q in (p, fitted, np.full(p.size, rate))
    )
    return ScoreParts(score, score - best, reference - best, reference)


class MurphyParts(NamedTuple):
    """Reliability, resolution and uncertainty of binned probabilities, plain and corrected."""

    reliability: float
    resolution: float
    uncertainty: float
    reliability_corrected: float
    resolution_corrected: float
    uncertainty_corrected: float
    brier: float


def murphy(labels: ArrayLike, probs: ArrayLike, *, n_bins: int = 10) -> MurphyParts:
    """Split the Brier score over equal bins (Murphy), with Ferro and Fricker's bias correction.

    Reliability - resolution + uncertainty is the Brier score of each bin's mean probability.

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class.
        n_bins: bins of equal width, closed on the right.

    Returns:
        The parts.

    References:
        Murphy (1973), J Appl Meteorol 12:595. Ferro and Fricker (2012), QJRMS 138:1954.

    Examples:
        >>> murphy([0, 1, 0, 1], [0.1, 0.8, 0.3, 0.6], n_bins=2).uncertainty
        0.25
    """
    positive, p = probabilities(labels, probs)
    n = p.size
    codes = bin_codes(p, n_bins, "width", "right")
    count = np.bincount(codes, minlength=n_bins)
    used = count > 0
    count = count[used].astype(np.float64)
    rate = np.bincount(codes, positive, n_bins)[used] / count
    said = np.bincount(codes, p, n_bins)[used] / count
    base = float(positive.mean())
    reliability = float(np.sum(count * (said - rate) ** 2) / n)
    resolution = float(np.sum(count * (rate - base) ** 2) / n)
    uncertainty = base * (1 - base)
    several = count > 1
    within = float(np.sum((count * rate * (1 - rate))[several] / (count[several] - 1)) / n)
    whole = uncertainty / (n - 1) if n > 1 else 0.0
    # The correction is scaled back where a full one would make a part negative.
    scale = 1.0
    if within > reliability:
        scale = min(scale, reliability / within)
    if within - whole > resolution:
        scale = min(scale, resolution / (within - whole))
    low_rel, low_res = reliability - scale * within, resolution - scale * (within - whole)
    unc = uncertainty + scale * whole
    return MurphyParts(
        reliability,
        resolution,
        uncertainty,
        low_rel,
        low_res,
        unc,
        float(np.mean((p - positive) ** 2)),
    )


def lowess(x: Floats, y: Floats, *, fraction: float = 2 / 3, delta: float | None = None) -> Floats:
    """Return Cleveland's locally weighted regression at each x, without robustness steps.

    Args:
        x: (cases,).
        y: (cases,).
        fraction: fraction of the cases near each point.
        delta: points this close to the last one fitted are interpolated; 1% of the range if absent.

    Returns:
        (cases,) fitted values in the order given.

    References:
        Cleveland (1979), JASA 74:829.
    """
    order = np.argsort(x, kind="stable")
    u, v = x[order], y[order].astype(np.float64)
    n = u.size
    near = min(max(int(fraction * n + 1e-7), 2), n)
    reach = 0.01 * (u[-1] - u[0]) if delta is None else delta
    spread = u[-1] - u[0]
    fitted = np.zeros(n)
    left, right = 0, near - 1
    last, i = -1, 0
    while True:
        while right < n - 1 and u[i] - u[left] > u[right + 1] - u[i]:
            left, right = left + 1, right + 1
        h = max(u[i] - u[left], u[right] - u[i])
        stop = int(np.searchsorted(u, u[i] + h * 1.001, "right"))
        distance = np.abs(u[left:stop] - u[i])
        weights = np.zeros(distance.size)
        inside = distance <= 0.999 * h
        weights[inside] = np.where(
            distance[inside] > 0.001 * h, (1 - (distance[inside] / max(h, 1e-300)) ** 3) ** 3, 1.0
        )
        total = weights.sum()
        if total <= 0:
            fitted[i] = v[i]
        else:
            weights = weights / total
            centre = float(weights @ u[left:stop])
            variance = float(weights @ (u[left:stop] - centre) ** 2)
            if h > 0 and np.sqrt(variance) > 0.001 * spread:
                slope = (u[i] - centre) / variance
                weights = weights * (1 + slope * (u[left:stop] - centre))
            fitted[i] = float(weights @ v[left:stop])
        if last < i - 1:
            share = (u[last + 1 : i] - u[last]) / (u[i] - u[last])
            fitted[last + 1 : i] = share * fitted[i] + (1 - share) * fitted[last]
        last = i
        cut = u[last] + reach
        i = last + 1
        while i < n and u[i] <= cut:
            if u[i] == u[last]:
                fitted[i] = fitted[last]
                last = i
            i += 1
        i = max(last + 1, i - 1)
        if last >= n - 1:
            break
    out = np.empty(n)
    out[order] = fitted
    return out


class SmoothGap(NamedTuple):
    """Distances of probabilities from a smooth curve: mean (ICI), median, E90, largest."""

    ici: float
    e50: float
    e90: float
    maximum: float


def smooth_calibration(labels: ArrayLike, probs: ArrayLike) -> SmoothGap:
    """Return the integrated calibration index and related measures, by lowess.

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class.

    Returns:
        Mean (Eavg, ICI), median, 90th percentile and largest gap.

    References:
        Austin and Steyerberg (2019), Stat Med 38:4051.

    Examples:
        >>> p = np.linspace(0.05, 0.95, 50)
        >>> smooth_calibration((p > 0.5).astype(int), p).ici > 0.1
        True
    """
    positive, p = probabilities(labels, probs)
    gap = np.abs(p - lowess(p, positive.astype(np.float64)))
    return SmoothGap(
        float(gap.mean()), float(np.median(gap)), float(np.quantile(gap, 0.9)), float(gap.max())
    )


class Validation(NamedTuple):
    """Indices of a validation: likelihood gains, Nagelkerke's R squared, slope and intercept.

    d: discrimination, (likelihood ratio - 1) / n; u: unreliability, (its chi-square - 2) / n;
    q: quality, d - u.
    """

    r_squared: float
    d: float
    d_chi_square: float
    u: float
    u_chi_square: float
    u_p_value: float
    q: float
    intercept: float
    slope: float


def validation_indices(labels: ArrayLike, probs: ArrayLike) -> Validation:
    """Return Harrell's indices of probabilities against outcomes.

    Args:
        labels: (cases,) 0 or 1, of both classes.
        probs: (cases,) of the positive class, inside (0, 1).

    Returns:
        The indices.

    Raises:
        ValueError: for probabilities of 0 or 1, or one class only.

    References:
        Harrell (2015), Regression Modeling Strategies, section 10.8. Miller, Hui, Tierney (1991),
        Stat Med 10:1213.

    Examples:
        >>> p = np.linspace(0.05, 0.95, 50)
        >>> validation_indices(np.arange(50) % 3 == 2, p).slope < 1
        True
    """
    from jaxmed.stats.calibration._logistic import fit_logistic
    from jaxmed.stats.checks import both_classes

    positive, p = probabilities(labels, probs)
    both_classes(positive)
    if p.min() <= 0 or p.max() >= 1:
        raise ValueError("probabilities of 0 and 1 have no logit: cut them first")
    y, n = positive.astype(np.float64), p.size
    logit = special.logit(p)
    fit = fit_logistic(np.column_stack([np.ones(n), logit]), y)
    as_given = float(np.sum(y * logit - np.logaddexp(0.0, logit)))
    rate = y.mean()
    null = n * float(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    ratio = 2 * (fit.log_likelihood - null)
    u_chi = 2 * (fit.log_likelihood - as_given)
    ratio -= u_chi  # likelihood gain of the probabilities as given
    r2 = -np.expm1(-ratio / n) / -np.expm1(2 * null / n)
    d, u = (ratio - 1) / n, (u_chi - 2) / n
    return Validation(
        float(r2),
        d,
        ratio,
        u,
        u_chi,
        float(special.chdtrc(2, u_chi)),
        d - u,
        float(fit.coefficients[0]),
        float(fit.coefficients[1]),
    )
