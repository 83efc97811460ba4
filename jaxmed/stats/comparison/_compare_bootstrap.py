"""Bootstrap tests of any metric between two models on the same cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import as_array, check_level, group_codes, spelled, unknown
from jaxmed.stats.resampling._bootstrap import bootstrap_replicates
from jaxmed.stats.resampling._draws import result_of_replicates


def bootstrap_test(
    metric: Callable[..., Any],
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    method: str = "normal",
    level: float = 0.95,
    n_resamples: int = 2000,
    stratified: bool = False,
    groups: ArrayLike | None = None,
    scheme: str = "ordinary",
    weighted: bool = False,
    seed: int = 0,
    unit: str | None = None,
    name: str = "difference",
) -> TestResult:
    """Compare any metric of two models by resampling the cases they share.

    Args:
        metric: `(labels, scores) -> number`; with `weighted=True`,
            `(labels, scores, weights (b, n)) -> (b,)`.
        labels: (cases, ...) truth.
        first: (cases, ...) scores or predictions of one model.
        second: the same for the other model.
        method: `normal` (difference over its bootstrap error against the normal), or
            `percentile` (twice the smaller share of resamples on one side of 0, at least
            1 / (resamples + 1)).
        level: confidence level of the percentile interval of the difference first - second.
        n_resamples: number of resamples.
        stratified: draw inside each label.
        groups: (cases,) patient of each row: whole patients are drawn.
        scheme: as in `bootstrap`.
        weighted: whether the metric takes weights.
        seed: same seed, same result.
        unit: name of the drawn unit.
        name: name of the compared quantity.

    Returns:
        The test.

    Raises:
        ValueError: for unequal lengths or a metric undefined on most resamples.

    References:
        Efron and Tibshirani (1993), chapter 16.

    Examples:
        >>> import numpy as np
        >>> y = np.arange(40) % 2
        >>> hit = lambda y, p: np.mean(y == p)
        >>> bootstrap_test(hit, y, y, 1 - y, n_resamples=100).effect
        1.0
    """
    chosen = spelled(method)
    if chosen not in ("normal", "percentile"):
        raise unknown("method", method, ("normal", "percentile"))
    check_level(level)
    y, a, b = as_array(labels, "labels"), as_array(first, "first"), as_array(second, "second")

    def difference(*args: Any) -> Any:
        truth, one, two, *weights = args
        return metric(truth, one, *weights) - metric(truth, two, *weights)

    result = bootstrap_replicates(
        difference,
        y,
        a,
        b,
        n_resamples=n_resamples,
        strata=y if stratified else None,
        groups=groups,
        scheme=scheme,
        weighted=weighted,
        seed=seed,
    )
    codes, k = group_codes(groups, len(y))
    return result_of_replicates(
        result.value,
        result.replicates,
        n_resamples,
        k,
        unit or ("case" if codes is None else "patient"),
        method=chosen,
        level=level,
        name=name,
    )
