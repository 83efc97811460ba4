"""Permutation tests: exact for few cases, random permutations by table look-up otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, as_array, finite, group_codes, spelled, unknown
from jaxmed.stats.means._t_tests import _differences

_EXACT = 20  # 2^20 sign patterns are summed in milliseconds


def _all_sums(d: Floats) -> Floats:
    """Return the sum under every pattern of signs, (2^n,)."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def sign_flip_sums(d: Floats, n_resamples: int, rng: np.random.Generator) -> Floats:
    """Return sums of (cases, columns) values under random signs of the rows: (resamples, columns).

    A random byte holds the signs of eight rows and indexes a table of their 256 possible sums:
    one look-up replaces eight multiplications.
    """
    x = d[:, None] if d.ndim == 1 else d
    blocks = -(-x.shape[0] // 8)
    padded = np.zeros((blocks * 8, x.shape[1]))
    padded[: x.shape[0]] = x
    patterns = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    tables = np.einsum("pe,bec->bpc", patterns, padded.reshape(blocks, 8, -1))
    total = np.empty((n_resamples, x.shape[1]))
    step = max(1, min(n_resamples, 8_000_000 // blocks))
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        draws = np.frombuffer(rng.bytes(blocks * size), np.uint8).reshape(blocks, size)
        part = np.zeros((size, x.shape[1]))
        for table, draw in zip(tables, draws, strict=True):
            part += table[draw] if x.shape[1] > 1 else table[:, 0][draw][:, None]
        total[start : start + size] = part
    return total[:, 0] if d.ndim == 1 else total


def sign_flip_test(
    first: ArrayLike,
    second: ArrayLike | None = None,
    *,
    alternative: str = "two-sided",
    n_resamples: int = 9999,
    groups: ArrayLike | None = None,
    seed: int = 0,
    unit: str | None = None,
    name: str = "difference of means",
) -> TestResult:
    """Compare two means of the same cases by flipping the signs of their differences.

    Exact, over all sign patterns, up to 20 units; beyond that by random patterns, including the
    observed one. Ties are detected with a tolerance, so that rounding of inputs does no harm.

    Args:
        first: (cases,) values of one model, or the differences.
        second: (cases,) values of the other.
        alternative: `two-sided`, `greater` or `less`.
        n_resamples: random patterns where there are too many to list.
        groups: (cases,) patient of each row: a patient's differences flip together.
        seed: seed of the random patterns.
        unit: name of the counted unit.
        name: name of the compared quantity.

    Returns:
        The test; the statistic and `effect` are the mean difference.

    Raises:
        ValueError: for NaN, unequal lengths or an unknown alternative.

    References:
        Fisher (1935), The Design of Experiments. Phipson and Smyth (2010), SAGMB 9:39.

    Examples:
        >>> sign_flip_test([1.0, 2.0, 3.0, 4.0]).p_value  # 2 of 16 patterns
        0.125
    """
    side = spelled(alternative)
    if side not in ("two-sided", "greater", "less"):
        raise unknown("alternative", alternative, ("two-sided", "greater", "less"))
    d = _differences(first, second, minimum=1)
    codes, k = group_codes(groups, d.size)
    sums = d if codes is None else np.asarray(np.bincount(codes, d, k), np.float64)
    observed = float(sums.sum())
    slack = 1e-10 * max(float(np.abs(sums).sum()), 1e-300)
    exact = k <= _EXACT
    if exact:
        drawn = _all_sums(sums)
    else:
        drawn = sign_flip_sums(sums, n_resamples, np.random.default_rng(seed))
    if side == "two-sided":
        hits = int((np.abs(drawn) >= abs(observed) - slack).sum())
    elif side == "greater":
        hits = int((drawn >= observed - slack).sum())
    else:
        hits = int((drawn <= observed + slack).sum())
    p = hits / drawn.size if exact else (hits + 1) / (n_resamples + 1)
    effect = observed / d.size
    label = "all patterns" if exact else f"{n_resamples} random patterns"
    return TestResult(
        effect,
        p,
        effect,
        None,
        k,
        unit or ("case" if codes is None else "patient"),
        f"sign-flip permutation ({label})",
        () if codes is None else (f"{d.size} rows",),
        alternative=side,
        name=name,
    )


def permutation_test(
    metric: Callable[..., Any],
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    n_resamples: int = 999,
    groups: ArrayLike | None = None,
    seed: int = 0,
    unit: str | None = None,
    name: str = "difference",
) -> TestResult:
    """Compare any metric of two models by exchanging their outputs case by case.

    The scores of both models must be on one scale (ranks, or probabilities) for the exchange to
    be meaningful; otherwise use `bootstrap_test` or `delong_test`.

    Args:
        metric: `(labels, scores) -> number`.
        labels: (cases, ...) truth.
        first: (cases, ...) outputs of one model.
        second: the same of the other.
        n_resamples: random exchanges.
        groups: (cases,) patient of each row: exchanged together.
        seed: seed of the exchanges.
        unit: name of the exchanged unit.
        name: name of the compared quantity.

    Returns:
        The two-sided test; `effect` is first - second.

    Raises:
        ValueError: for unequal lengths.

    Examples:
        >>> y = np.arange(40) % 2
        >>> hit = lambda y, p: np.mean(y == p)
        >>> permutation_test(hit, y, y, y).p_value
        1.0
    """
    y, a, b = as_array(labels, "labels"), as_array(first, "first"), as_array(second, "second")
    if not len(y) == len(a) == len(b):
        raise ValueError(f"lengths differ: {len(y)}, {len(a)}, {len(b)}")
    codes, k = group_codes(groups, len(y))
    observed = float(metric(y, a) - metric(y, b))
    rng = np.random.default_rng(seed)
    shape = (-1,) + (1,) * (a.ndim - 1)
    hits = 0
    for _ in range(n_resamples):
        swap = rng.random(k) < 0.5
        rows = (swap if codes is None else swap[codes]).reshape(shape)
        drawn = float(metric(y, np.where(rows, b, a)) - metric(y, np.where(rows, a, b)))
        hits += abs(drawn) >= abs(observed) - 1e-10 * max(abs(observed), 1e-300)
    return TestResult(
        observed,
        (hits + 1) / (n_resamples + 1),
        observed,
        None,
        k,
        unit or ("case" if codes is None else "patient"),
        f"paired permutation ({n_resamples} exchanges)",
        name=name,
    )


def max_t_test(
    differences: ArrayLike,
    *,
    n_resamples: int = 9999,
    seed: int = 0,
    unit: str = "case",
    names: list[str] | None = None,
) -> list[TestResult]:
    """Test many paired differences at once, adjusted by the largest t under sign flips.

    Accounts for the correlation of the metrics, so it is more powerful than Bonferroni for
    correlated metrics (Westfall and Young's single-step max-T).

    Args:
        differences: (cases, comparisons), each a paired difference; rows flip whole.
        n_resamples: random sign patterns.
        seed: seed of the patterns.
        unit: name of the unit of a row.
        names: names of the comparisons.

    Returns:
        One test per column; `p_value` is adjusted, `details` has the unadjusted one.

    Raises:
        ValueError: for NaN or fewer than two rows.

    References:
        Westfall and Young (1993), Resampling-Based Multiple Testing.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> d = rng.normal(size=(30, 2)) + [1.0, 0.0]
        >>> [r.p_value < 0.05 for r in max_t_test(d, n_resamples=499)]
        [True, False]
    """
    d = finite(differences, "differences", minimum=2, ndim=2)
    n, m = d.shape
    labels = names or [str(i) for i in range(m)]
    squares = np.sum(d**2, axis=0)

    def t_of(sums: Floats) -> Floats:
        variance = np.maximum(squares - sums**2 / n, 1e-300) / (n - 1)
        return np.abs(sums / n) / np.sqrt(variance / n)

    observed = t_of(d.sum(axis=0))
    drawn = t_of(sign_flip_sums(d, n_resamples, np.random.default_rng(seed)))
    largest = drawn.max(axis=1)
    results = []
    for j in range(m):
        slack = observed[j] * (1 - 1e-10)
        adjusted = (int((largest >= slack).sum()) + 1) / (n_resamples + 1)
        single = (int((drawn[:, j] >= slack).sum()) + 1) / (n_resamples + 1)
        results.append(
            TestResult(
                float(observed[j]),
                adjusted,
                float(d[:, j].mean()),
                None,
                n,
                unit,
                f"max-T sign flips ({n_resamples} patterns, {m} comparisons)",
                details={"unadjusted": single},
                name=labels[j],
            )
        )
    return results
