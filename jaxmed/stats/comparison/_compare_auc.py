"""Tests between two AUCs: DeLong paired and unpaired, clustered, with margins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.quantities import midrank, placements
from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import binary_scores, both_classes, group_codes, quantile
from jaxmed.stats.diagnostic._auc import (
    clustered_covariance,
    clustered_variance,
    delong_covariance,
    delong_variance,
    newcombe_limits,
)
from jaxmed.stats.means._z_tests import effect_test, pooled_df

_NO_ERROR = (
    "the AUCs leave DeLong's test no variance (scores that separate the classes): p is set to 1 "
    "and the limits join Newcombe's of each AUC; permutation_test needs no variance"
)


def _separate_limits(
    areas: tuple[float, float],
    sizes: tuple[tuple[int, int], tuple[int, int]],
    level: float,
) -> tuple[float, float]:
    """Combine Newcombe's limits of two AUCs into limits of their difference (square and add)."""
    z = quantile(level)
    (low1, high1), (low2, high2) = (
        newcombe_limits(area, *size, z) for area, size in zip(areas, sizes, strict=True)
    )
    first, second = areas
    effect = first - second
    return (
        effect - float(np.hypot(first - low1, high2 - second)),
        effect + float(np.hypot(high1 - first, second - low2)),
    )


def _shown_level(alternative: str, level: float) -> float:
    """Return the level of the reported interval: that of two one-sided tests for equivalence."""
    return 2 * level - 1 if alternative == "equivalence" else level


def delong_test(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    alternative: str = "two-sided",
    margin: float = 0.0,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> TestResult:
    r"""Compare the AUCs of two scores of the same cases.

    .. math:: z = (\hat A_1 - \hat A_2 + \delta) / \sqrt{v_1 + v_2 - 2 c_{12}}

    Args:
        labels: (cases,) 0 or 1.
        first: (cases,) scores of one model.
        second: (cases,) scores of the other.
        alternative: `two-sided`, `greater` (the first is better), `less`, `superiority` (by more
            than the margin), `non-inferiority` (the first is no worse than the margin allows) or
            `equivalence` (two one-sided tests; the interval then has level 2 level - 1).
        margin: margin of the last three, in AUC.
        level: confidence level of the interval of the difference first - second.
        groups: (cases,) patient of each row: Obuchowski's clustered variance.
        unit: name of the counted unit.

    Returns:
        The test; `effect` is first - second. Two scores of the same ranks give p = 1, noted.

    Raises:
        ValueError: for one class only, NaN, unequal lengths, or a missing margin.

    References:
        DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44:837. Obuchowski (1997),
        Biometrics 53:567. Liu et al. (2006), Stat Med 25:1219 (non-inferiority).

    Examples:
        >>> r = delong_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [2, 3, 4, 1, 5, 6])
        >>> round(r.effect, 4), round(r.p_value, 3)
        (0.2222, 0.371)
    """
    positive, x = binary_scores(labels, first, name="first")
    _, y = binary_scores(labels, second, name="second")
    n1, n0 = both_classes(positive)
    codes, k = group_codes(groups, x.size)
    a, b = placements(positive, x), placements(positive, y)
    if codes is None:
        v1, v2 = delong_variance(a), delong_variance(b)
        cov = delong_covariance(a, b)
        label = "DeLong, paired"
    else:
        v1, v2 = (clustered_variance(positive, p, codes, k) for p in (a, b))
        cov = clustered_covariance(positive, a, b, codes, k)
        label = "DeLong, paired, clustered (Obuchowski)"
    effect = a.auc - b.auc
    variance = v1 + v2 - 2 * cov
    # Equal scores leave rounding errors of machine precision instead of a variance.
    se = float(np.sqrt(variance)) if variance > 1e-14 * max(v1 + v2, 1e-300) else 0.0
    notes: tuple[str, ...] = ()
    if min(n1, n0) == 1:
        notes += ("one class has a single case: its own spread is not in the variance",)
    z, p, interval, name = effect_test(
        effect, se, alternative=alternative, margin=margin, level=level
    )
    if se == 0 and np.array_equal(midrank(x), midrank(y)):
        notes += ("the difference has no variance: the two scores rank the cases alike",)
    elif se == 0:
        notes += (_NO_ERROR,)
        z, p = float("nan"), 1.0
        interval = _separate_limits((a.auc, b.auc), ((n1, n0), (n1, n0)), _shown_level(name, level))
    return TestResult(
        z,
        p,
        effect,
        interval,
        k,
        unit or ("case" if codes is None else "patient"),
        label,
        notes,
        level,
        name,
        details={
            "auc1": a.auc,
            "auc2": b.auc,
            "variance1": v1,
            "variance2": v2,
            "covariance": cov,
            "se": se,
            "margin": margin,
        },
        name="difference of AUC",
    )


def delong_test_unpaired(
    labels1: ArrayLike,
    scores1: ArrayLike,
    labels2: ArrayLike,
    scores2: ArrayLike,
    *,
    alternative: str = "two-sided",
    margin: float = 0.0,
    level: float = 0.95,
    unit: str = "case",
) -> TestResult:
    """Compare the AUCs of two independent groups of cases (subgroups, sites).

    The reference distribution is Student's t with Welch-Satterthwaite degrees of freedom.

    Args:
        labels1: (cases1,) 0 or 1.
        scores1: (cases1,) scores of the first group.
        labels2: (cases2,) 0 or 1.
        scores2: (cases2,) scores of the second group.
        alternative: as in `delong_test`.
        margin: as in `delong_test`.
        level: confidence level of the interval.
        unit: name of the counted unit.

    Returns:
        The test; `effect` is first - second.

    Raises:
        ValueError: as in `delong_test`.

    References:
        DeLong et al. (1988), Biometrics 44:837.

    Examples:
        >>> r = delong_test_unpaired([0, 0, 1, 1], [1, 3, 2, 4], [0, 0, 1, 1], [1, 3, 2, 4])
        >>> r.effect, r.p_value
        (0.0, 1.0)
    """
    parts, sizes, classes = [], [], []
    for which, labels, scores in ((1, labels1, scores1), (2, labels2, scores2)):
        positive, x = binary_scores(labels, scores, name=f"scores{which}", of=f"labels{which}")
        classes.append(both_classes(positive))
        parts.append(placements(positive, x))
        sizes.append(x.size)
    v1, v2 = (delong_variance(p) for p in parts)
    effect = parts[0].auc - parts[1].auc
    se = float(np.sqrt(v1 + v2))
    df = pooled_df([(v1, sizes[0] - 1), (v2, sizes[1] - 1)])
    t, p, interval, name = effect_test(
        effect,
        se,
        alternative=alternative,
        margin=margin,
        level=level,
        df=df if np.isfinite(df) else None,
    )
    notes: tuple[str, ...] = ()
    if not se > 0:
        notes = (_NO_ERROR,)
        t, p = float("nan"), 1.0
        areas = (parts[0].auc, parts[1].auc)
        interval = _separate_limits(areas, (classes[0], classes[1]), _shown_level(name, level))
    return TestResult(
        t,
        p,
        effect,
        interval,
        sum(sizes),
        unit,
        "DeLong, unpaired, Welch",
        notes,
        level,
        name,
        df=df,
        details={
            "auc1": parts[0].auc,
            "auc2": parts[1].auc,
            "se": se,
            "n1": sizes[0],
            "n2": sizes[1],
        },
        name="difference of AUC",
    )
