"""Cohen's kappa of two raters, plain and weighted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import as_array, quantile, spelled
from jaxmed.stats.diagnostic._multiclass import _taken
from jaxmed.stats.diagnostic._proportion import proportion_limits
from jaxmed.stats.diagnostic._table import class_codes, confusion, table_estimate

# Number of differing cases below which limits are computed on the log scale.
FEW_DIFFERENCES = 15


def kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: str | None = None,
    threshold: float | None = None,
    method: str = "auto",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    r"""Estimate Cohen's kappa, the agreement of two raters beyond chance.

    .. math:: \kappa = 1 - \frac{\sum w_{ij} p_{ij}}{\sum w_{ij} p_{i\cdot} p_{\cdot j}}

    The delta method gives the large-sample error of Fleiss, Cohen and Everitt. Its limits value
    +- z se cover .26 to .85 of a nominal .95 if kappa is near 1 and few cases differ; with fewer
    than 15 differing cases, `auto` uses `log`: the same error on the scale of log(1 - kappa), or
    Wilson's limit of their share if no case differs. This covers .91 to .98.

    Args:
        first: (cases,) class numbers of one rater, or the truth.
        second: (cases,) class numbers of the other, or (cases, classes) scores.
        weights: None (all disagreements alike), `linear` or `quadratic` in the distance.
        threshold: a score of this or more is positive.
        method: `auto`, `log`, `delta`, `transformed-delta`, `bootstrap` or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap then draws patients.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The estimate; undefined with a note where both raters use one class only.

    References:
        Cohen (1960, 1968). Fleiss, Cohen, Everitt (1969), Psychol Bull 72:323.

    Examples:
        >>> kappa([0, 0, 1, 1], [0, 0, 1, 0]).value
        0.5
    """
    first, second = as_array(first, "first"), as_array(second, "second")
    first, second = _taken(first, second, threshold)
    k = class_codes(first, second)[2]
    cost = quantities.costs(k, weights)

    def statistic(table: Any) -> Any:
        return quantities.kappa(table, cost)

    name = "kappa" if weights in (None, "unweighted") else f"{weights} kappa"
    table = confusion(first, second)
    differ = int(table.sum() - np.trace(table))
    chosen = spelled(method)
    if chosen == "auto":
        chosen = "log" if differ < FEW_DIFFERENCES and groups is None else "delta"
    on_log_scale = chosen == "log"
    if on_log_scale and groups is not None:
        raise ValueError("method 'log' takes no groups: use bootstrap")
    e = table_estimate(
        first,
        second,
        statistic,
        name=name,
        method="delta" if on_log_scale else chosen,
        level=level,
        groups=groups,
        unit=unit,
        bounds=(-1.0, 1.0),
        n_resamples=n_resamples,
        seed=seed,
    )
    if not on_log_scale or np.isnan(e.value):
        return e
    assert e.se is not None  # the delta method gives one
    share = table / table.sum()
    chance = 1 - float(share.sum(axis=1) @ share.sum(axis=0))
    low, high = log_limits(
        e.value, e.se, quantile(level), differ=differ, n=e.n, chance=chance, level=level
    )
    notes = tuple(note for note in e.notes if "variance 0" not in note)
    return dataclasses.replace(e, lower=low, upper=high, method="log", notes=notes)


def log_limits(
    value: float, se: float, q: float, *, differ: int, n: int, chance: float, level: float
) -> tuple[float, float]:
    """Return limits of a chance-corrected agreement, computed on the scale of log(1 - kappa).

    Args:
        value: kappa.
        se: standard error.
        q: quantile of the level.
        differ: number of cases on which raters differ; at 0 the error is 0, and Wilson's limits
            for their share are used.
        n: cases.
        chance: share of differing cases expected by chance.
        level: confidence level.
    """
    if differ == 0 or not se > 0:
        return max(-1.0, 1 - proportion_limits(differ, n, level=level)[1] / chance), 1.0
    half = q * se / (1 - value)
    return max(-1.0, 1 - (1 - value) * float(np.exp(half))), 1 - (1 - value) * float(np.exp(-half))
