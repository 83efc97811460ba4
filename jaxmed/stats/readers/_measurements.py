"""Agreement of two measurements: Lin's concordance and Bland and Altman's limits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import deviation, unit_scale
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import check_level, finite, quantile, same_length


def concordance_correlation(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, unit: str = "case"
) -> Estimate:
    r"""Estimate Lin's concordance correlation of two measurements.

    .. math:: \rho_c = \frac{2 s_{xy}}{s_x^2 + s_y^2 + (\bar x - \bar y)^2}

    Args:
        first: (cases,) one measurement.
        second: (cases,) the other.
        level: confidence level; limits by Fisher's z.
        unit: name of the counted unit.

    Returns:
        The estimate; `details` has the scale shift (second over first), the location shift
        (second - first) and the bias correction.

    Raises:
        ValueError: for fewer than 3 cases, NaN, or no variance.

    References:
        Lin (1989), Biometrics 45:255, and correction (2000), 56:324.

    Examples:
        >>> round(concordance_correlation([1, 2, 3, 4], [1.1, 2.1, 2.9, 4.2]).value, 4)
        0.9931
    """
    check_level(level)
    x, y = finite(first, "first", minimum=3), finite(second, "second", minimum=3)
    n = same_length(first=x, second=y)
    scale = unit_scale(x, y)
    x, y = x / scale, y / scale
    vx, vy = x.var(), y.var()
    if vx == 0 or vy == 0:
        raise ValueError("one of the measurements does not vary: concordance is undefined")
    gap = x.mean() - y.mean()
    cov = float(np.mean((x - x.mean()) * (y - y.mean())))
    value = 2 * cov / (vx + vy + gap**2)
    r = cov / np.sqrt(vx * vy)
    shift2 = gap**2 / np.sqrt(vx * vy)
    bias = float(2 * np.sqrt(vx * vy) / (vx + vy + gap**2))  # value / r, which r = 0 has too
    if abs(value) >= 1:
        low, high, se = value, value, 0.0
    else:
        variance = (
            (1 - r**2) * bias**2 * (1 - value**2)
            + 2 * value**2 * bias * (1 - value) * shift2
            - 0.5 * (value * bias * shift2) ** 2
        ) / (n - 2)
        se = float(np.sqrt(max(variance, 0.0)))
        half = quantile(level) * se / (1 - value**2)
        low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return Estimate(
        float(value),
        float(low),
        float(high),
        level,
        n,
        unit,
        "lin, fisher z",
        se=se,
        details={
            "scale_shift": float(np.sqrt(vy / vx)),
            "location_shift": float(-gap / np.sqrt(np.sqrt(vx * vy))),
            "bias_correction": bias,
            "pearson": float(r),
        },
        name="concordance correlation",
    )


class BlandAltman(NamedTuple):
    """Bias and limits of agreement, each an estimate, and the spread of the differences."""

    bias: Estimate
    lower_limit: Estimate
    upper_limit: Estimate
    sd: float


def bland_altman(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, unit: str = "case"
) -> BlandAltman:
    r"""Return the bias and the 95% limits of agreement of two measurements.

    The limits are :math:`\bar d \pm 1.96\,s`; their error is near :math:`s \sqrt{3/n}`.

    Args:
        first: (cases,) one measurement.
        second: (cases,) the other.
        level: confidence level of the intervals of bias and limits.
        unit: name of the counted unit.

    Returns:
        Bias, lower and upper limit with intervals (Student's t).

    Raises:
        ValueError: for fewer than 3 cases, NaN or unequal lengths.

    References:
        Bland and Altman (1986), Lancet 1:307.

    Examples:
        >>> round(bland_altman([1.0, 2.0, 3.0, 4.0], [1.2, 1.9, 3.3, 3.8]).bias.value, 3)
        -0.05
    """
    check_level(level)
    x, y = finite(first, "first", minimum=3), finite(second, "second", minimum=3)
    n = same_length(first=x, second=y)
    d = x - y
    bias, sd = float(d.mean()), deviation(d)
    t = float(special.stdtrit(n - 1, 0.5 + level / 2))
    z = 1.96  # as the limits are defined and reported

    def made(value: float, se: float, name: str) -> Estimate:
        return Estimate(
            value,
            value - t * se,
            value + t * se,
            level,
            n,
            unit,
            "bland-altman t",
            se=se,
            name=name,
        )

    wide = sd * float(np.sqrt(3 / n))
    return BlandAltman(
        made(bias, sd / float(np.sqrt(n)), "bias"),
        made(bias - z * sd, wide, "lower limit of agreement"),
        made(bias + z * sd, wide, "upper limit of agreement"),
        sd,
    )
