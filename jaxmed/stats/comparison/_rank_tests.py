"""Rank tests: Wilcoxon's signed ranks, Friedman with its comparisons, Kruskal-Wallis."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from jaxmed.quantities import midrank
from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, finite, spelled, unknown
from jaxmed.stats.comparison._multiplicity import adjust_p_values
from jaxmed.stats.means._t_tests import _differences

# Rounding of a last digit or two, in values that were computed and should be equal.
_LAST_DIGITS = 8 * float(np.finfo(np.float64).eps)


def snap(values: Floats, scale: ArrayLike | None = None, tolerance: float = _LAST_DIGITS) -> Floats:
    """Make values that differ only by rounding equal, so that ties are preserved.

    Sorted neighbours are tied if they differ by at most `tolerance` times their own scale. The
    scale of a value is its magnitude, or that of the values it was computed from; never that of the
    largest value: one outlier must not tie all others.

    Args:
        values: (n,).
        scale: (n,) magnitude of the values each was computed from.
        tolerance: fraction of the scale; 0 leaves the values unchanged.
    """
    if values.size < 2 or tolerance == 0:
        return values
    size = np.abs(values) if scale is None else np.maximum(np.abs(scale), np.abs(values))
    order = np.argsort(values, kind="stable")
    ordered, reach = values[order], tolerance * size[order]
    apart = np.diff(ordered) > np.maximum(reach[1:], reach[:-1])
    start = np.maximum.accumulate(np.where(np.append(True, apart), np.arange(values.size), 0))
    out = np.empty_like(values)
    out[order] = ordered[start]
    return out


def _snapped_differences(
    first: ArrayLike, second: ArrayLike | None, tolerance: float
) -> tuple[Floats, Floats]:
    """Return the differences, 0 where rounding alone keeps them from it, and their ranked sizes."""
    d = _differences(first, second, minimum=1)
    if second is None:
        # The subtracted values are unknown: assume at least the differences' usual magnitude.
        usual = np.abs(d)[d != 0]
        scale = np.maximum(np.abs(d), np.median(usual) if usual.size else 0.0)
    else:
        scale = np.maximum(np.abs(finite(first, "first")), np.abs(finite(second, "second")))
    d = np.where(np.abs(d) <= tolerance * scale, 0.0, d)
    return d, snap(np.abs(d), scale, tolerance)


def _signed_rank_tail(ranks: Floats, observed: float) -> float:
    """Two-sided exact chance of a rank sum as far from its mean, by convolution over the cases."""
    doubled = np.round(2 * ranks).astype(int)  # half ranks become whole
    law = np.zeros(doubled.sum() + 1)
    law[0] = 1.0
    for r in doubled:
        shifted = np.zeros_like(law)
        shifted[r:] = law[: law.size - r]
        law = 0.5 * (law + shifted)
    support = np.arange(law.size) / 2
    centre = ranks.sum() / 2
    return float(min(1.0, law[np.abs(support - centre) >= abs(observed - centre) - 1e-9].sum()))


def hodges_lehmann(values: Floats) -> float:
    """Return the median of the means of all pairs of values, including each with itself.

    Uses bisection on sorted values: the pairs below a candidate are counted in one pass, so that
    no table of all pairs is needed, and the result is exactly one of the pair means.

    Args:
        values: (n,).

    References:
        Hodges and Lehmann (1963), Ann Math Stat 34:598.

    Examples:
        >>> hodges_lehmann(np.array([0.0, 1.0, 5.0]))
        1.75
    """
    x = np.sort(values)
    n = x.size
    pairs = n * (n + 1) // 2
    starts, ends = np.searchsorted(x, x, "left"), np.searchsorted(x, x, "right")

    def at_most(limit: float) -> int:
        """Count the pairs i <= j with x_i + x_j at most the limit."""
        high = np.searchsorted(x, limit - x, "right")
        # Both x_i + x_j and limit - x_i are rounded: the edge is decided by the sum itself.
        at = np.minimum(high, n - 1)
        high = np.where((high < n) & (x + x[at] <= limit), ends[at], high)
        at = np.maximum(high - 1, 0)
        high = np.where((high > 0) & (x + x[at] > limit), starts[at], high)
        return int(np.maximum(high - np.arange(n), 0).sum())

    def ranked(rank: int) -> float:
        """Return the sum of the given rank, from 1."""
        low, high = 2 * x[0], 2 * x[-1]
        if at_most(low) >= rank:
            return float(low)
        while True:  # at_most(low) < rank <= at_most(high)
            middle = low + (high - low) / 2
            if not low < middle < high:
                return float(high)
            low, high = (low, middle) if at_most(middle) >= rank else (middle, high)

    lower, upper = ranked((pairs + 1) // 2), ranked(pairs // 2 + 1)
    return (lower + upper) / 4


def wilcoxon_test(
    first: ArrayLike,
    second: ArrayLike | None = None,
    *,
    method: str = "auto",
    zeros: str = "drop",
    tolerance: float = 1e-13,
    correct: bool = True,
    unit: str = "case",
    name: str = "difference",
) -> TestResult:
    r"""Test whether paired differences are symmetric about 0 (Wilcoxon's signed ranks).

    The statistic V is the sum of the ranks of :math:`|d|` with :math:`d > 0`.

    Args:
        first: (cases,) values of one model, or the differences.
        second: (cases,) values of the other.
        method: `exact` (ties included), `normal`, or `auto`: exact up to 50 differences.
        zeros: `drop` them before ranking (Wilcoxon) or rank them first and then drop (`pratt`).
        tolerance: differences this close, as a share of what was subtracted, are tied: rounding in
            a subtraction would else break ties. 0 compares exactly, as R does.
        correct: continuity correction of the normal method.
        unit: name of the counted unit.
        name: name of the compared quantity.

    Returns:
        The test; `effect` is the Hodges-Lehmann estimate (the median of the means of all pairs of
        differences), `details` has the rank-biserial correlation.

    Raises:
        ValueError: for NaN, unequal lengths or unknown names.

    References:
        Wilcoxon (1945), Biometrics Bull 1:80. Pratt (1959), JASA 54:655.

    Examples:
        >>> wilcoxon_test([1.0, 2.0, 3.0, -0.5]).p_value
        0.25
    """
    chosen = spelled(method)
    if chosen not in ("auto", "exact", "normal"):
        raise unknown("method", method, ("auto", "exact", "normal"))
    if zeros not in ("drop", "pratt"):
        raise unknown("zeros", zeros, ("drop", "pratt"))
    d, sizes = _snapped_differences(first, second, tolerance)
    used = d != 0
    notes: tuple[str, ...] = ()
    if not used.all():
        notes = (f"{int((~used).sum())} of {d.size} differences are 0",)
    if not used.any():
        return TestResult(
            0.0,
            1.0,
            0.0,
            None,
            d.size,
            unit,
            "Wilcoxon signed rank",
            ("all differences are 0",),
            name=name,
        )
    ranks = midrank(sizes)[used] if zeros == "pratt" else midrank(sizes[used])
    positive = d[used] > 0
    v = float(ranks[positive].sum())
    m = int(used.sum())
    if chosen == "auto":
        chosen = "exact" if m <= 50 else "normal"
    if chosen == "exact":
        p = _signed_rank_tail(ranks, v)
    else:
        centre, sigma = ranks.sum() / 2, np.sqrt(np.sum(ranks**2) / 4)
        gap = v - centre
        if correct:
            gap -= np.sign(gap) * 0.5
        p = float(min(1.0, 2 * special.ndtr(-abs(gap) / sigma)))
    return TestResult(
        v,
        p,
        hodges_lehmann(d),
        None,
        d.size,
        unit,
        f"Wilcoxon signed rank, {chosen}, zeros {'dropped' if zeros == 'drop' else 'by Pratt'}",
        notes,
        details={"rank_biserial": float(2 * v / ranks.sum() - 1), "nonzero": m},
        name=name,
    )


def friedman_test(
    values: ArrayLike, *, names: list[str] | None = None, unit: str = "case"
) -> TestResult:
    r"""Compare several models over the same cases, folds or data sets by their ranks.

    Iman and Davenport's F is less conservative than the chi-square; `details` has both, the mean
    ranks (rank 1 is the smallest value), Nemenyi's p-values of all pairs, and Holm-adjusted
    p-values of all pairs by the normal approximation.

    Args:
        values: (cases, models).
        names: names of the models, used as keys.
        unit: name of the unit of a row.

    Returns:
        The test: Friedman's chi-square.

    Raises:
        ValueError: for fewer than 2 rows or 3 columns, or NaN.

    References:
        Friedman (1937), JASA 32:675. Iman and Davenport (1980). Demsar (2006), JMLR 7:1.

    Examples:
        >>> r = friedman_test([[1, 2, 3], [1, 3, 2], [1, 2, 3], [2, 1, 3]])
        >>> round(r.statistic, 3), r.details["mean_ranks"]
        (4.5, [1.25, 2.0, 2.75])
    """
    x = finite(values, "values", minimum=2, ndim=2)
    n, k = x.shape
    if k < 3:
        raise ValueError(f"Friedman's test compares 3 or more columns, but there are {k}")
    labels = names or [str(i) for i in range(k)]
    if len(labels) != k:
        raise ValueError(f"names has {len(labels)} entries for {k} columns")
    ranks = np.stack([midrank(snap(row)) for row in x])
    means = ranks.mean(axis=0)
    spread = float(np.sum((ranks - (k + 1) / 2) ** 2))
    if spread == 0:
        return TestResult(
            0.0,
            1.0,
            None,
            None,
            n,
            unit,
            "Friedman",
            ("every row is tied: nothing tells the columns apart",),
            df=k - 1,
        )
    chi2 = float(n * n * (k - 1) * np.sum((means - (k + 1) / 2) ** 2) / spread)
    bottom = n * (k - 1) - chi2
    f = (n - 1) * chi2 / bottom if bottom > 1e-12 else float("inf")
    df = (k - 1, (k - 1) * (n - 1))
    error = np.sqrt(k * (k + 1) / (6 * n))
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    z = np.array([abs(means[i] - means[j]) / error for i, j in pairs])
    nemenyi = stats.studentized_range.sf(z * np.sqrt(2), k, np.inf)
    holm = adjust_p_values(2 * special.ndtr(-z), method="holm")
    keys = [f"{labels[i]} - {labels[j]}" for i, j in pairs]
    return TestResult(
        chi2,
        float(special.chdtrc(k - 1, chi2)),
        None,
        None,
        n,
        unit,
        "Friedman",
        df=k - 1,
        details={
            "iman_davenport_f": float(f),
            "iman_davenport_p": float(special.fdtrc(*df, f)) if np.isfinite(f) else 0.0,
            "mean_ranks": means.tolist(),
            "nemenyi": dict(zip(keys, map(float, nemenyi), strict=True)),
            "holm": dict(zip(keys, map(float, holm), strict=True)),
            "critical_difference": float(
                stats.studentized_range.isf(0.05, k, np.inf) / np.sqrt(2) * error
            ),
        },
        name="ranks",
    )


def kruskal_test(*groups: ArrayLike, unit: str = "case") -> TestResult:
    """Compare several independent groups by ranks (Kruskal-Wallis, corrected for ties).

    Args:
        *groups: (cases,) values of each group.
        unit: name of the counted unit.

    Returns:
        The test, chi-square; `effect` is epsilon squared.

    Raises:
        ValueError: for fewer than two groups, an empty one, or NaN.

    References:
        Kruskal and Wallis (1952), JASA 47:583.

    Examples:
        >>> round(kruskal_test([1, 2, 3], [4, 5, 6]).statistic, 4)
        3.8571
    """
    if len(groups) < 2:
        raise ValueError(f"a comparison needs at least 2 groups, but there is {len(groups)}")
    parts = [finite(g, f"group {i}") for i, g in enumerate(groups)]
    values = np.concatenate(parts)
    n = values.size
    ranks = midrank(snap(values))
    spread = float(np.sum((ranks - (n + 1) / 2) ** 2))
    if spread == 0:
        return TestResult(
            0.0,
            1.0,
            0.0,
            None,
            n,
            unit,
            "Kruskal-Wallis",
            ("all values are equal",),
            df=len(parts) - 1,
        )
    sums = np.split(ranks, np.cumsum([p.size for p in parts])[:-1])
    between = sum(s.size * (s.mean() - (n + 1) / 2) ** 2 for s in sums)
    h = float((n - 1) * between / spread)
    df = len(parts) - 1
    return TestResult(
        h,
        float(special.chdtrc(df, h)),
        float(h / (n - 1)),
        None,
        n,
        unit,
        "Kruskal-Wallis",
        df=df,
        name="groups",
    )
