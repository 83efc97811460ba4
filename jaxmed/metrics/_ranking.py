"""Metrics of the order of scores: AUC-ROC and average precision.

They need all scores at once, so their accumulators hold them, as NumPy arrays on the host: sorting
there is several times faster than XLA's on CPU. `from_batch` cannot be called inside jit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.metrics._examples import namespace, read
from jaxmed.metrics._metric import Metric, UndefinedMetricWarning, mean_defined

AVERAGES = ("macro", "weighted", "micro", None)


class Scores(NamedTuple):
    """Chunks of scores, one per batch; see `Examples` for the shapes."""

    scores: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    weight: tuple[np.ndarray, ...]


def auc(*, average: str | None = "macro", activation: str | None = "auto") -> Metric:
    r"""Area under the ROC curve: the chance that a positive scores above a negative.

    :math:`P(s^+ > s^-) + \tfrac12 P(s^+ = s^-)`, exact with ties and weights. Two classes or one
    output: the AUC of the positive class. More classes: one against the rest. Several yes/no
    tasks: one each. A class or task without positives or without negatives is NaN, is left out of
    the mean with an `UndefinedMetricWarning`, and makes the value NaN if none is left.

    Args:
        average: "macro": the mean over classes or tasks; "weighted": by their positives;
            "micro": all scores pooled; None: an array.
        activation: "auto" (the outputs are logits; classes are ranked by their softmax
            probability) or None (the outputs are the scores).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Example:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(auc(), [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75

    References:
        Hanley, McNeil, The meaning and use of the area under a ROC curve, Radiology 1982.
    """
    return _ranking("auc", binary_auc, average, activation)


def average_precision(*, average: str | None = "macro", activation: str | None = "auto") -> Metric:
    r"""Average precision: the area under the precision-recall curve as a sum of steps.

    :math:`\sum_n (R_n - R_{n-1}) P_n` over the distinct thresholds, exact with ties and weights.
    The rules for classes, tasks and those without positives or negatives are those of `auc`; a task
    without negatives is defined here (1).

    Args:
        average: "macro", "weighted" (by positives), "micro" or None (an array).
        activation: "auto" (the outputs are logits) or None (they are the scores).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Example:
        >>> from jaxmed.metrics import evaluate
        >>> round(evaluate(average_precision(), [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
        0.8333
    """
    return _ranking("average_precision", binary_average_precision, average, activation)


def binary_auc(scores: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    """The AUC of one task; NaN without positives or negatives."""
    positive, negative = _by_threshold(scores, labels, weight)
    below = positive.sum() * negative.sum()
    if below == 0:
        return float("nan")
    above = np.cumsum(positive) - positive / 2  # positives ranked higher, half of those tied
    return float((negative * above).sum() / below)


def binary_average_precision(scores: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    """The average precision of one task; NaN without positives."""
    positive, negative = _by_threshold(scores, labels, weight)
    if positive.sum() == 0:
        return float("nan")
    hits = np.cumsum(positive)
    precision = hits / np.maximum(hits + np.cumsum(negative), np.finfo(np.float64).tiny)
    return float((positive * precision).sum() / positive.sum())


def _by_threshold(
    scores: np.ndarray, labels: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at each distinct score, highest first."""
    known = weight > 0
    scores, labels, weight = scores[known], labels[known], weight[known]
    order = np.argsort(-scores, kind="stable")
    scores, labels, weight = scores[order], labels[order], weight[order]
    if not len(scores):
        return np.zeros(0), np.zeros(0)
    starts = np.r_[0, np.flatnonzero(np.diff(scores)) + 1]
    return (
        np.add.reduceat(np.where(labels == 1, weight, 0.0), starts),
        np.add.reduceat(np.where(labels == 1, 0.0, weight), starts),
    )


@cache
def _keeper(raw: bool) -> Callable[..., Scores]:
    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> Scores:
        if namespace(outputs, targets, weight, where) is jnp:
            raise ValueError(
                "auc and average_precision keep scores on the host: call from_batch outside jit"
            )
        batch = read(outputs, targets, weight, where, name="auc", probabilities=raw)
        x = batch.outputs
        if batch.multiclass and not raw:
            x = _class_logits(x)
        keep = batch.weight > 0 if batch.multiclass else (batch.weight > 0).any(1)
        return Scores((x[keep],), (batch.labels[keep],), (batch.weight[keep],))

    return from_batch


def _class_logits(x: np.ndarray) -> np.ndarray:
    """Log p / (1 - p) of each softmax probability: its order, without saturating at 1."""
    columns = []
    for k in range(x.shape[-1]):
        rest = np.delete(x, k, axis=-1)
        top = rest.max(-1, keepdims=True)
        with np.errstate(over="ignore"):
            columns.append(x[:, k] - top[:, 0] - np.log(np.exp(rest - top).sum(-1)))
    return np.stack(columns, -1)


def _merge(a: Scores, b: Scores) -> Scores:
    return Scores(*(x + y for x, y in zip(a, b, strict=True)))


def _ranking(
    name: str, one: Callable[..., float], average: str | None, activation: str | None
) -> Metric:
    if average not in AVERAGES:
        raise ValueError(
            f"{name}: average={average!r}; it must be one of {', '.join(map(repr, AVERAGES))}"
        )
    if activation not in ("auto", None):
        raise ValueError(f"{name}: activation={activation!r}; it must be 'auto' or None")

    def compute(accumulator: Scores) -> float | np.ndarray:
        scores, labels, weight = (np.concatenate(chunks) for chunks in accumulator)
        if labels.ndim == 1:
            labels = (labels[:, None] == np.arange(scores.shape[-1])).astype(np.int32)
            weight = np.broadcast_to(weight[:, None], labels.shape)
        if average == "micro":
            scores, labels, weight = (a.reshape(-1, 1) for a in (scores, labels, weight))
        columns = range(scores.shape[-1])
        values = np.array([one(scores[:, k], labels[:, k], weight[:, k]) for k in columns])
        missing = np.flatnonzero(np.isnan(values))
        if len(missing):
            which = f" of class or task {', '.join(map(str, missing))}" if len(values) > 1 else ""
            warnings.warn(
                f"{name}{which} is undefined (NaN): there is no positive or no negative label",
                UndefinedMetricWarning,
                stacklevel=3,
            )
        if average is None:
            return values
        positives = np.where(labels == 1, weight, 0).sum(0)
        return mean_defined(values, positives if average == "weighted" else None)

    return Metric(_keeper(activation is None), _merge, compute)
