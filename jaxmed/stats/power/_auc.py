"""Power and sample size of AUCs."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from jaxmed.quantities import placements
from jaxmed.stats.checks import (
    binary_scores,
    both_classes,
    check_number,
    check_rate,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._auc import (
    delong_covariance,
    delong_variance,
    hanley_mcneil_variance,
    newcombe_variance,
)
from jaxmed.stats.diagnostic._binormal import (
    Binormal,
    binormal_covariance,
    binormal_variance,
    exponential_binormal_variance,
    fit_binormal,
)


class AucPower(NamedTuple):
    """A planned ROC study: cases of each class, power, and a sentence for the protocol."""

    positives: float
    negatives: float
    power: float
    sentence: str


def _plan(positives: float, ratio: float, power: float, alpha: float, finding: str) -> AucPower:
    n1, n0 = math.ceil(positives - 1e-9), math.ceil(ratio * positives - 1e-9)
    sentence = (
        f"With {n1} positive and {n0} negative cases, a two-sided test at the {100 * alpha:g}% "
        f"level has {100 * power:.0f}% power to detect {finding}."
    )
    return AucPower(float(positives), float(ratio * positives), float(power), sentence)


def _size_or_power(
    delta: float,
    v0: float,
    va: float,
    positives: float | None,
    power: float | None,
    ratio: float,
    alpha: float,
    finding: str,
) -> AucPower:
    """Solve (z_a sqrt(v0) + z_b sqrt(va))^2 = positives delta^2 for what is missing."""
    if (positives is None) == (power is None):
        raise ValueError("give exactly one of positives= and power=")
    check_rate(alpha, "alpha")
    check_number(delta, "difference")
    if delta == 0:
        raise ValueError("the areas are equal: there is no difference to detect")
    z = float(special.ndtri(1 - alpha / 2))
    if power is not None:
        zb = float(special.ndtri(check_rate(power, "power")))
        positives = (z * math.sqrt(v0) + zb * math.sqrt(va)) ** 2 / delta**2
    else:
        assert positives is not None  # exactly one of the two is missing
        check_number(positives, "positives", above=0)
        shift = (math.sqrt(positives) * abs(delta) - z * math.sqrt(v0)) / math.sqrt(va)
        power = float(special.ndtr(shift))
    return _plan(positives, ratio, power, alpha, finding)


def power_auc(
    auc: float,
    *,
    positives: float | None = None,
    power: float | None = None,
    ratio: float = 1.0,
    alpha: float = 0.05,
) -> AucPower:
    """Plan a study to show that an AUC differs from chance (Obuchowski, Lieber and Wians).

    Args:
        auc: area expected.
        positives: positive cases; or
        power: wanted.
        ratio: negatives for each positive.
        alpha: two-sided size of the test.

    Returns:
        The plan.

    Raises:
        ValueError: for an area outside (0, 1) or of .5, a ratio of 0 or less.

    References:
        Obuchowski, Lieber, Wians (2004), Clin Chem 50:1118.

    Examples:
        >>> round(power_auc(0.7, power=0.9).positives, 1)
        40.2
    """
    check_rate(auc, "auc")
    check_number(ratio, "ratio", above=0)
    null = 0.0792 * (1 + 1 / ratio)  # the paper's variance at .5
    va = exponential_binormal_variance(auc, ratio)
    return _size_or_power(
        auc - 0.5, null, va, positives, power, ratio, alpha, f"an AUC of {auc:g} against 0.5"
    )


def size_auc_bound(
    auc: float,
    margin: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    prevalence: float = 0.5,
    method: str = "score",
) -> AucPower:
    """Return the cases needed for a one-sided lower limit of the AUC above auc - margin.

    The limit of `stats.auc` is the lower one at level 1 - 2 alpha. `score` plans for it: the error
    at the bound is Newcombe's, that at the expected area Hanley and McNeil's. In simulations of
    binormal scores the plans have the requested power, to +.08. `hanley-mcneil` is the
    published formula with one error for both, which is too small at the bound: an AUC of .9
    shown above .8 with 80% power needs 51 cases per class, but it gives 33, whose power is 67%.

    Args:
        auc: area expected.
        margin: distance of the limit below it.
        power: wanted.
        alpha: one-sided.
        prevalence: share of positives in the study.
        method: `score` or `hanley-mcneil`.

    Returns:
        The plan.

    Raises:
        ValueError: for rates outside (0, 1), a margin of the area or more, an unknown method.

    References:
        Hajian-Tilaki (2014), J Biomed Inform 48:193. Newcombe (2006), Stat Med 25:559.

    Examples:
        >>> round(size_auc_bound(0.7, 0.05, power=0.9, method="hanley-mcneil").positives, 2)
        462.77
        >>> round(size_auc_bound(0.7, 0.05, power=0.9).positives, 2)
        488.8
    """
    check_rate(auc, "auc")
    check_rate(margin, "margin")
    if not margin < auc:
        raise ValueError(f"the margin {margin:g} reaches below an AUC of 0 from {auc:g}")
    name = spelled(method)
    if name not in ("score", "hanley-mcneil"):
        raise unknown("method", method, ("score", "hanley-mcneil"))
    ratio = (1 - check_rate(prevalence, "prevalence")) / prevalence
    z_alpha = float(special.ndtri(1 - check_rate(alpha, "alpha")))
    z_power = float(special.ndtri(check_rate(power, "power")))

    def gap(log_n: float) -> float:
        n1 = math.exp(log_n)
        n0 = ratio * n1
        expected = hanley_mcneil_variance(auc, n1, n0)
        bound = newcombe_variance(auc - margin, n1, n0) if name == "score" else expected
        return z_alpha * math.sqrt(bound) + z_power * math.sqrt(expected) - margin

    n1 = math.exp(optimize.brentq(gap, math.log(1.01), math.log(1e9), xtol=1e-12))
    sentence = (
        f"With {math.ceil(n1)} positive and {math.ceil(ratio * n1)} negative cases the lower "
        f"{100 * (1 - alpha):g}% limit of an AUC of {auc:g} exceeds {auc - margin:g} with "
        f"{100 * power:.0f}% power."
    )
    return AucPower(n1, ratio * n1, power, sentence)


def power_two_aucs(
    first: Binormal,
    second: Binormal,
    *,
    positives: float | None = None,
    power: float | None = None,
    ratio: float = 1.0,
    r_positive: float = 0.0,
    r_negative: float = 0.0,
    difference: float | None = None,
    alpha: float = 0.05,
    method: str = "delta",
) -> AucPower:
    """Plan a comparison of two AUCs, paired by correlation or independent, from binormal curves.

    Args:
        first: (a, b) of one curve.
        second: (a, b) of the other.
        positives: positive cases; or
        power: wanted.
        ratio: negatives for each positive.
        r_positive: correlation of the two scores among positives; 0 for unpaired designs.
        r_negative: correlation among negatives.
        difference: difference of the areas; that of the curves if absent.
        alpha: two-sided size of the test.
        method: `delta`, with the variance of the difference as in DeLong's test; or
            `obuchowski-mcclish`, as in pROC: the first curve's variance under the null
            hypothesis, without the covariance of a curve's parameters, which gives too many cases.

    Returns:
        The plan.

    Raises:
        ValueError: for equal areas, or correlations outside [-1, 1].

    References:
        Obuchowski and McClish (1997), Stat Med 16:1529.

    Examples:
        >>> a, b = Binormal(2.6, 1.0), Binormal(1.9, 1.0)
        >>> p = power_two_aucs(a, b, power=0.8, r_positive=0.6, r_negative=0.6, difference=0.037)
        >>> round(p.positives, 1)
        162.8
        >>> p = power_two_aucs(a, b, power=0.8, r_positive=0.6, r_negative=0.6, difference=0.037,
        ...                    method="obuchowski-mcclish")
        >>> round(p.positives, 1)
        165.8
    """
    check_number(ratio, "ratio", above=0)
    if not -1 <= r_positive <= 1 or not -1 <= r_negative <= 1:
        raise ValueError("correlations must lie in [-1, 1]")
    name = spelled(method)
    if name not in ("delta", "obuchowski-mcclish"):
        raise unknown("method", method, ("delta", "obuchowski-mcclish"))
    v1, v2 = (binormal_variance(c, ratio, crossed=name == "delta") for c in (first, second))
    cov = binormal_covariance(first, second, ratio, r_negative, r_positive)
    delta = first.auc - second.auc if difference is None else difference
    return _size_or_power(
        delta,
        v1 + v2 - 2 * cov if name == "delta" else 2 * v1 - 2 * cov,
        v1 + v2 - 2 * cov,
        positives,
        power,
        ratio,
        alpha,
        f"a difference between AUCs of {first.auc:.3f} and {second.auc:.3f}",
    )


def power_two_aucs_pilot(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    positives: float | None = None,
    power: float | None = None,
    alpha: float = 0.05,
    method: str = "delong",
) -> AucPower:
    """Plan a paired comparison of two AUCs from pilot data.

    Args:
        labels: (cases,) 0 or 1 of the pilot.
        first: (cases,) scores of one model.
        second: (cases,) scores of the other.
        positives: positive cases of the planned study; or
        power: wanted. The pilot's share of positives is kept.
        alpha: two-sided size of the test.
        method: `delong`, `binormal` or `binormal-proc` (variances of fitted binormal curves; the
            last regresses and omits the covariance of the parameters as pROC does, see
            `fit_binormal` and `binormal_variance`).

    Returns:
        The plan.

    Raises:
        ValueError: for one class only, NaN, equal areas.

    References:
        Obuchowski and McClish (1997), Stat Med 16:1529.
    """
    positive, x = binary_scores(labels, first, name="first")
    _, y = binary_scores(labels, second, name="second")
    n1, n0 = both_classes(positive)
    name = spelled(method)
    a, b = placements(positive, x), placements(positive, y)
    if name == "delong":
        v1, v2 = delong_variance(a) * n1, delong_variance(b) * n1
        cov = delong_covariance(a, b) * n1
    elif name in ("binormal", "binormal-proc"):
        response = "specificity" if name == "binormal-proc" else "sensitivity"
        one, two = (fit_binormal(positive, s, response=response) for s in (x, y))
        ratio = n0 / n1
        v1, v2 = (binormal_variance(c, ratio, crossed=name == "binormal") for c in (one, two))
        cov = binormal_covariance(
            one,
            two,
            ratio,
            float(np.corrcoef(x[~positive], y[~positive])[0, 1]),
            float(np.corrcoef(x[positive], y[positive])[0, 1]),
        )
    else:
        raise unknown("method", method, ("delong", "binormal", "binormal-proc"))
    return _size_or_power(
        a.auc - b.auc,
        2 * v1 - 2 * cov,
        v1 + v2 - 2 * cov,
        positives,
        power,
        n0 / n1,
        alpha,
        f"a difference between AUCs of {a.auc:.3f} and {b.auc:.3f}",
    )
