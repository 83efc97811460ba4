"""Area under the ROC curve with confidence intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from jaxmed.quantities import Placements, placements
from jaxmed.stats._result import Estimate, of_one_group
from jaxmed.stats.checks import (
    Floats,
    binary_scores,
    both_classes,
    check_level,
    group_codes,
    quantile,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._binormal import binormal_variance, fit_binormal

# Number of misplaced cases of the rarer class below which DeLong's variance alone is unreliable.
FEW_MISPLACED = 5.0

_METHODS = (
    "logit-delong",
    "logit-delong-plain",
    "delong",
    "hanley-mcneil",
    "newcombe",
    "obuchowski-binormal",
    "bootstrap",
    "bca",
)


def delong_variance(parts: Placements) -> float:
    """Return DeLong's variance of an AUC; a class of one case adds no term (see `auc`)."""
    v10, v01 = parts.positives, parts.negatives
    total = 0.0
    for values in (v10, v01):
        if values.size > 1:
            total += float(np.var(values, ddof=1)) / values.size
    return total


def delong_covariance(first: Placements, second: Placements) -> float:
    """Return DeLong's covariance of two AUCs of the same cases."""
    total = 0.0
    for a, b in ((first.positives, second.positives), (first.negatives, second.negatives)):
        if a.size > 1:
            total += float(np.dot(a - a.mean(), b - b.mean())) / (a.size - 1) / a.size
    return total


def hanley_mcneil_variance(area: float, n1: float, n0: float) -> float:
    """Return Hanley and McNeil's (1982) variance, from exponential scores."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    top = area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)
    return top / (n1 * n0)


def newcombe_variance(area: float, n1: float, n0: float) -> float:
    """Return Hanley and McNeil's variance with both classes at their mean size (Newcombe 2006)."""
    mean = (n1 + n0) / 2 - 1
    spread = 1 + mean * (1 - area) / (2 - area) + mean * area / (1 + area)
    return area * (1 - area) * spread / (n1 * n0)


def newcombe_limits(area: float, n1: int, n0: int, z: float) -> tuple[float, float]:
    """Invert the score test with Hanley-McNeil's variance at the mean class size.

    Newcombe (2006), Stat Med 25:559, method 5: stays in [0, 1] and is defined at 0 and 1.
    """

    def gap(t: float) -> float:
        return (area - t) ** 2 - z * z * newcombe_variance(t, n1, n0)

    # At 0 and 1 the area itself is a root, so the brackets exclude it.
    tiny = 1e-12
    low = high = area
    if area > 0:
        low = optimize.brentq(gap, tiny * area, min(area, 1 - tiny), xtol=1e-13)
    if area < 1:
        high = optimize.brentq(gap, max(area, tiny), 1 - tiny * (1 - area), xtol=1e-13)
    return low, high


def clustered_variance(
    positive: NDArray[np.bool_], parts: Placements, codes: NDArray[np.intp], k: int
) -> float:
    """Return Obuchowski's (1997) variance of the AUC of clustered cases."""
    return clustered_covariance(positive, parts, parts, codes, k)


def clustered_covariance(
    positive: NDArray[np.bool_],
    first: Placements,
    second: Placements,
    codes: NDArray[np.intp],
    k: int,
) -> float:
    """Return the covariance of two AUCs over clustered cases (Obuchowski 1997)."""
    n1, n0 = first.positives.size, first.negatives.size
    on, off = codes[positive], codes[~positive]
    m = np.bincount(on, minlength=k)
    n = np.bincount(off, minlength=k)

    def excess(parts: Placements) -> tuple[Floats, Floats]:
        up = np.bincount(on, parts.positives, k) - m * parts.auc
        down = np.bincount(off, parts.negatives, k) - n * parts.auc
        return up, down

    (up1, down1), (up2, down2) = excess(first), excess(second)
    with_pos, with_neg = int((m > 0).sum()), int((n > 0).sum())
    total = 0.0
    if with_pos > 1:
        total += with_pos / (with_pos - 1) * float(up1 @ up2) / n1**2
    if with_neg > 1:
        total += with_neg / (with_neg - 1) * float(down1 @ down2) / n0**2
    if k > 1:
        total += k / (k - 1) * float(up1 @ down2 + up2 @ down1) / (n1 * n0)
    return total


def logit_limits(value: float, se: float, z: float) -> tuple[float, float]:
    """Return normal limits on the logit scale by the delta method."""
    half = z * se / (value * (1 - value))
    centre = special.logit(value)
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def _few_misplaced(area: float, n1: int, n0: int) -> bool:
    """Whether DeLong's variance depends on too few misplaced cases to be reliable.

    The rarer class has n cases, of which about n (1 - area) are misplaced. With fewer than five,
    the variance is poorly estimated and the logit interval covers as little as .70.
    """
    return min(n1, n0) * min(area, 1 - area) < FEW_MISPLACED


