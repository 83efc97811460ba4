"""interact: train an agent in its environments, like any other learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxmed.core import Key, Learner
from jaxmed.train import FitResult, NonFiniteLossError, fit


def interact(
    agent: Learner,
    *,
    steps: int,
    every: int = 100,
    key: Key | None = None,
    seed: int = 0,
    **options: Any,
) -> FitResult:
    """Train an agent, made by :func:`~jaxmed.reinforcement.off_policy` or ``on_policy``.

    It is :func:`jaxmed.fit` without data: what the agent learns from, its environments, its
    memory and the episodes under way are part of its state. So checkpoints, logs, the best state
    and patience are as in any training, and a run that was cut goes on to the same bits (on a CPU;
    elsewhere as far as the device computes alike).

    Args:
        agent: the learner.
        steps: of the agent, in all; each is as many iterations as it was made with.
        every: steps of an epoch, after which there is a record and an evaluation.
        key: of the run; ``jax.random.key(seed)`` by default.
        seed: see ``key``.
        **options: any other of :func:`jaxmed.fit`: ``evaluate``, ``monitor``, ``mode``,
            ``patience``, ``out``, ``resume``, ``state``, ``devices``, ``progress``. On several
            devices each computes the same.

    Returns:
        The result; ``result.state`` is the agent's.

    Raises:
        NonFiniteLossError: if a step's loss or parameters are not finite, or a reward was not.
        ValueError: if ``steps`` or ``every`` is less than 1, or as :func:`jaxmed.fit`.

    >>> import jax, optax, jaxmed as jm
    >>> from jaxmed import reinforcement as rl
    >>> walk = rl.world_environment(rl.random_walk(3))
    >>> critic = jm.learner(
    ...     rl.table(5), rl.td(discount=1.0), optax.sgd(0.5), inputs="observation"
    ... )
    >>> agent = rl.on_policy(walk, critic, environments=16, length=8, iterations=50)
    >>> result = interact(agent, steps=4, progress=False)
    >>> error = result.state.params["net"]["table"][1:4, 0] - jax.numpy.array([0.25, 0.5, 0.75])
    >>> bool(abs(error).max() < 0.1)
    True
    """
    if steps < 1 or every < 1:
        raise ValueError(f"steps and every are at least 1, got {steps} and {every}")
    try:
        return fit(agent, Nothing(every), steps=steps, key=key, seed=seed, **options)
    except NonFiniteLossError as error:
        error.add_note(
            "An agent's loss is no number either where a reward of its environment was none: look "
            "for NaN in the environment, and for more actions of the network than there are."
        )
        raise


class Nothing:
    """Batches of no data, of which an epoch has so many: what is learned from is made as it goes.

    They have rows, of which each is empty, so that epochs may be compiled as of any batches.
    """

    size = 1

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.source = _Empty()

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Mapping[str, Any]:
        return {}

    def iterate(self, start: int = 0) -> Iterator[Mapping[str, Any]]:
        """Nothing, again and again."""
        while True:
            yield {}

    def rows(self, step: int) -> tuple[Any, Any]:
        """The one row."""
        return np.zeros(1, np.int64), np.ones(1, np.float32)


class _Empty:
    """A source of one example without arrays."""

    case_ids = ("nothing",)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {}

    def take(self, indices: Any) -> dict[str, Any]:
        """No arrays."""
        return {}
