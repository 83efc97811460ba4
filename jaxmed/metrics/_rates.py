"""One-vs-rest rates: precision, recall, specificity, F1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from jaxmed import quantities
from jaxmed.metrics._confusion import label_metric
from jaxmed.metrics._metric import Activation, Metric

Average = Literal["auto", "binary", "macro", "micro", "weighted"] | None
AVERAGES: tuple[Average, ...] = ("auto", "binary", "macro", "micro", "weighted", None)


def precision(
    *,
    average: Average = "auto",
    zero_division: float | None = None,
    threshold: float | None = None,
    activation: Activation = "auto",
) -> Metric:
    """Precision (positive predictive value): TP / (TP + FP).

    Args:
        average: "auto": the positive class of a binary task, else "macro". "binary"; "macro": the
            mean over classes (tasks) that occur in the truth or the predictions; "weighted": by
            their number in the truth; "micro": of the pooled counts; None: an array with one
            value per class (task), NaN for one that does not occur at all.
        zero_division: the value of 0 / 0; by default NaN for the single ratio of "binary" or
            "micro", and 0 for a class (task) that occurs among others.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(precision(), [1.0, 1.0, -1.0], [1, 0, 0])
        0.5
    """
    return _rate("precision", quantities.precisions, average, zero_division, threshold, activation)


def recall(
    *,
    average: Average = "auto",
    zero_division: float | None = None,
    threshold: float | None = None,
    activation: Activation = "auto",
) -> Metric:
    """Recall (sensitivity): TP / (TP + FN).

    Args:
        average: see `precision`.
        zero_division: see `precision`.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(recall(), [1.0, -1.0, -1.0], [1, 1, 0])
        0.5
    """
    return _rate("recall", quantities.recalls, average, zero_division, threshold, activation)


def specificity(
    *,
    average: Average = "auto",
    zero_division: float | None = None,
    threshold: float | None = None,
    activation: Activation = "auto",
) -> Metric:
    """Specificity: TN / (TN + FP).

    Args:
        average: see `precision`.
        zero_division: see `precision`.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(specificity(), [1.0, 1.0, -1.0], [1, 0, 0])
        0.5
    """
    return _rate(
        "specificity", quantities.specificities, average, zero_division, threshold, activation
    )


def f1(
    *,
    average: Average = "auto",
    zero_division: float | None = None,
    threshold: float | None = None,
    activation: Activation = "auto",
) -> Metric:
    """F1: 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

    Args:
        average: see `precision`.
        zero_division: see `precision`.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(f1(average=None), [1.0, 1.0, -1.0], [1, 0, 0]).round(3)
        array([0.667, 0.667])
    """
    return _rate(
        "f1",
        lambda c, empty: quantities.f_scores(c, empty=empty),
        average,
        zero_division,
        threshold,
        activation,
    )


def _rate(
    name: str,
    rate: Callable[[np.ndarray, float], np.ndarray],
    average: Average,
    zero_division: float | None,
    threshold: float | None,
    activation: Activation,
) -> Metric:
    if average not in AVERAGES:
        raise ValueError(
            f"{name}: average={average!r}; it must be one of {', '.join(map(repr, AVERAGES))}"
        )

    def value(c: np.ndarray) -> float | np.ndarray:
        tasks, classes = c.shape[:2]
        if average == "binary" and (tasks > 1 or classes > 2):
            raise ValueError(f"{name}: average='binary' for {tasks} tasks of {classes} classes")
        positive_only = tasks > 1 or average == "binary" or (average == "auto" and classes == 2)
        tables = c if positive_only else quantities.one_against_rest(c[0])
        alone = np.nan if zero_division is None else zero_division
        if c.sum() == 0 or average == "micro" or (tasks == 1 and positive_only):
            one = float(rate(tables.sum(0), alone)[1]) if c.sum() else np.nan
            return np.full(len(tables), one) if average is None else one
        values = rate(tables, zero_division or 0.0)[:, 1]
        values = np.where(quantities.occurring(tables)[:, 1], values, np.nan)
        if average is None:
            return values
        positives = tables[:, 1].sum(-1)
        return quantities.mean_defined(values, positives if average == "weighted" else None)

    return label_metric(name, threshold, activation, value)
