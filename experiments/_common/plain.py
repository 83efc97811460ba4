"""The plainest training: so many steps, in memory, without checkpoints or looks in between."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jaxmed as jm
from jaxmed.core import Learner, LearnerState


class Plain:
    """A learner whose step is compiled once for any number of trainings of one shape."""

    def __init__(self, learner: Learner):
        self._learner = learner
        self._step = jax.jit(learner.step)
        self._predict = jax.jit(learner.predict)

    def train(self, batches: Any, steps: int, seed: int) -> LearnerState:
        """The state after the steps of batches, from a seed.

        Raises:
            FloatingPointError: a loss that is no number.
        """
        state = self._learner.init(jm.stream(jax.random.key(seed), "training"), batches[0])
        metrics: dict[str, Any] = {"loss": 0.0}
        for batch in batches.iterate(0, steps):
            state, metrics = self._step(state, batch)
        if not np.isfinite(float(metrics["loss"])):
            raise FloatingPointError(f"the loss is {float(metrics['loss'])} after {steps} steps")
        return state

    def probabilities(self, state: LearnerState, images: np.ndarray, size: int = 100) -> np.ndarray:
        """(n, classes), in parts of a size."""
        return np.concatenate([
            np.asarray(jax.nn.softmax(self._one(state, np.resize(part, (size, *part.shape[1:])))))[
                : len(part)
            ]
            for part in (images[i : i + size] for i in range(0, len(images), size))
        ])  # fmt: skip

    def _one(self, state: LearnerState, images: np.ndarray) -> jax.Array:
        return self._predict(state, images)["logits"]
