"""Networks that learn times to an event from images, records or both."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource
from jaxmed.stats import BaselineHazard, breslow

from .rounds import rate

Loss = Literal["discrete", "cox"]


class Trained(NamedTuple):
    """A trained network of times.

    Attributes:
        learner: how it learned.
        state: after the last step.
        inputs: names of what it is given.
        edges: ends of the intervals of discrete hazards.
        baseline: of Cox's model, from the cases that were learned from.
        history: of the training.
    """

    learner: jm.Learner
    state: Any
    inputs: tuple[str, ...]
    edges: tuple[float, ...]
    baseline: BaselineHazard | None
    history: Any


def inputs_of(source: ArraySource) -> tuple[str, ...]:
    """Names of what a network of times is given of the cases."""
    return tuple(name for name in ("image", "present", "record") if name in source.arrays)


def learner_of(
    network: jm.Network,
    inputs: tuple[str, ...],
    *,
    loss: Loss,
    edges: tuple[float, ...],
    weight_decay: float = 1e-3,
    **falls: Any,
) -> jm.Learner:
    """How a network of times learns.

    Args:
        network: with a logit for each interval, or one of a log hazard.
        inputs: names of what it is given.
        loss: hazards of intervals, or Cox's partial likelihood of each batch.
        edges: ends of the intervals.
        weight_decay: of AdamW.
        **falls: its learning rate, as `rate` says it.
    """
    if loss == "discrete":
        hazards = partial(jm.losses.discrete_hazard, edges=edges)
        objective = jm.supervised(hazards, target="survival", inputs=inputs)
    else:
        objective = jm.paradigms.proportional_hazards(inputs=inputs)
    optimizer = jm.train.optimizer("adamw", weight_decay=weight_decay, clip=5.0, **falls)
    return jm.learner(network, objective, optimizer, inputs=inputs)


def train(
    network: jm.Network,
    source: ArraySource,
    *,
    loss: Loss,
    edges: tuple[float, ...],
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    out: Path,
) -> Trained:
    """Train a network on times.

    Args:
        network: of what the source has of ``image``, ``record`` and ``present``.
        source: the arrays by those names, and ``survival``.
        loss: hazards of intervals, or Cox's partial likelihood of each batch.
        edges: ends of the intervals.
        epochs: passes over the cases.
        batch: cases of a step.
        learning_rate: of AdamW, falling to 0.
        seed: of parameters, order and draws.
        out: folder of checkpoints.
    """
    inputs = inputs_of(source)
    batches = jm.data.batches(source, min(batch, len(source)), seed=seed)
    falls = rate("cosine", learning_rate, epochs * len(batches), 0)
    learner = learner_of(network, inputs, loss=loss, edges=edges, **falls)
    result = jm.fit(learner, batches, seed=seed, epochs=epochs, out=out)
    baseline = baseline_of(learner, result.state, source) if loss == "cox" else None
    return Trained(learner, result.state, inputs, edges, baseline, result.history)


def baseline_of(learner: jm.Learner, state: Any, source: ArraySource) -> BaselineHazard:
    """The hazard of a case whose log hazard is 0, from the cases that were learned from."""
    time, event = source.arrays["survival"].T
    logits = jm.train.predict(learner, state, source, inputs=inputs_of(source))
    return breslow(time, event, logits[:, 0])


def predict(trained: Trained, source: ArraySource, times: np.ndarray) -> np.ndarray:
    """Probabilities (cases, times) of being free of the event."""
    logits = jm.train.predict(trained.learner, trained.state, source, inputs=trained.inputs)
    if trained.baseline is not None:
        return trained.baseline.survival(logits[:, 0], times)
    return np.asarray(jm.losses.discrete_survival(logits, edges=trained.edges, times=times))
