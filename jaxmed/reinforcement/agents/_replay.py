"""Replay: a ring of transitions between states, from which observations are cut again."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxmed.core import Array, Key, PyTree, stream
from jaxmed.paradigms.base._schedules import Scheduled

_LEAST = 1e-6  # Added to an error, so that what is known well is drawn again all the same.


class Memory(NamedTuple):
    """What a :class:`Replay` holds: one pytree, part of a learner's state.

    Attributes:
        transitions: each array ``(rows, environments, ...)``; a row is what all environments did at
            one time, and the rows are a ring.
        written: how many rows have been written, since the beginning.
        priority: of each transition, ``(rows, environments)``; ``None`` where all are drawn alike.
        largest: the largest priority so far, which new transitions get; ``None`` likewise.
    """

    transitions: PyTree
    written: Array
    priority: Array | None
    largest: Array | None


class Replay:
    """A ring of transitions; made by :func:`replay`.

    Its functions are pure: the memory is handed in and out.
    """

    def __init__(
        self, capacity: int, steps: int, prioritised: float, importance: Scheduled
    ) -> None:
        self.capacity, self.steps = capacity, steps
        self.prioritised, self.importance = prioritised, importance

    def __repr__(self) -> str:
        how = f", prioritised={self.prioritised:g}" if self.prioritised else ""
        return f"Replay of {self.capacity} transitions of {self.steps} steps{how}"

    def init(self, transitions: PyTree) -> Memory:
        """An empty memory for transitions such as these, ``(environments, ...)``.

        Raises:
            ValueError: if there are more environments than the capacity has room for, or fewer rows
                than steps.
        """
        n = len(jax.tree.leaves(transitions)[0])
        rows = self.capacity // n
        if rows < self.steps:
            raise ValueError(
                f"a replay of {self.capacity} transitions holds {rows} of each of {n} environments:"
                f" at least {self.steps} are needed, a capacity of {n * self.steps}"
            )
        ring = jax.tree.map(lambda x: _empty(x, rows), transitions)
        priority = jnp.zeros((rows, n)) if self.prioritised else None
        largest = jnp.ones(()) if self.prioritised else None
        return Memory(ring, jnp.zeros((), jnp.int32), priority, largest)

    def write(self, memory: Memory, transitions: PyTree) -> Memory:
        """The memory with a row more, ``(environments, ...)``, in place of the oldest if full.

        Raises:
            ValueError: if an array has another shape than at the beginning.
        """
        row = memory.written % _rows(memory)

        def put(path: Any, ring: Array, new: Array) -> Array:
            if new.shape != ring.shape[1:]:
                raise ValueError(
                    f"the replay holds {jax.tree_util.keystr(path)} of the shape {ring.shape[1:]}, "
                    f"and is given {new.shape}"
                )
            new = new if new.dtype == ring.dtype else new.astype(ring.dtype)
            return jax.lax.dynamic_update_index_in_dim(ring, new, row, 0)

        ring = jax.tree.map_with_path(put, memory.transitions, transitions)
        priority = memory.priority
        if priority is not None and memory.largest is not None:
            fresh = jnp.full(priority.shape[1:], memory.largest)
            priority = jax.lax.dynamic_update_index_in_dim(priority, fresh, row, 0)
        return memory._replace(transitions=ring, written=memory.written + 1, priority=priority)

    def sample(
        self, key: Key, memory: Memory, n: int, *, step: Array | int = 0
    ) -> tuple[dict[str, Any], Array]:
        """Draw transitions, with replacement.

        Args:
            key: of the draw.
            memory: of transitions that are dicts with ``state``, ``action``, ``reward``,
                ``terminated``, ``truncated`` and ``next_state``.
            n: how many to draw.
            step: at which ``importance`` is looked up.

        Returns:
            The transitions, ``(n, ...)``, and where they lie, for :meth:`update`. They have a
            ``weight``, 1, or 0 while the memory is empty; with several steps a ``reward``
            ``(n, steps)`` and how many ``steps`` were made, fewer where an episode ended, to the
            ``next_state``; with priorities their ``importance``.

        Raises:
            ValueError: outside of ``jit``, if the memory is empty.
        """
        rows, envs = _rows(memory), _environments(memory)
        filled = jnp.minimum(memory.written, rows)
        ready = filled - self.steps + 1  # Rows after which all their steps have been written.
        if not isinstance(ready, Tracer) and int(ready) < 1:
            raise ValueError(
                f"the replay has {int(filled)} rows of transitions: nothing can be drawn before "
                f"{self.steps} are written"
            )
        oldest = jnp.where(memory.written > rows, memory.written % rows, 0)
        count = jnp.maximum(ready, 1) * envs
        if memory.priority is None:
            place = jax.random.randint(stream(key, "replay"), (n,), 0, count)
            row = (oldest + place // envs) % rows
            column = place % envs
            found: dict[str, Any] = {}
        else:
            age = (jnp.arange(rows) - oldest) % rows
            priority = jnp.where((age < ready)[:, None], memory.priority, 0.0)
            place, share = _by_priority(stream(key, "replay"), priority.ravel(), n)
            row, column = place // envs, place % envs
            step = jnp.asarray(step)
            beta = self.importance(step) if callable(self.importance) else self.importance
            rare = (count * jnp.maximum(share, jnp.finfo(jnp.float32).tiny)) ** -beta
            found = {"importance": rare / rare.max()}
        found |= self._transitions(memory, row, column)
        found["weight"] = jnp.where(ready > 0, jnp.ones(n), 0.0)
        return found, row * envs + column

    def _transitions(self, memory: Memory, row: Array, column: Array) -> dict[str, Any]:
        def at(name: str, row: Array) -> Any:
            return jax.tree.map(lambda ring: ring[row, column], memory.transitions[name])

        if self.steps == 1:
            names = ("state", "action", "reward", "terminated", "truncated", "next_state")
            return {name: at(name, row) for name in names}
        later = [(row + k) % _rows(memory) for k in range(self.steps)]
        ended = jnp.stack([at("terminated", r) | at("truncated", r) for r in later], 1)
        if ended.ndim > 2:
            ended = ended.reshape(*ended.shape[:2], -1).all(2)
        before = jnp.cumsum(ended, 1) - ended
        steps = (before == 0).sum(1)
        last = (row + steps - 1) % _rows(memory)
        return {
            "state": at("state", row),
            "action": at("action", row),
            "reward": jnp.stack([at("reward", r) for r in later], 1),
            "steps": steps,
            "terminated": at("terminated", last),
            "truncated": at("truncated", last),
            "next_state": at("next_state", last),
        }

    def update(self, memory: Memory, place: Array, errors: Array) -> Memory:
        """The memory with new priorities, of the absolute errors of what was drawn.

        An error that is no finite number gets the largest priority so far, as what is new does: in
        a program nothing can be raised, and one such number among the priorities would decide
        every later draw.

        Raises:
            ValueError: if there is not one error for each; outside of ``jit``, if one is negative
                or not finite.
        """
        if memory.priority is None or memory.largest is None:
            return memory
        if errors.shape != place.shape:
            raise ValueError(
                f"each transition drawn has one error, {place.shape}, got {errors.shape}"
            )
        sound = jnp.isfinite(errors) & (errors >= 0)
        if not isinstance(sound, Tracer) and not bool(sound.all()):
            wrong = float(errors[jnp.argmin(sound)])
            raise ValueError(f"errors are absolute ones, finite and not negative, got {wrong}")
        new = (jnp.where(sound, errors, 0.0) + _LEAST) ** self.prioritised
        # So small that no sum over the memory overflows.
        most = jnp.finfo(jnp.float32).max / memory.priority.size
        new = jnp.where(sound, jnp.minimum(new, most), memory.largest)
        envs = _environments(memory)
        priority = memory.priority.at[place // envs, place % envs].set(new)
        return memory._replace(priority=priority, largest=jnp.maximum(memory.largest, new.max()))


def replay(
    capacity: int,
    *,
    steps: int = 1,
    prioritised: float = 0.0,
    importance: Scheduled = 0.4,
) -> Replay:
    r"""A ring of transitions, which an agent learns from again and again.

    It holds states, not observations: where a state is a scan's number and a place in it, a
    hundred thousand transitions are megabytes, and images are cut again as they are drawn.

    Args:
        capacity: transitions that it holds, of all environments together.
        steps: of a transition as it is drawn, n-step learning; episodes that end sooner have fewer.
            The rewards between are those of the behaviour, for which nothing corrects.
        prioritised: the exponent :math:`\alpha` of an error's absolute value, to which the
            probability of being drawn is proportional; 0 draws all alike. The objective is to keep
            its errors (``q_learning(keep_errors=True)``).
        importance: the exponent :math:`\beta` of the weights
            :math:`(N p)^{-\beta} / \max_i (N p_i)^{-\beta}` that correct for it, or a function of
            the iteration to it; the maximum is over what is drawn together.

    Returns:
        The replay; its memory is part of the learner's state that :func:`off_policy` makes.

    Raises:
        ValueError: if ``capacity`` or ``steps`` is less than 1, or an exponent negative.

    References:
        Lin (1992), Self-improving reactive agents based on reinforcement learning, planning and
        teaching, Machine Learning 8.
        Schaul et al. (2016), Prioritized experience replay, ICLR.
    """
    if any(isinstance(n, str) or not 1 <= n < math.inf or n != int(n) for n in (capacity, steps)):
        raise ValueError(
            f"capacity and steps are at least 1, whole numbers, got {capacity!r} and {steps!r}"
        )
    numbers = [prioritised, *([] if callable(importance) else [importance])]
    if any(isinstance(n, str) or not 0 <= n < math.inf for n in numbers):
        raise ValueError(
            "prioritised and importance must not be negative, and finite, got "
            f"{prioritised!r}, {importance!r}"
        )
    return Replay(capacity, steps, prioritised, importance)


def _empty(like: Array, rows: int) -> Array:
    """So many rows of nothing yet, of numbers or of random keys."""
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(like, (rows, *like.shape))
    return jnp.zeros((rows, *like.shape), like.dtype)


def _rows(memory: Memory) -> int:
    return len(jax.tree.leaves(memory.transitions)[0])


def _environments(memory: Memory) -> int:
    return jax.tree.leaves(memory.transitions)[0].shape[1]


def _by_priority(key: Key, priority: Array, n: int) -> tuple[Array, Array]:
    """Places drawn in proportion to priorities, one of each n-th of their sum, and their shares.

    By the sums of blocks, so that nothing is as long as the memory but one pass over it, and
    rounding is that of short sums.
    """
    size = math.isqrt(len(priority) - 1) + 1
    blocks = jnp.pad(priority, (0, -len(priority) % size)).reshape(-1, size)
    upto = jnp.cumsum(blocks.sum(1))
    total = upto[-1]
    drawn = (jnp.arange(n) + jax.random.uniform(key, (n,))) / n * total
    block = _first_above(upto, drawn)
    inside = jnp.cumsum(blocks[block], 1)
    rest = drawn - jnp.where(block > 0, upto[block - 1], 0)
    slot = jax.vmap(_first_above)(inside, rest[:, None])[:, 0]
    share = blocks[block, slot] / jnp.where(total > 0, total, 1)
    return block * size + slot, share


def _first_above(cumulated: Array, drawn: Array) -> Array:
    """Where a cumulated sum first exceeds what was drawn; never where nothing was added."""
    most = jnp.nextafter(cumulated[-1], jnp.float32(0))
    return jnp.minimum((jnp.minimum(drawn, most)[:, None] >= cumulated).sum(1), len(cumulated) - 1)
