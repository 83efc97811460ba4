"""Matthews' correlation coefficient, for any number of classes."""

from __future__ import annotations

from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.diagnostic._multiclass import _taken
from jaxmed.stats.diagnostic._table import table_estimate


def mcc(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "transformed-delta",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    r"""Estimate Matthews' correlation of truth and decision, for any number of classes.

    .. math:: \frac{TP\,TN - FP\,FN}{\sqrt{(TP+FP)(TP+FN)(TN+FP)(TN+FN)}}

    Args:
        labels: (cases,) class numbers.
        predictions: as in `accuracy`.
        threshold: a score of this or more is positive.
        method: `transformed-delta` (stays inside -1 and 1), `delta`, `bootstrap` or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap then draws patients.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The estimate; undefined with a note where truth or prediction is of one class.

    References:
        Matthews (1975), BBA 405:442. Gorodkin (2004), Comput Biol Chem 28:367.

    Examples:
        >>> round(mcc([1, 1, 0, 0], [1, 0, 0, 0]).value, 4)
        0.5774
    """
    labels, predictions = _taken(labels, predictions, threshold)
    return table_estimate(
        labels,
        predictions,
        quantities.mcc,
        name="MCC",
        method=method,
        level=level,
        groups=groups,
        unit=unit,
        bounds=(-1.0, 1.0),
        n_resamples=n_resamples,
        seed=seed,
    )
