"""McNemar's test: exact, mid-p, asymptotic, and for clustered cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import (
    binary_labels,
    check_level,
    group_codes,
    same_length,
    spelled,
    unknown,
)
from jaxmed.stats.comparison._paired_proportions import given_table, paired_difference
from jaxmed.stats.diagnostic._proportion import proportion_limits

_METHODS = ("mid-p", "exact", "asymptotic", "corrected")


def mcnemar_test(
    first: ArrayLike | None = None,
    second: ArrayLike | None = None,
    *,
    table: tuple[int, int, int, int] | None = None,
    method: str = "mid-p",
    level: float = 0.95,
    unit: str = "case",
) -> TestResult:
    r"""Compare two proportions measured on the same cases.

    Only the cases on which the two disagree count: under the null hypothesis half of these
    favour each. `mid-p` is less conservative than `exact` and holds its level where the
    `asymptotic` chi-square does not (fewer than 25 disagreements).

    Args:
        first: (cases,) 0/1, such as whether one model was right.
        second: (cases,) 0/1 of the other.
        table: instead of outcomes, the counts (both, first only, second only, neither).
        method: `mid-p`, `exact`, `asymptotic` or `corrected` (for continuity, as in R).
        level: confidence level of the interval of the difference (Tango's score interval).
        unit: name of the counted unit.

    Returns:
        The test; `effect` is the difference of proportions, first - second. The conditional odds
        ratio with exact limits is in `details`.

    Raises:
        ValueError: unless outcomes or a table are given.

    References:
        McNemar (1947), Psychometrika 12:153. Fagerland et al. (2013), BMC Med Res Methodol 13:91.

    Examples:
        >>> r = mcnemar_test(table=(1, 1, 7, 12))
        >>> round(r.p_value, 6)
        0.039063
    """
    name = spelled(method)
    if name not in _METHODS:
        raise unknown("method", method, _METHODS)
    check_level(level)
    estimate = paired_difference(first, second, table=table, level=level)
    n11, b, c, n00 = given_table(first, second, table)
    m = b + c
    notes: tuple[str, ...] = ()
    if m == 0:
        notes = ("the two agree on every case: nothing tells them apart",)
        statistic, p = 0.0, 1.0
    elif name in ("asymptotic", "corrected"):
        gap = abs(b - c)
        if name == "corrected":
            gap = max(gap - 1, 0)
        statistic = gap * gap / m
        p = float(special.chdtrc(1, statistic))
        if m < 25:
            notes = (f"only {m} disagreements: use mid-p or exact",)
    else:
        small = min(b, c)
        exact = min(1.0, 2 * float(stats.binom.cdf(small, m, 0.5)))
        at = float(stats.binom.pmf(small, m, 0.5))
        if name == "exact":
            p = exact
        else:
            p = min(1.0, 2 * float(stats.binom.cdf(small, m, 0.5)) - at)
        statistic = float(b)
    low, high = proportion_limits(b, m, method="exact", level=level) if m else (0.0, 1.0)
    odds = {
        "odds_ratio": b / c if c else (np.inf if b else np.nan),
        "odds_ratio_lower": low / (1 - low) if low < 1 else np.inf,
        "odds_ratio_upper": high / (1 - high) if high < 1 else np.inf,
    }
    return TestResult(
        float(statistic),
        float(p),
        estimate.value,
        (estimate.lower, estimate.upper),
        n11 + m + n00,
        unit,
        f"McNemar, {name}",
        notes,
        level,
        df=1 if name in ("asymptotic", "corrected") else None,
        details={"first_only": b, "second_only": c} | odds,
        name="paired proportions",
    )


def clustered_mcnemar_test(
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    method: str = "obuchowski",
    unit: str = "patient",
) -> TestResult:
    r"""Compare two proportions on the same clustered rows (e.g. lesions of a patient).

    With :math:`d_k` the disagreements for the first minus those for the second in group k:
    `obuchowski` is :math:`\frac{K-1}{K} (\sum d_k)^2 / \sum d_k^2`, `durkalski` weighs each
    group's rate :math:`d_k / n_k` alike, `yang` averages the variances with and without the
    null hypothesis,
    and `eliasziw` divides McNemar's statistic by a design effect.

    Args:
        first: (rows,) 0/1.
        second: (rows,) 0/1.
        groups: (rows,) group of each row.
        method: `obuchowski`, `durkalski`, `yang` or `eliasziw`.
        unit: name of the unit of a group.

    Returns:
        The test, chi-square with one degree of freedom; `effect` is first - second.

    Raises:
        ValueError: for fewer than two groups or unequal lengths.

    References:
        Obuchowski (1998), Stat Med 17:1495. Durkalski et al. (2003), Stat Med 22:2417.
        Yang, Sun, Hardin (2010), Biom J 52:638. Eliasziw and Donner (1991), Stat Med 10:1981.

    Examples:
        >>> r = clustered_mcnemar_test([1, 1, 1, 0], [0, 0, 1, 0], [1, 1, 2, 3])
        >>> round(r.statistic, 4)
        0.6667
    """
    name = spelled(method)
    if name not in ("obuchowski", "durkalski", "yang", "eliasziw"):
        raise unknown("method", method, ("obuchowski", "durkalski", "yang", "eliasziw"))
    x, y = binary_labels(first, "first"), binary_labels(second, "second")
    same_length(first=x, second=y)
    codes, k = group_codes(groups, x.size)
    if k < 2:
        raise ValueError(f"a clustered test needs at least 2 groups, but there is {k}")
    cells = np.stack([np.bincount(codes, w, k) for w in (x & y, x & ~y, ~x & y, ~x & ~y)], axis=1)
    b, c, sizes = cells[:, 1], cells[:, 2], cells.sum(axis=1)
    gap = b - c
    notes: tuple[str, ...] = ()
    if not (b + c).any():
        statistic = 0.0
        notes = ("the two agree on every row: nothing tells them apart",)
    elif not gap.any():
        # All variances are 0 together with the difference: 0 / 0 means no evidence.
        statistic = 0.0
        notes = ("the disagreements cancel in every group: nothing tells the two apart",)
    elif name == "obuchowski":
        statistic = (k - 1) / k * gap.sum() ** 2 / np.sum(gap**2)
    elif name == "durkalski":
        rates = gap / sizes
        statistic = rates.sum() ** 2 / np.sum(rates**2)
    elif name == "yang":
        # The mean of the variances under the alternative and under the null hypothesis.
        centred = gap - sizes * gap.sum() / sizes.sum()
        statistic = (k - 1) / k * gap.sum() ** 2 / (0.5 * np.sum(centred**2 + gap**2))
    else:
        effect = _eliasziw_effect(cells)
        if not effect > 0:
            raise ValueError(
                f"eliasziw's design effect is {effect:.3g} here, and no variance: use obuchowski"
            )
        statistic = gap.sum() ** 2 / (b + c).sum() / effect
    return TestResult(
        float(statistic),
        float(special.chdtrc(1, statistic)),
        float(gap.sum() / x.size),
        None,
        k,
        unit,
        f"McNemar, clustered ({name})",
        (*notes, f"{x.size} rows in {k} groups"),
        df=1,
        name="paired proportions",
    )


def _eliasziw_effect(cells: np.ndarray) -> float:
    """Estimate the disagreements' design effect from the four cells' intraclass correlation."""
    sizes = cells.sum(axis=1)
    if (sizes == 1).all():
        return 1.0  # no group with several rows: McNemar's statistic itself
    k, mean = sizes.size, sizes.mean()
    shares = cells.sum(axis=0) / cells.sum()
    usual = mean - np.sum((sizes - mean) ** 2) / (k * (k - 1) * mean)
    between = np.sum((cells - sizes[:, None] * shares) ** 2 / sizes[:, None]) / k
    within = np.sum(cells * (sizes[:, None] - cells) / sizes[:, None]) / (k * (mean - 1))
    rho = float((between - within) / (between + (usual - 1) * within))
    # The disagreements' own correlation; the odds form has no value at 0, this has.
    rho = rho / (rho + float(shares[1] + shares[2]) * (1 - rho))
    split = cells[:, 1] + cells[:, 2]
    kd = int((split >= 1).sum())
    split_mean = split.sum() / kd
    if kd < 2:
        return 1.0
    spread = np.sum((split - split_mean) ** 2) - (k - kd) * split_mean**2
    typical = split_mean - spread / (kd * (kd - 1) * split_mean)
    centre = typical + kd * (split_mean - typical)
    return float(1 + (centre - 1) * rho)
