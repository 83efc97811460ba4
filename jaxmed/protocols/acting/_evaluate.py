"""evaluate_policy: how well an agent does over cases, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxmed.core import Key, Learner, LearnerState, PyTree
from jaxmed.reinforcement import Environment, Played, play
from jaxmed.stats import Estimate, clustered_proportion, mean, proportion


class PolicyScores(NamedTuple):
    """How an agent did; made by :func:`evaluate_policy`.

    Attributes:
        returns: sum of the rewards of an episode.
        lengths: steps of an episode.
        failures: share of the episodes that failed.
        terminated: how many came to their end.
        truncated: how many the environment broke off.
        unfinished: how many were still under way at the limit.
        measured: what was asked for of the states in which episodes were left, by name.
        played: the episodes themselves.
    """

    returns: Estimate
    lengths: Estimate
    failures: Estimate
    terminated: int
    truncated: int
    unfinished: int
    measured: dict[str, Estimate]
    played: Played

    def __repr__(self) -> str:
        lines = [self.returns, self.lengths, self.failures, *self.measured.values()]
        ways = ", ".join(
            f"{getattr(self, way)} {way}" for way in ("terminated", "truncated", "unfinished")
        )
        return "\n".join([f"PolicyScores: {ways}", *(f"  {line}" for line in lines)])


def evaluate_policy(
    environment: Environment,
    agent: Learner,
    state: LearnerState,
    starts: PyTree | int,
    *,
    cases: ArrayLike | None = None,
    measure: Mapping[str, Callable[[PyTree], Any]] | None = None,
    failed: Callable[[Played], Any] | None = None,
    limit: int = 1000,
    level: float = 0.95,
    key: Key | None = None,
    **options: Any,
) -> PolicyScores:
    """Play an episode from each start, greedily, and sum up with intervals over cases.

    Args:
        environment: a single one, of the cases that are tested on.
        agent: any learner that gives a value for each action.
        state: the learner's.
        starts: states to begin in, ``(episodes, ...)``; or how many, as the environment begins.
        cases: of each episode, ``(episodes,)``: several starts in one scan are not several cases.
            By default each episode is one.
        measure: by name, a function of the state in which an episode is left to a number, such as
            the distance in millimetres from the landmark.
        failed: function of the episodes to whether each has failed; by default those that did not
            terminate.
        limit: steps after which an episode is left as it is.
        level: of the intervals.
        key: of what the environment draws; ``jax.random.key(0)`` by default.
        **options: others of :func:`jaxmed.reinforcement.play`, such as ``behaviour``.

    Returns:
        The scores.

    Raises:
        ValueError: if rewards or values are not finite, there is not one case for each episode, a
            measure or ``failed`` says nothing of each, or as :func:`~jaxmed.reinforcement.play`.

    >>> import jax, jax.numpy as jnp, optax, jaxmed as jm
    >>> from jaxmed import reinforcement as rl
    >>> lake = rl.world_environment(rl.frozen_lake(slippery=False), limit=20)
    >>> best = rl.policy_iteration(rl.frozen_lake(slippery=False), discount=0.9)
    >>> agent = jm.learner(
    ...     rl.table(16, 4), rl.q_learning(discount=0.9), optax.sgd(0.1), inputs="observation"
    ... )
    >>> batch = {name: jnp.zeros(1, int) for name in ("observation", "action")}
    >>> state = agent.init(jax.random.key(0), batch)
    >>> known = {"net": {"table": jnp.asarray(best.action_values)}, "obj": {}}
    >>> evaluate_policy(lake, agent, state._replace(params=known), 5).terminated
    5
    """
    played = jax.device_get(
        play(environment, agent, state, starts, limit=limit, key=key, **options)
    )
    n = len(played.returns)
    if lost := int((~np.isfinite(played.returns)).sum()):
        raise ValueError(
            f"in {lost} of {n} episodes the rewards, or the values that the agent gives actions, "
            "are not finite: has its training diverged, or does it see what it never learned from?"
        )
    of = None if cases is None else np.asarray(cases)
    if of is not None and of.shape != (n,):
        raise ValueError(f"there are {n} episodes, and cases has the shape {of.shape}, not ({n},)")

    def averaged(values: Any, name: str) -> Estimate:
        return mean(values, groups=of, level=level, name=name, unit="case")

    measured = {}
    for name, function in (measure or {}).items():
        values = np.asarray(jax.jit(jax.vmap(function))(played.states), float)
        if values.shape != (n,):
            raise ValueError(
                f"measure {name!r} is to give one number for each episode, ({n},), got "
                f"{values.shape}"
            )
        measured[name] = averaged(values, name)
    lost = ~played.terminated if failed is None else np.asarray(failed(played), bool)
    if lost.shape != (n,):
        raise ValueError(
            f"failed is to say true or false of each episode, ({n},), got the shape {lost.shape}"
        )
    if of is None:
        failures = proportion(int(lost.sum()), n, level=level, name="failures")
    else:
        failures = clustered_proportion(lost, of, level=level, name="failures", unit="case")
    return PolicyScores(
        averaged(played.returns, "return"),
        averaged(played.lengths, "steps"),
        failures,
        int(played.terminated.sum()),
        int(played.truncated.sum()),
        int((~played.terminated & ~played.truncated).sum()),
        measured,
        played,
    )
