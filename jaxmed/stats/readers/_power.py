"""Power and sample size of a reader study."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy import special

from jaxmed.stats._noncentral import noncentral_f_sf
from jaxmed.stats.checks import check_number, check_rate, check_whole
from jaxmed.stats.readers._components import components
from jaxmed.stats.readers._study import ReaderStudy


class ReaderPower(NamedTuple):
    """Power of a planned reader study, with its assumptions."""

    power: float
    noncentrality: float
    df2: float
    readers: int
    cases: int


def reader_power(
    pilot: ReaderStudy,
    *,
    readers: int,
    cases: int,
    effect: float,
    alpha: float = 0.05,
) -> ReaderPower:
    """Return the power of a study of two treatments, from a pilot's variance components.

    Args:
        pilot: a study of two treatments.
        readers: number of readers of the planned study.
        cases: number of cases of the planned study, with the pilot's share of positives.
        effect: difference of the treatments to be found.
        alpha: two-sided size of the test.

    Returns:
        The power with random readers and cases.

    Raises:
        ValueError: if there are not two treatments, or fewer than 2 readers or cases.

    References:
        Hillis, Obuchowski, Berbaum (2011), Acad Radiol 18:129.
    """
    if pilot.theta.shape[0] != 2:
        raise ValueError(f"the pilot must compare 2 treatments, but has {pilot.theta.shape[0]}")
    check_whole(readers, "readers", 2)
    check_whole(cases, "cases", 2)
    check_number(effect, "effect")
    check_rate(alpha, "alpha")
    parts, _ = components(pilot)
    scale = pilot.cases / cases
    gap = max(parts.cov2 - parts.cov3, 0.0)
    spread = max(parts.treatment_reader, 0.0)
    denominator = spread + scale * (parts.error - parts.cov1 + (readers - 1) * gap)
    within = spread + scale * (parts.error - parts.cov1 - gap)
    if not denominator > 0:
        raise ValueError(
            "the pilot leaves no variance to plan with: its covariances exceed its error"
        )
    df2 = (readers - 1) * (denominator / within) ** 2 if within > 0 else math.inf
    ncp = readers * effect**2 / 2 / denominator
    # With one degree of freedom above, the F quantile is the square of a t quantile, which SciPy
    # gives for any number of degrees of freedom below.
    tail = 1 - alpha / 2
    quantile = special.stdtrit(df2, tail) if math.isfinite(df2) else special.ndtri(tail)
    critical = float(quantile) ** 2
    found = noncentral_f_sf(critical, 1, df2, ncp)
    return ReaderPower(found, float(ncp), float(df2), readers, cases)


def reader_sample_size(
    pilot: ReaderStudy,
    *,
    readers: int,
    effect: float,
    power: float = 0.8,
    alpha: float = 0.05,
    largest: int = 100_000,
) -> ReaderPower:
    """Return the smallest number of cases that reaches a power with a given number of readers.

    Args:
        pilot: a study of two treatments.
        readers: number of readers of the planned study.
        effect: difference to be found.
        power: wanted.
        alpha: two-sided size of the test.
        largest: cases beyond which the search stops.

    Returns:
        The power at the smallest number of cases.

    Raises:
        ValueError: if no number of cases suffices: more readers are needed.
    """
    check_rate(power, "power")
    check_whole(largest, "largest", 2)

    def at(cases: int) -> ReaderPower:
        return reader_power(pilot, readers=readers, cases=cases, effect=effect, alpha=alpha)

    if not at(largest).power >= power:
        raise ValueError(f"{largest} cases do not reach power {power}: add readers")
    low, high = 1, largest  # power grows with the cases
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(max(middle, 2)).power >= power else (middle, high)
    return at(max(high, 2))
