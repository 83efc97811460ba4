"""Metrics of a binary decision: the four counts, sensitivity and specificity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import (
    as_array,
    binary_labels,
    binary_scores,
    check_level,
    same_length,
    spelled,
)
from jaxmed.stats.diagnostic._proportion import clustered_proportion, proportion


class Counts(NamedTuple):
    """True and false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


def decisions(
    labels: ArrayLike, predictions: ArrayLike, threshold: float | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return truth and decision as booleans; a score at or above the threshold is positive."""
    if threshold is not None:
        truth, scores = binary_scores(labels, predictions, name="predictions")
        return truth, quantities.at_least(scores, threshold)
    truth = binary_labels(labels)
    array = as_array(predictions, "predictions")
    if array.ndim == 2 and array.shape[1] == 2:
        array = quantities.largest(array)
    try:
        guess = binary_labels(array, "predictions")
    except ValueError as error:
        raise ValueError(f"{error} (for scores or probabilities give threshold=)") from None
    same_length(labels=truth, predictions=guess)
    return truth, guess


def counts(labels: ArrayLike, predictions: ArrayLike, *, threshold: float | None = None) -> Counts:
    """Count true and false positives and negatives.

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        threshold: a score of this or more is positive.

    Returns:
        The four counts.

    Examples:
        >>> counts([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], threshold=0.5)
        Counts(tp=1, fp=1, fn=1, tn=1)
    """
    truth, guess = decisions(labels, predictions, threshold)
    tp = int((truth & guess).sum())
    fp = int((~truth & guess).sum())
    fn = int((truth & ~guess).sum())
    return Counts(tp, fp, fn, truth.size - tp - fp - fn)


def _share(
    hit: NDArray[np.bool_],
    among: NDArray[np.bool_],
    name: str,
    empty: str,
    method: str,
    level: float,
    groups: ArrayLike | None,
    unit: str | None,
) -> Estimate:
    """Estimate the share of `hit` among the chosen rows."""
    check_level(level)
    if not among.any():
        return Estimate(
            float("nan"),
            0.0,
            1.0,
            level,
            0,
            unit or "case",
            spelled(method),
            (f"{name} is undefined: {empty}",),
            name=name,
        )
    if groups is not None:
        g = as_array(groups, "groups")
        same_length(labels=hit, groups=g)
        return clustered_proportion(
            hit[among], g[among], method=method, level=level, unit=unit or "patient", name=name
        )
    return proportion(
        int(hit[among].sum()),
        int(among.sum()),
        method=method,
        level=level,
        unit=unit or "case",
        name=name,
    )


def sensitivity(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    """Estimate the sensitivity (recall), TP / (TP + FN).

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        threshold: a score of this or more is positive.
        method: interval, as in `proportion`.
        level: confidence level.
        groups: (cases,) patient of each row: the interval then counts patients.
        unit: name of the counted unit.

    Returns:
        The estimate; undefined with a note where no case is positive.

    Raises:
        ValueError: for labels other than 0/1, NaN, or scores without a threshold.

    Examples:
        >>> print(sensitivity([1, 1, 1, 0], [1, 1, 0, 0]))
        sensitivity 0.667 (95% CI 0.208 to 0.939; n = 3 cases, wilson)
    """
    truth, guess = decisions(labels, predictions, threshold)
    return _share(guess, truth, "sensitivity", "no positive case", method, level, groups, unit)


def specificity(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    """Estimate the specificity, TN / (TN + FP). Arguments as in `sensitivity`.

    Examples:
        >>> specificity([0, 0, 1], [0, 1, 1]).value
        0.5
    """
    truth, guess = decisions(labels, predictions, threshold)
    return _share(~guess, ~truth, "specificity", "no negative case", method, level, groups, unit)
