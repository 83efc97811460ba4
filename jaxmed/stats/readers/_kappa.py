"""Cohen's kappa of two raters, plain and weighted."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.diagnostic._multiclass import _taken
from jaxmed.stats.diagnostic._table import class_codes, table_estimate


def kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: str | None = None,
    threshold: float | None = None,
    method: str = "delta",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    r"""Estimate Cohen's kappa, the agreement of two raters beyond chance.

    .. math:: \kappa = 1 - \frac{\sum w_{ij} p_{ij}}{\sum w_{ij} p_{i\cdot} p_{\cdot j}}

    The delta method gives the large-sample error of Fleiss, Cohen and Everitt.

    Args:
        first: (cases,) class numbers of one rater, or the truth.
        second: (cases,) class numbers of the other, or (cases, classes) scores.
        weights: None (all disagreements alike), `linear` or `quadratic` in the distance.
        threshold: a score of this or more is positive.
        method: `delta`, `transformed-delta`, `bootstrap` or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap then draws patients.
        unit: what is counted.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The estimate; undefined with a note where both raters use one class only.

    References:
        Cohen (1960, 1968). Fleiss, Cohen, Everitt (1969), Psychol Bull 72:323.

    Examples:
        >>> kappa([0, 0, 1, 1], [0, 0, 1, 0]).value
        0.5
    """
    first, second = _taken(first, second, threshold)
    k = class_codes(first, second)[2]
    cost = quantities.costs(k, weights)

    def statistic(table: Any) -> Any:
        return quantities.kappa(table, cost)

    name = "kappa" if weights in (None, "unweighted") else f"{weights} kappa"
    return table_estimate(
        first,
        second,
        statistic,
        name=name,
        method=method,
        level=level,
        groups=groups,
        unit=unit,
        bounds=(-1.0, 1.0),
        n_resamples=n_resamples,
        seed=seed,
    )
