"""The binormal ROC curve: its fit, and Obuchowski's variances for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats.checks import unknown
from jaxmed.stats.diagnostic._curves import roc_curve


class Binormal(NamedTuple):
    r"""The curve :math:`\Phi^{-1}(Se) = a + b\,\Phi^{-1}(1 - Sp)`."""

    a: float
    b: float

    @property
    def auc(self) -> float:
        r"""The area, :math:`\Phi(a / \sqrt{1 + b^2})`."""
        return float(special.ndtr(self.a / np.sqrt(1 + self.b**2)))


def fit_binormal(
    labels: ArrayLike, scores: ArrayLike, *, response: str = "sensitivity"
) -> Binormal:
    """Fit a binormal curve by least squares on the probit scale of the empirical points.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        response: `sensitivity` is regressed on the false-positive rate; `specificity` regresses
            the specificity on the sensitivity, as pROC's variance "obuchowski" does, and returns
            these two coefficients: they describe the curve with the classes exchanged.

    Returns:
        Intercept and slope.

    Raises:
        ValueError: with fewer than two points inside the unit square (such as separation).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = np.repeat([0, 1], 500)
        >>> 0.8 < fit_binormal(y, rng.normal(size=1000) + 1.5 * y).auc < 0.9
        True
    """
    curve = roc_curve(labels, scores)
    inside = (curve.fpr > 0) & (curve.fpr < 1) & (curve.tpr > 0) & (curve.tpr < 1)
    x, y = special.ndtri(curve.fpr[inside]), special.ndtri(curve.tpr[inside])
    if response == "specificity":
        x, y = y, -x
    elif response != "sensitivity":
        raise unknown("response", response, ("sensitivity", "specificity"))
    if np.unique(x).size < 2:
        raise ValueError("a binormal curve needs two points with rates inside (0, 1)")
    b, a = np.polyfit(x, y, 1)
    return Binormal(float(a), float(b))


def _derivatives(curve: Binormal) -> tuple[float, float]:
    """Return the derivatives of the area with respect to a and b."""
    spread = 1 + curve.b**2
    density = np.exp(-(curve.a**2) / (2 * spread)) / np.sqrt(2 * np.pi * spread)
    return float(density), float(-density * curve.a * curve.b / spread)


def binormal_variance(curve: Binormal, ratio: float, *, crossed: bool = True) -> float:
    r"""Return the variance of a binormal area, times the number of positives.

    .. math:: f^2 (1 + b^2/R + a^2/2) + g^2 b^2 (1 + R)/(2R) + f g a b

    with f and g the derivatives of the area with respect to a and b, and R the ratio. The last term
    is twice the covariance of a and b; it is negative. pROC omits it, and plans half again as many
    cases as a simulation of the same study requires.

    Args:
        curve: the binormal parameters.
        ratio: negatives for each positive.
        crossed: include the covariance of a and b.

    References:
        Obuchowski and McClish (1997), Stat Med 16:1529.
    """
    f, g = _derivatives(curve)
    a, b = curve
    alone = f**2 * (1 + b**2 / ratio + a**2 / 2) + g**2 * b**2 * (1 + ratio) / (2 * ratio)
    return alone + (f * g * a * b if crossed else 0.0)


def binormal_covariance(
    first: Binormal, second: Binormal, ratio: float, r_negative: float, r_positive: float
) -> float:
    """Return the covariance of two binormal areas on the same cases, times the positives.

    Args:
        first: parameters of one curve.
        second: parameters of the other.
        ratio: negatives for each positive.
        r_negative: correlation of the two scores among negatives.
        r_positive: correlation among positives.

    References:
        Obuchowski and McClish (1997), Stat Med 16:1529, formula 5.
    """
    (f1, g1), (f2, g2) = _derivatives(first), _derivatives(second)
    (a1, b1), (a2, b2) = first, second
    ra2, rn2 = r_positive**2, r_negative**2
    return (
        f1 * f2 * (r_positive + r_negative * b1 * b2 / ratio + ra2 * a1 * a2 / 2)
        + g1 * g2 * b1 * b2 * (rn2 + ratio * ra2) / (2 * ratio)
        + f1 * g2 * ra2 * a1 * b2 / 2
        + f2 * g1 * ra2 * a2 * b1 / 2
    )


def exponential_binormal_variance(area: float, ratio: float) -> float:
    """Return Obuchowski, Lieber and Wians' (2004) planning variance, times the positives.

    The constants .0099 and 1.414 are the paper's, for binormal curves of equal spread.
    """
    a = special.ndtri(area) * 1.414
    return float(0.0099 * np.exp(-(a**2) / 2) * ((5 * a**2 + 8) + (a**2 + 8) / ratio))
