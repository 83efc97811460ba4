"""Rates of one class against the others: precision, recall, specificity, F1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxmed.metrics._confusion import label_metric
from jaxmed.metrics._metric import Metric, divide, mean_defined

AVERAGES = ("auto", "binary", "macro", "micro", "weighted", None)


def precision(
    *,
    average: str | None = "auto",
    zero_division: float = 0.0,
    threshold: float = 0.5,
    activation: str | None = "auto",
) -> Metric:
    """Precision (positive predictive value): TP / (TP + FP).

    Args:
        average: "auto": the positive class of a binary task, else "macro". "binary"; "macro": the
            mean over classes (tasks) that occur in the truth or the predictions; "weighted": by
            their number in the truth; "micro": of the pooled counts; None: an array with one
            value per class (task), NaN for one that does not occur at all.
        zero_division: the value of 0 / 0 for a class that does occur.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Example:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(precision(), [1.0, 1.0, -1.0], [1, 0, 0])
        0.5
    """
    return _rate(
        "precision", lambda tp, fp, fn, tn: (tp, tp + fp), average, zero_division, threshold,
        activation,
    )  # fmt: skip


def recall(
    *,
    average: str | None = "auto",
    zero_division: float = 0.0,
    threshold: float = 0.5,
    activation: str | None = "auto",
) -> Metric:
    """Recall (sensitivity): TP / (TP + FN).

    Args:
        average: see `precision`.
        zero_division: the value of 0 / 0 for a class that does occur.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Example:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(recall(), [1.0, -1.0, -1.0], [1, 1, 0])
        0.5
    """
    return _rate(
        "recall", lambda tp, fp, fn, tn: (tp, tp + fn), average, zero_division, threshold,
        activation,
    )  # fmt: skip


def specificity(
    *,
    average: str | None = "auto",
    zero_division: float = 0.0,
    threshold: float = 0.5,
    activation: str | None = "auto",
) -> Metric:
    """Specificity: TN / (TN + FP).

    Args:
        average: see `precision`.
        zero_division: the value of 0 / 0 for a class that does occur.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Example:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(specificity(), [1.0, 1.0, -1.0], [1, 0, 0])
        0.5
    """
    return _rate(
        "specificity", lambda tp, fp, fn, tn: (tn, tn + fp), average, zero_division, threshold,
        activation,
    )  # fmt: skip


def f1(
    *,
    average: str | None = "auto",
    zero_division: float = 0.0,
    threshold: float = 0.5,
    activation: str | None = "auto",
) -> Metric:
    """F1: 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

    Args:
        average: see `precision`.
        zero_division: the value of 0 / 0 for a class that does occur.
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Example:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(f1(average=None), [1.0, 1.0, -1.0], [1, 0, 0]).round(3)
        array([0.667, 0.667])
    """
    return _rate(
        "f1", lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn), average, zero_division, threshold,
        activation,
    )  # fmt: skip


def _rate(
    name: str,
    ratio: Callable[..., tuple[np.ndarray, np.ndarray]],
    average: str | None,
    zero_division: float,
    threshold: float,
    activation: str | None,
) -> Metric:
    if average not in AVERAGES:
        raise ValueError(
            f"{name}: average={average!r}; it must be one of {', '.join(map(repr, AVERAGES))}"
        )

    def value(c: np.ndarray) -> float | np.ndarray:
        tasks, classes = c.shape[:2]
        if average == "binary" and (tasks > 1 or classes > 2):
            raise ValueError(f"{name}: average='binary' for {tasks} tasks of {classes} classes")
        tp = c.diagonal(axis1=1, axis2=2)
        fp, fn = c.sum(1) - tp, c.sum(2) - tp
        tn = c.sum((1, 2))[:, None] - tp - fp - fn
        parts = (tp, fp, fn, tn)
        positive_only = tasks > 1 or average == "binary" or (average == "auto" and classes == 2)
        tp, fp, fn, tn = (p[:, 1] if positive_only else p[0] for p in parts)
        if average == "micro":
            above, below = ratio(tp.sum(), fp.sum(), fn.sum(), tn.sum())
            return float(divide(above, below, zero_division))
        values = divide(*ratio(tp, fp, fn, tn), zero_division)
        if tasks == 1 and positive_only:
            return float(values[0]) if c.sum() > 0 else float("nan")
        values = np.where(tp + fp + fn > 0, values, np.nan)
        if average is None:
            return values
        return mean_defined(values, tp + fn if average == "weighted" else None)

    return label_metric(name, threshold, activation, value)