def auc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    method: str = "logit-delong",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    stratified: bool = True,
    seed: int = 0,
) -> Estimate:
    r"""Estimate the area under the ROC curve with an interval.

    .. math:: \hat A = \frac{1}{n_1 n_0} \sum_{i,j} [x_i > y_j] + \tfrac12 [x_i = y_j]

    DeLong's variance depends on the misplaced cases. If the rarer class has fewer than five of
    them (its size times 1 - AUC), the logit interval alone covers as little as .70 of a nominal
    .95; `logit-delong` then uses the outer of its limits and Newcombe's score limits (method 5),
    Newcombe's alone at an area of 0 or 1, and adds a note. It thus covers .93 to .99 over the
    situations of the coverage table, including rare positives; `logit-delong-plain` lacks this
    safeguard. `newcombe` covers .94 to .99 if the classes' scores have equal spread and as little
    as .86 otherwise. `delong` (Wald) can exceed 1 and covers .68 to .91 with ten cases per class,
    `hanley-mcneil` .68 to .90.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) any numbers, higher for positives; or (cases, 2) class probabilities.
        method: `logit-delong`, `logit-delong-plain`, `delong`, `hanley-mcneil`, `newcombe`,
            `obuchowski-binormal`, `bootstrap` (percentile) or `bca`.
        level: confidence level.
        groups: (cases,) patient of each case, where one has several: the variance is then
            Obuchowski's clustered one, and the bootstrap draws patients.
        unit: name of the counted unit; `case`, or `patient` with groups.
        n_resamples: bootstrap resamples.
        stratified: draw positives and negatives separately in the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The estimate, with the counts of both classes and the variance in `details`.

    Raises:
        ValueError: one class only, NaN scores, labels other than 0/1, unequal lengths.

    References:
        DeLong et al. (1988), Biometrics 44:837. Sun and Xu (2014), IEEE SPL 21:1389.
        Qin and Hotilovac (2008), Stat Methods Med Res 17:207. Obuchowski (1997), Biometrics 53:567.

    Examples:
        >>> e = auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> e.value, e.lower > 0, e.upper < 1
        (0.75, True, True)
        >>> auc([0, 0, 1, 1], [1, 2, 3, 4]).upper
        1.0
    """
    check_level(level)
    positive, x = binary_scores(labels, scores)
    n1, n0 = both_classes(positive)
    name = spelled(method)
    if name not in _METHODS:
        raise unknown("method", method, _METHODS)
    codes, k = group_codes(groups, x.size)
    parts = placements(positive, x)
    area = parts.auc
    z = quantile(level)
    details: dict[str, object] = {"positives": n1, "negatives": n0}
    if codes is not None and k == 1:
        return of_one_group(
            area, (0.0, 1.0), rows=x.size, level=level, unit=unit, method=name, name="AUC",
            details=details,
        )  # fmt: skip
    notes: list[str] = []
    if codes is not None:
        variance = clustered_variance(positive, parts, codes, k)
        details["naive_variance"] = delong_variance(parts)
        notes.append(f"{x.size} rows in {k} groups")
    elif name == "hanley-mcneil":
        variance = hanley_mcneil_variance(area, n1, n0)
    elif name == "obuchowski-binormal":
        variance = binormal_variance(fit_binormal(positive, x), n0 / n1) / n1
    else:
        variance = delong_variance(parts)
    counted1, counted0 = _effective_classes(positive, codes, n1, n0)
    if min(counted1, counted0) == 1 and name in ("delong", "logit-delong", "logit-delong-plain"):
        one = "case" if codes is None else "group"
        notes.append(f"one class has a single {one}: its own spread is not in the variance")
    if codes is not None and name in ("hanley-mcneil", "newcombe", "obuchowski-binormal"):
        raise ValueError(f"method {name!r} takes no groups; use delong, logit-delong or bootstrap")
    se = float(np.sqrt(max(variance, 0.0)))
    details["variance"] = float(variance)
    label = name
    if name in ("bootstrap", "bca"):
        from jaxmed.stats.diagnostic._bootstrap_auc import bootstrap_auc_limits

        low, high, se, extra = bootstrap_auc_limits(
            positive, x, codes, k, n_resamples, stratified, seed, level, name
        )
        details |= extra
        label = f"{name} ({n_resamples} resamples{', by group' if codes is not None else ''})"
        if low == high:
            notes.append("all resamples agree: the bootstrap says nothing here; use logit-delong")
    elif name == "newcombe":
        low, high = newcombe_limits(area, n1, n0, z)
    elif name.startswith("logit-delong") and 0 < area < 1 and se > 0:
        low, high = logit_limits(area, se, z)
        if name == "logit-delong" and _few_misplaced(area, counted1, counted0):
            score_low, score_high = newcombe_limits(area, counted1, counted0, z)
            low, high = min(low, score_low), max(high, score_high)
            notes.append(
                "too few misplaced cases for DeLong's variance alone: the outer of its limits and "
                "Newcombe's score limits"
            )
    elif name.startswith("logit-delong"):
        low, high = newcombe_limits(area, counted1, counted0, z)
        notes.append("DeLong's variance is 0 here: limits by Newcombe's score method")
    else:
        low, high = area - z * se, area + z * se
        if low < 0 or high > 1:
            notes.append("Wald limits passed [0, 1] and were cut: use logit-delong")
            low, high = max(low, 0.0), min(high, 1.0)
        if se == 0:
            notes.append("variance 0 gives a point, not an interval: use logit-delong")
    return Estimate(
        value=area,
        lower=float(low),
        upper=float(high),
        level=level,
        n=k,
        unit=unit or ("case" if codes is None else "patient"),
        method=label,
        notes=tuple(notes),
        se=se,
        details=details,
        name="AUC",
    )


def _effective_classes(
    positive: NDArray[np.bool_], codes: NDArray[np.intp] | None, n1: int, n0: int
) -> tuple[int, int]:
    """Return class sizes, counted in groups if cases are clustered."""
    if codes is None:
        return n1, n0
    return len(np.unique(codes[positive])), len(np.unique(codes[~positive]))
