"""The metric type, its evaluation, and collections computed in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

Activation = Literal["auto"] | None
"""What is done with outputs: ``auto`` takes them for logits, ``None`` for probabilities."""


class Metric(NamedTuple):
    """A metric as three functions on mergeable accumulators.

    `compute(merge(from_batch(a), from_batch(b)))` is the metric of the examples of a and b
    combined, for any batching, and rows of weight 0 have no effect.

    Attributes:
        from_batch: `(outputs, targets, *, weight=None, where=None) -> accumulator`.
        merge: `(accumulator, accumulator) -> accumulator`, associative.
        compute: `accumulator -> value`, on the host: a float, a NumPy array or a dict of them.
    """

    from_batch: Callable[..., Any]
    merge: Callable[[Any, Any], Any]
    compute: Callable[[Any], Any]


class UndefinedMetricWarning(UserWarning):
    """Issued when a metric is undefined on the data and its value, or that of a class, is NaN."""


def evaluate(
    metric: Metric,
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    weight: jax.typing.ArrayLike | None = None,
    where: jax.typing.ArrayLike | None = None,
) -> Any:
    """Evaluate a metric on one batch: `compute(from_batch(...))`.

    Args:
        metric: the metric.
        outputs: as for its `from_batch`.
        targets: as for its `from_batch`.
        weight: `(batch,)`, 0 for padding.
        where: True where the label is known, aligned at the batch axis.

    Returns:
        The result of `metric.compute`.

    Raises:
        ValueError: the batch does not match the metric.

    Examples:
        >>> from jaxmed import metrics
        >>> evaluate(metrics.accuracy(), [[2.0, 1.0], [0.0, 1.0]], [0, 0])
        0.5
    """
    return metric.compute(metric.from_batch(outputs, targets, weight=weight, where=where))


def collection(metrics: Mapping[str, Metric]) -> Metric:
    """Combine several metrics into one whose value is a dict.

    Metrics that share `from_batch` (e.g. all those from one confusion matrix) share the pass over
    the batch and the accumulator.

    Args:
        metrics: name -> metric, all on the same outputs and targets.

    Returns:
        A metric whose `compute` returns `{name: value}` in the given order.

    Raises:
        ValueError: no metrics.

    Examples:
        >>> from jaxmed import metrics
        >>> both = collection({"accuracy": metrics.accuracy(), "f1": metrics.f1()})
        >>> evaluate(both, [0.3, -2.0, 1.5], [1, 0, 1])
        {'accuracy': 1.0, 'f1': 1.0}
    """
    metrics = dict(metrics)
    if not metrics:
        raise ValueError("collection: give at least one metric")
    distinct: dict[Callable[..., Any], Metric] = {}
    for metric in metrics.values():
        distinct.setdefault(metric.from_batch, metric)
    slots = {from_batch: slot for slot, from_batch in enumerate(distinct)}

    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> tuple[Any, ...]:
        return tuple(f(outputs, targets, weight=weight, where=where) for f in distinct)

    def merge(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(m.merge(x, y) for m, x, y in zip(distinct.values(), a, b, strict=True))

    def compute(accumulator: tuple[Any, ...]) -> dict[str, Any]:
        return {
            name: metric.compute(accumulator[slots[metric.from_batch]])
            for name, metric in metrics.items()
        }

    return Metric(from_batch, merge, compute)


def add(a: Any, b: Any) -> Any:
    """Merge accumulators that are sums: in float64 on the host, unchanged inside jit."""

    def one(x: Any, y: Any) -> Any:
        if isinstance(x, Tracer) or isinstance(y, Tracer):
            return x + y
        return np.asarray(x, np.float64) + np.asarray(y, np.float64)

    return jax.tree.map(one, a, b)


def refuse_invalid(count: Any, *, name: str) -> None:
    """Raise for invalid labels that were counted inside jit, where nothing can be raised."""
    if float(count) > 0:
        raise ValueError(
            f"{name}: {int(count)} known labels lie outside the classes or have NaN outputs or an "
            "invalid weight; mask them with where or weight, or correct them"
        )
