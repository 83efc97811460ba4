"""Any metric by subgroup, with intervals, gaps and control of multiplicity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import deviation
from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats.checks import as_array, check_level, group_codes, same_length
from jaxmed.stats.comparison._multiplicity import adjust_p_values
from jaxmed.stats.resampling._bootstrap import interval_from_replicates


class Subgroups(NamedTuple):
    """A metric by subgroup.

    estimates: one per subgroup; differences: each against all others, p-values adjusted;
    gap: largest minus smallest, with a bootstrap interval; notes: subgroups left out, and why.
    """

    estimates: dict[Any, Estimate]
    differences: dict[Any, TestResult]
    gap: Estimate
    notes: tuple[str, ...]


def subgroups(
    metric: Callable[..., Estimate],
    labels: ArrayLike,
    outputs: ArrayLike,
    by: ArrayLike,
    *,
    adjustment: str = "holm",
    level: float = 0.95,
    minimum: int = 10,
    groups: ArrayLike | None = None,
    n_resamples: int = 500,
    seed: int = 0,
    unit: str | None = None,
) -> Subgroups:
    """Estimate a metric in each subgroup and test each against all others.

    The gap between largest and smallest is above 0 by chance alone, more so with more and smaller
    subgroups: interpret it by its interval and the tests.

    Args:
        metric: a metric of this subpackage, such as `stats.auc`: `(labels, outputs, level=...) ->
            Estimate`.
        labels: (cases, ...) truth.
        outputs: (cases, ...) scores or predictions.
        by: (cases,) subgroup of each case: site, sex, age band, scanner.
        adjustment: adjustment of the p-values over subgroups, as in `adjust`.
        level: confidence level.
        minimum: smaller subgroups are left out, with a note.
        groups: (cases,) patient of each row: whole patients are drawn.
        n_resamples: number of resamples of the bootstrap, drawn inside each subgroup.
        seed: seed of the bootstrap.
        unit: name of the counted unit.

    Returns:
        Estimates, adjusted tests and the gap.

    Raises:
        ValueError: for fewer than two subgroups of the minimum size, or unequal lengths.

    References:
        Maier-Hein et al. (2024), Nat Methods 21:195. Collins et al. (2024), TRIPOD+AI, BMJ 385.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 2, 200)
        >>> from jaxmed.stats import accuracy
        >>> s = subgroups(accuracy, y, y, np.arange(200) % 2, n_resamples=50)
        >>> s.gap.value
        0.0
    """
    check_level(level)
    y, x, part = as_array(labels, "labels"), as_array(outputs, "outputs"), as_array(by, "by")
    n = same_length(labels=y, outputs=x, by=part)
    codes, _ = group_codes(groups, n)
    names, counts = np.unique(part, return_counts=True)
    notes: list[str] = []
    small = [str(a) for a, c in zip(names, counts, strict=True) if c < minimum]
    if small:
        notes.append(f"subgroups below {minimum} cases left out: {', '.join(small)}")
    options = {} if codes is None else {"groups": codes}
    estimates: dict[Any, Estimate] = {}
    rows: dict[Any, np.ndarray] = {}
    for name in names[counts >= minimum]:
        index = np.flatnonzero(part == name)
        given = {k: v[index] for k, v in options.items()}
        try:
            made = metric(y[index], x[index], level=level, **given)
        except ValueError as error:
            notes.append(f"{name} left out: {error}")
            continue
        if not np.isfinite(made.value):
            notes.append(f"{name} left out: {'; '.join(made.notes) or 'undefined'}")
            continue
        key = name.item() if hasattr(name, "item") else name
        estimates[key], rows[key] = made, index
    if len(estimates) < 2:
        raise ValueError(f"fewer than two subgroups can be estimated: {'; '.join(notes)}")
    keys = list(estimates)
    draws = _draws(metric, y, x, codes, [rows[k] for k in keys], n_resamples, seed)
    values = np.array([estimates[k].value for k in keys])
    sizes = np.array([rows[k].size for k in keys], dtype=np.float64)
    tests, p_values = {}, []
    for i, key in enumerate(keys):
        other = np.arange(len(keys)) != i
        weights = sizes[other] / sizes[other].sum()
        gap = values[i] - weights @ values[other]
        spread = draws[:, i] - draws[:, other] @ weights
        good = spread[np.isfinite(spread)]
        se = deviation(good) if good.size > 1 else float("nan")
        z = gap / se if se > 0 else 0.0
        p = 2 * float(special.ndtr(-abs(z))) if se > 0 else 1.0
        if not se >= 0:
            notes.append(f"{key}: undefined on nearly all resamples, no test")
        if se == 0 and gap != 0:
            # No spread inside any subgroup: the bootstrap is degenerate, a permutation test is not.
            p = _permuted(metric, y, x, codes, rows[key], [rows[k] for k in keys if k != key], seed)
            notes.append(f"{key}: no spread within subgroups, p-value by permutation")
        p_values.append(p)
        interval = interval_from_replicates(gap, good, method="percentile", level=level)
        tests[key] = (z, float(gap), interval, se)
    # Two subgroups are each other's complement: one test, reported for both.
    adjusted = adjust_p_values(p_values, method=adjustment) if len(keys) > 2 else np.array(p_values)
    noun = unit or ("case" if codes is None else "patient")
    differences = {
        key: TestResult(
            float(z),
            float(q),
            gap,
            interval,
            int(rows[key].size),
            noun,
            f"subgroup against the others, bootstrap, {adjustment}-adjusted",
            level=level,
            details={"unadjusted": p, "se": se},
            name=f"{key} - others",
        )
        for (key, (z, gap, interval, se)), q, p in zip(
            tests.items(), adjusted, p_values, strict=True
        )
    }
    widest = draws.max(axis=1) - draws.min(axis=1)
    widest = widest[np.isfinite(widest)]
    low, high = interval_from_replicates(
        float(values.max() - values.min()), widest, method="percentile", level=level
    )
    gap = Estimate(
        float(values.max() - values.min()),
        low,
        high,
        level,
        n,
        noun,
        f"percentile bootstrap ({n_resamples} resamples)",
        ("a gap is positive by chance alone: see the adjusted tests",),
        details={"largest": keys[int(values.argmax())], "smallest": keys[int(values.argmin())]},
        name="gap between subgroups",
    )
    return Subgroups(estimates, differences, gap, tuple(notes))


def _draws(
    metric: Callable[..., Estimate],
    y: np.ndarray,
    x: np.ndarray,
    codes: np.ndarray | None,
    parts: list[np.ndarray],
    n_resamples: int,
    seed: int,
) -> np.ndarray:
    """Return the metric of each subgroup on its own resamples, (resamples, subgroups)."""
    rng = np.random.default_rng(seed)
    out = np.full((n_resamples, len(parts)), np.nan)
    for j, index in enumerate(parts):
        if codes is None:
            members = None
        else:
            inside = np.unique(codes[index], return_inverse=True)[1]
            members = [index[inside == g] for g in range(inside.max() + 1)]
        for i in range(n_resamples):
            if members is None:
                rows = index[rng.integers(0, index.size, index.size)]
            else:
                rows = np.concatenate(
                    [members[g] for g in rng.integers(0, len(members), len(members))]
                )
            try:
                out[i, j] = metric(y[rows], x[rows]).value
            except ValueError:  # a resample of one class: left out
                continue
    return out


def _permuted(
    metric: Callable[..., Estimate],
    y: np.ndarray,
    x: np.ndarray,
    codes: np.ndarray | None,
    mine: np.ndarray,
    others: list[np.ndarray],
    seed: int,
    n_resamples: int = 999,
) -> float:
    """Return the permutation p-value of a subgroup's gap to all others."""
    rest = np.concatenate(others)
    rows = np.concatenate([mine, rest])
    unit = np.arange(rows.size) if codes is None else np.unique(codes[rows], return_inverse=True)[1]
    inside = np.zeros(unit.max() + 1, bool)
    inside[unit[: mine.size]] = True

    def gap(chosen: np.ndarray) -> float:
        first, second = rows[chosen[unit]], rows[~chosen[unit]]
        return metric(y[first], x[first]).value - metric(y[second], x[second]).value

    rng = np.random.default_rng(seed)
    found = abs(gap(inside))
    drawn = []
    for _ in range(n_resamples):
        try:
            drawn.append(abs(gap(rng.permutation(inside))))
        except ValueError:  # one class only on a side: left out
            continue
    return (1 + sum(value >= found - 1e-12 for value in drawn)) / (1 + len(drawn))
