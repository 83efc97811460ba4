"""evaluator: a collection of metrics over batches, as `fit(evaluate=)` takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxmed.core import Batch, Inputs, Learner, LearnerState, network_inputs, pick
from jaxmed.data import as_source
from jaxmed.data import batches as cut
from jaxmed.metrics import Metric, collection
from jaxmed.train._devices import place_batch
from jaxmed.train._predict import host, mesh_of


def evaluator(
    learner: Learner,
    data: Any,
    metrics: Mapping[str, Metric],
    *,
    output: Inputs = "logits",
    target: Inputs = "label",
    inputs: Inputs = "image",
    known: str | Callable[[Any], Any] | None = None,
    size: int = 128,
    members: bool = False,
) -> Callable[[LearnerState], dict[str, float]]:
    """Return a function that measures a state, for :func:`fit`'s ``evaluate=``.

    Prediction and the metrics' sums are one compiled program, a batch at a time; nothing but
    the sums (and scores, where a metric ranks them) comes to the host.

    Args:
        learner: any learner.
        data: a source, a dict of arrays, or batches as :func:`jaxmed.data.batches` makes them,
            whose size and transform are then used. Padding rows do not count.
        metrics: name to metric (:mod:`jaxmed.metrics`); each must give one number.
        output: the endpoint that is measured, or several, which the metric is given as a dict
            (:func:`jaxmed.core.pick`).
        target: the array of the truth, or several, alike.
        inputs: the array that the network takes, or several (:func:`jaxmed.core.pick`).
        known: which targets are known, as :func:`jaxmed.supervised` takes it.
        size: rows of a batch.
        members: whether the learner is an ensemble, whose endpoints have a leading axis of
            members: each is measured by itself, and the mean is given.

    Returns:
        ``(state) -> {name: number}``.

    Raises:
        ValueError: no metrics; when called, a metric that gives an array.
        KeyError: when called, if the batch or the network has not what was named.

    >>> from jaxmed import metrics
    >>> from jaxmed.core import from_functions, learner, stateless
    >>> import optax
    >>> double = from_functions(lambda key, x: {}, lambda params, x: 2 * x)
    >>> run = learner(double, stateless(lambda *args: None), optax.sgd(0.1))
    >>> data = {"image": np.array([-1.0, 2.0, 3.0], np.float32), "label": np.array([0, 1, 0])}
    >>> state = run.init(jax.random.key(0), data)
    >>> evaluator(run, data, {"val/auc": metrics.auc(), "val/f1": metrics.f1()}, size=2)(state)
    {'val/auc': 0.5, 'val/f1': 0.6666666666666666}
    """
    both = collection(metrics)
    source = None if hasattr(data, "iterate") else as_source(data)

    @jax.jit
    def sums(state: LearnerState, batch: Batch) -> Any:
        outputs = pick(learner.predict(state, network_inputs(batch, inputs)), output, "network")
        targets = pick(batch, target)
        where = known(targets) if callable(known) else None
        if isinstance(known, str):
            where = pick(batch, known)
        counted = {"weight": batch.get("weight"), "where": where}
        if not members:
            return [both.from_batch(outputs, targets, **counted)]
        return [both.from_batch(one, targets, **counted) for one in outputs]

    def measure(state: LearnerState) -> dict[str, float]:
        mesh = mesh_of(state)
        feed = data
        if source is not None:
            devices = 1 if mesh is None else mesh.size
            rows = -(-min(size, len(source)) // devices) * devices
            feed = cut(source, rows, shuffle=False)
        total: list[Any] = []
        parts: Any = feed.iterate(0)
        try:
            for _ in range(len(feed)):
                found = jax.tree.map(host, sums(state, place_batch(next(parts), mesh)))
                if total:
                    found = [both.merge(a, b) for a, b in zip(total, found, strict=True)]
                total = found
        finally:
            parts.close()
        each = [both.compute(one) for one in total]
        return {name: _number(name, [values[name] for values in each]) for name in metrics}

    return measure


def _number(name: str, values: list[Any]) -> float:
    shapes = {np.shape(value) for value in values}
    if shapes != {()}:
        raise ValueError(
            f"the metric {name!r} gives an array of shape {shapes.pop()}: choose an average"
        )
    return float(np.mean(values))
