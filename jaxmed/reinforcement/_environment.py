"""Environment: what an agent acts in, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, PyTree, stream


class Step(NamedTuple):
    """What an action leads to, beside the next state.

    Attributes:
        reward: of the action; scalar.
        terminated: whether the episode has come to its end, after which nothing is to be gained.
        truncated: whether it is broken off, so that the value of the state reached still counts.
    """

    reward: Array
    terminated: Array
    truncated: Array

    @property
    def ended(self) -> Array:
        """Whether the episode goes no further, for whichever reason."""
        return self.terminated | self.truncated


class Environment(NamedTuple):
    """What an agent acts in: a Markov decision process, of which states are pytrees.

    A state is small (a scan's number, a place in it), and what an agent sees is computed from it:
    so transitions are remembered as states, and images are cut again when they are learned from.
    No function begins a new episode of itself; :func:`restarted` does.

    Attributes:
        reset: ``key -> state``, at the beginning of an episode.
        step: ``(key, state, action) -> (state, Step)``; the state is the one reached, also at the
            end of an episode.
        observe: ``state -> observation``, a pytree of what a network is given.
        actions: how many there are, 0 to one less; an agent that would never take some of them is
            then refused. ``None`` where it is not said.
    """

    reset: Callable[[Key], PyTree]
    step: Callable[[Key, PyTree, Array], tuple[PyTree, Step]]
    observe: Callable[[PyTree], PyTree]
    actions: int | None = None


def vectorised(environment: Environment, n: int) -> Environment:
    """Make an environment of ``n`` independent ones, along a first axis of all that it handles.

    The ``i``-th is the environment itself, under the key ``stream(key, i)``.

    Raises:
        ValueError: if ``n`` is less than 1.

    >>> walk = Environment(
    ...     reset=lambda key: jnp.zeros((), int),
    ...     step=lambda key, place, action: (place + action, Step(1.0, place > 1, False)),
    ...     observe=lambda place: place,
    ... )
    >>> both = vectorised(walk, 2)
    >>> places, step = both.step(
    ...     jax.random.key(0), both.reset(jax.random.key(1)), jnp.array([-1, 1])
    ... )
    >>> places.tolist(), step.reward.tolist()
    ([-1, 1], [1.0, 1.0])
    """
    if n < 1:
        raise ValueError(f"vectorised needs at least 1 environment, got n={n}")

    def each(key: Key) -> Key:
        return jax.vmap(lambda i: stream(key, i))(jnp.arange(n))

    def step(key: Key, states: PyTree, actions: Array) -> tuple[PyTree, Step]:
        return jax.vmap(environment.step)(each(key), states, actions)

    return Environment(
        lambda key: jax.vmap(environment.reset)(each(key)),
        step,
        jax.vmap(environment.observe),
        environment.actions,
    )


def restarted(key: Key, environment: Environment, states: PyTree, ended: Array) -> PyTree:
    """Begin anew the episodes that have ended; the states of the others are as they were.

    The states that were reached are still the caller's, so that an episode that is broken off can
    be valued by where it was.

    Args:
        key: of the new episodes.
        environment: made by :func:`vectorised`.
        states: reached by its ``step``.
        ended: which episodes have ended, ``(n,)``.

    Returns:
        The states to act from.
    """
    return where_rows(ended, environment.reset(key), states)


def where_rows(which: Array, new: PyTree, old: PyTree) -> PyTree:
    """The rows of one tree of arrays where ``which``, ``(n,)``, is true, and of the other else."""

    def chosen(one: Any, other: Any) -> Array:
        return jnp.where(which.reshape(which.shape + (1,) * (one.ndim - 1)), one, other)

    return jax.tree.map(chosen, new, old)
