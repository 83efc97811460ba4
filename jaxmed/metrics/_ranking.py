"""Ranking metrics: AUC-ROC and average precision.

They need all scores at once, so their accumulators store them; `compute` sorts on the host, which
is several times faster than XLA's sort on CPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxmed import quantities
from jaxmed.metrics._examples import read
from jaxmed.metrics._metric import Activation, Metric, UndefinedMetricWarning, refuse_invalid
from jaxmed.quantities import mean_defined

Average = Literal["macro", "weighted", "micro"] | None
AVERAGES: tuple[Average, ...] = ("macro", "weighted", "micro", None)


class Scores(NamedTuple):
    """Chunks of scores, one per batch; see `Examples` for the shapes. Padding has weight 0."""

    scores: tuple[Any, ...]
    labels: tuple[Any, ...]
    weight: tuple[Any, ...]
    invalid: Any


def auc(*, average: Average = "macro", activation: Activation = "auto") -> Metric:
    r"""Area under the ROC curve: the probability that a positive scores above a negative.

    :math:`P(s^+ > s^-) + \tfrac12 P(s^+ = s^-)`, exact with ties and weights. Two classes or one
    output: the AUC of the positive class. More classes: one-vs-rest. Several binary
    tasks: one each. A class or task without positives or without negatives is NaN and excluded from
    the mean with an `UndefinedMetricWarning`; the value is NaN if none is left.

    Args:
        average: "macro": the mean over classes or tasks; "weighted": by their positives;
            "micro": all scores pooled; None: an array.
        activation: "auto" (the outputs are logits; classes are ranked by their softmax
            probability) or None (the outputs are the scores).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(auc(), [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75

    References:
        Hanley, McNeil, The meaning and use of the area under a ROC curve, Radiology 1982.
    """
    return _ranking("auc", _auc, average, activation)


def average_precision(*, average: Average = "macro", activation: Activation = "auto") -> Metric:
    r"""Average precision: the area under the precision-recall curve as a sum of steps.

    :math:`\sum_n (R_n - R_{n-1}) P_n` over the distinct thresholds, exact with ties and weights.
    Classes, tasks and those without positives are treated as in `auc`; a task without negatives is
    defined here (1).

    Args:
        average: "macro", "weighted" (by positives), "micro" or None (an array).
        activation: "auto" (the outputs are logits) or None (they are the scores).

    Returns:
        A metric with a float value in [0, 1], or an array of them.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> round(evaluate(average_precision(), [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
        0.8333
    """
    return _ranking("average_precision", _average_precision, average, activation)


def _auc(positive: np.ndarray, scores: np.ndarray, weight: np.ndarray) -> float:
    """Compute the AUC of one task; NaN without positives or negatives."""
    if positive.all() or not positive.any():
        return float("nan")
    return float(quantities.weighted_auc(positive, scores, weight[None])[0])


def _average_precision(positive: np.ndarray, scores: np.ndarray, weight: np.ndarray) -> float:
    """Compute the average precision of one task; NaN without positives."""
    if not positive.any():
        return float("nan")
    return float(quantities.weighted_average_precision(positive, scores, weight[None])[0])


@cache
def _keeper(raw: bool) -> Callable[..., Scores]:
    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> Scores:
        batch = read(outputs, targets, weight, where, name="auc", probabilities=raw)
        x = batch.outputs
        if batch.multiclass and not raw:
            x = _class_logits(x, batch.xp)
        labels, w, invalid = batch.labels, batch.weight, batch.invalid
        if batch.xp is np:
            keep = w > 0 if batch.multiclass else (w > 0).any(1)
            x, labels, w = x[keep], labels[keep], w[keep]
        return Scores((x,), (labels,), (w,), invalid)

    return from_batch


def _class_logits(x: Any, xp: Any) -> Any:
    """Compute log p / (1 - p) of each softmax probability, which does not saturate at 1."""
    columns = []
    for k in range(x.shape[-1]):
        rest = xp.delete(x, k, axis=-1)
        top = rest.max(-1, keepdims=True)
        with np.errstate(over="ignore"):
            columns.append(x[:, k] - top[:, 0] - xp.log(xp.exp(rest - top).sum(-1)))
    return xp.stack(columns, -1)


def _merge(a: Scores, b: Scores) -> Scores:
    return Scores(*(x + y for x, y in zip(a, b, strict=True)))


def _ranking(
    name: str, one: Callable[..., float], average: Average, activation: Activation
) -> Metric:
    if average not in AVERAGES:
        raise ValueError(
            f"{name}: average={average!r}; it must be one of {', '.join(map(repr, AVERAGES))}"
        )
    if activation not in ("auto", None):
        raise ValueError(f"{name}: activation={activation!r}; it must be 'auto' or None")

    def compute(accumulator: Scores) -> float | np.ndarray:
        refuse_invalid(accumulator.invalid, name=name)
        scores, labels, weight = (
            np.concatenate([np.asarray(chunk) for chunk in chunks]) for chunks in accumulator[:3]
        )
        scores, weight = scores.astype(np.float64), weight.astype(np.float64)
        if labels.ndim == 1:
            labels = (labels[:, None] == np.arange(scores.shape[-1])).astype(np.int32)
            weight = np.broadcast_to(weight[:, None], labels.shape)
        if average == "micro":
            scores, labels, weight = (a.reshape(-1, 1) for a in (scores, labels, weight))
        columns = range(scores.shape[-1])
        known = weight > 0
        values = np.array(
            [one(labels[r, k] == 1, scores[r, k], weight[r, k]) for k, r in zip(columns, known.T)]
        )
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
