"""Networks that learn times to an event from images, records or both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource
from jaxmed.stats import BaselineHazard, breslow

Loss = Literal["discrete", "cox"]


class Trained(NamedTuple):
    """A trained network of times.

    Attributes:
        network: it.
        learner: how it learned.
        state: after the last step.
        inputs: names of what it is given.
        edges: ends of the intervals of discrete hazards.
        baseline: of Cox's model, from the cases that were learned from.
        history: of the training.
    """

    network: jm.Network
    learner: jm.Learner
    state: Any
    inputs: tuple[str, ...]
    edges: tuple[float, ...]
    baseline: BaselineHazard | None
    history: Any


def edges_of(time: np.ndarray, event: np.ndarray, intervals: int) -> tuple[float, ...]:
    """Ends of intervals with about equally many events each; fewer where times repeat.

    Raises:
        ValueError: no event after time 0.
    """
    known = time[event & (time > 0)]
    if not len(known):
        raise ValueError("no case of the training part has the event after time 0")
    return tuple(np.unique(np.quantile(known, np.linspace(0, 1, intervals + 1)[1:])).tolist())


def train(
    trunks: Mapping[str, nn.Module],
    source: ArraySource,
    *,
    loss: Loss,
    intervals: int,
    epochs: int,
    batch: int,
    learning_rate: float,
    drop: float,
    seed: int,
    out: Path,
) -> Trained:
    """Fuse the trunks of the modalities, and train them on times.

    Args:
        trunks: a module by modality; of one modality it is alone.
        source: arrays by those names, ``survival``, and ``present`` where there are several.
        loss: hazards of intervals, or Cox's partial likelihood of each batch.
        intervals: of discrete hazards.
        epochs: passes over the cases.
        batch: cases of a step.
        learning_rate: of AdamW, falling to 0.
        drop: how often a modality is hidden in training.
        seed: of parameters, order and draws.
        out: folder of checkpoints.
    """
    time, event = source.arrays["survival"].T
    edges = edges_of(time, event > 0, intervals)
    outputs = len(edges) if loss == "discrete" else 1
    network = jm.paradigms.fuse(trunks, classes=outputs, drop=drop if len(trunks) > 1 else 0.0)
    inputs = (*sorted(trunks), *(["present"] if "present" in source.arrays else []))
    if loss == "discrete":
        objective = jm.supervised(
            partial(jm.losses.discrete_hazard, edges=edges), target="survival", inputs=inputs
        )
    else:
        objective = jm.paradigms.proportional_hazards(inputs=inputs)
    batches = jm.data.batches(source, min(batch, len(source)), seed=seed)
    optimizer = jm.train.optimizer(
        "adamw", learning_rate, schedule="cosine", steps=epochs * len(batches), weight_decay=1e-3,
        clip=5.0,
    )  # fmt: skip
    learner = jm.learner(network, objective, optimizer, inputs=inputs)
    result = jm.fit(learner, batches, seed=seed, epochs=epochs, out=out)
    baseline = None
    if loss == "cox":
        logits = jm.train.predict(learner, result.state, source, inputs=inputs)
        baseline = breslow(time, event, logits[:, 0])
    return Trained(network, learner, result.state, inputs, edges, baseline, result.history)


def predict(trained: Trained, source: ArraySource, times: np.ndarray) -> np.ndarray:
    """Probabilities (cases, times) of being free of the event."""
    logits = jm.train.predict(trained.learner, trained.state, source, inputs=trained.inputs)
    if trained.baseline is not None:
        return trained.baseline.survival(logits[:, 0], times)
    return np.asarray(jm.losses.discrete_survival(logits, edges=trained.edges, times=times))
