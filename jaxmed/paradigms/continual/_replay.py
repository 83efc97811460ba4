"""Replay: some examples of all that was seen are learned again."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Key, Objective, merge_named, pick, stream, within
from jaxmed.paradigms.base._schedules import check_weight
from jaxmed.paradigms.multi_task._task_gradients import with_gradient


def replay(
    objective: Objective, size: int, *, draws: int | None = None, weight: float = 1.0
) -> Objective:
    """Learn from the batch and from a memory of what was seen before.

    The memory is a reservoir: after any number of examples each of them is in it with the same
    probability. It lies in the objective's state, so that checkpoints hold it and no task has to
    be named.

    Args:
        objective: what is learned, from both.
        size: examples that the memory holds.
        draws: examples drawn from it at each step; as many as a batch has by default.
        weight: of what is drawn, beside the batch.

    Returns:
        The objective, with the metrics ``replayed`` (the loss of what was drawn, 0 while the memory
        is empty) and ``seen`` (how many examples have passed).

    Raises:
        ValueError: for a memory or draws of less than one example, or a negative weight.

    References:
        Vitter (1985), Random sampling with a reservoir, ACM Transactions on Mathematical Software.
        Chaudhry et al. (2019), On tiny episodic memories in continual learning.
    """
    check_weight(weight)
    _check(size, draws)
    inner = within(objective, "objective")

    def loss(network, params, state, batch, key):
        own = state["obj"]
        value, (state, metrics) = inner.loss(network, params, state, batch, key)
        drawn = drawn_from(stream(key, "replay"), own, draws or rows_of(batch))
        # What was drawn moves no running statistics of the batch's.
        again, _ = inner.loss(network, params, state, drawn, stream(key, "again"))
        memory = remembered(stream(key, "reservoir"), own, batch)
        state = {**state, "obj": {**state["obj"], **memory}}
        own_metrics = {"replayed": again, "seen": memory["seen"].astype(jnp.float32)}
        return value + weight * again, (state, merge_named(metrics, own_metrics))

    return inner._replace(init=_init(objective, size), loss=loss)


def a_gem(objective: Objective, size: int, *, draws: int | None = None) -> Objective:
    r"""Learn from the batch without raising the loss of a memory: A-GEM.

    Where the batch's gradient g and the memory's :math:`\tilde g` conflict, the step is
    :math:`g - \frac{g \cdot \tilde g}{\tilde g \cdot \tilde g} \tilde g`; else it is g.

    Args:
        objective: what is learned.
        size: examples that the memory, a reservoir, holds.
        draws: examples drawn from it at each step; as many as a batch has by default.

    Returns:
        The objective, with the metrics ``replayed``, ``seen`` and ``conflict`` (1 where there was
        one).

    Raises:
        ValueError: for a memory or draws of less than one example.

    References:
        Chaudhry et al. (2019), Efficient lifelong learning with A-GEM, ICLR.
    """
    _check(size, draws)
    inner = within(objective, "objective")

    def loss(network, params, state, batch, key):
        own = state["obj"]
        still = jax.lax.stop_gradient(params)

        def of(given, key):
            return jax.value_and_grad(
                lambda p: inner.loss(network, p, state, given, key), has_aux=True
            )(still)

        (value, (after, metrics)), g = of(batch, key)
        drawn = drawn_from(stream(key, "replay"), own, draws or rows_of(batch))
        (again, _), ref = of(drawn, stream(key, "again"))
        along, length = _dot(g, ref), _dot(ref, ref)
        conflict = along < 0
        share = jnp.where(conflict, along / jnp.where(length > 0, length, 1), 0.0)
        step = jax.tree.map(lambda a, b: a - share * b, g, ref)
        memory = remembered(stream(key, "reservoir"), own, batch)
        after = {**after, "obj": {**after["obj"], **memory}}
        more = {
            "replayed": again, "seen": memory["seen"].astype(jnp.float32),
            "conflict": conflict.astype(jnp.float32),
        }  # fmt: skip
        return with_gradient(value, params, step), (after, merge_named(metrics, more))

    return inner._replace(init=_init(objective, size), loss=loss)


def _check(size: int, draws: int | None) -> None:
    if size < 1 or (draws is not None and draws < 1):
        raise ValueError(f"a memory and draws are of one example or more, got {size} and {draws}")


def _init(objective: Objective, size: int):
    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        rows = rows_of(batch)
        memory = {
            name: jnp.zeros((size, *leaf.shape[1:]), leaf.dtype)
            for name, leaf in _examples(batch, rows).items()
        }
        seen = jnp.zeros((), jnp.int32)
        return {"objective": own_params}, {"objective": own_state, "memory": memory, "seen": seen}

    return init


def rows_of(batch: Batch) -> int:
    """How many rows a batch has."""
    return len(jax.tree.leaves(pick(batch, "image"))[0])


def _examples(batch: Batch, rows: int) -> dict[str, Any]:
    """The arrays of a batch that have a row for each example; its weights are its own."""
    return {
        name: jnp.asarray(leaf)
        for name, leaf in batch.items()
        if name != "weight" and jnp.ndim(leaf) and len(leaf) == rows
    }


def drawn_from(key: Key, own: dict[str, Any], draws: int) -> dict[str, Array]:
    """Rows of the memory, of weight 0 while there are none."""
    size = len(next(iter(own["memory"].values())))
    filled = jnp.minimum(own["seen"], size)
    rows = jax.random.randint(key, (draws,), 0, jnp.maximum(filled, 1))
    found = {name: leaf[rows] for name, leaf in own["memory"].items()}
    return {**found, "weight": jnp.where(filled > 0, jnp.ones(draws), 0.0)}


def remembered(key: Key, own: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """The memory after a batch: each real row takes a free place, or one at random, or none."""
    memory, seen = own["memory"], own["seen"]
    size = len(next(iter(memory.values())))
    rows = rows_of(batch)
    examples = _examples(batch, rows)
    weight = batch.get("weight")
    real = jnp.ones(rows, bool) if weight is None else weight > 0

    def put(carry, i):
        memory, seen = carry
        place = jax.random.randint(stream(key, "place", i), (), 0, seen + 1)
        place = jnp.where(seen < size, seen, place)
        place = jnp.where(real[i], place, size)  # beyond: dropped
        memory = {
            name: leaf.at[place].set(examples[name][i].astype(leaf.dtype), mode="drop")
            for name, leaf in memory.items()
        }
        return (memory, seen + real[i]), None

    (memory, seen), _ = jax.lax.scan(put, (memory, seen), jnp.arange(rows))
    return {"memory": memory, "seen": seen}


def _dot(a: Any, b: Any) -> Array:
    return sum(
        jnp.vdot(x.astype(jnp.float32), y.astype(jnp.float32))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )  # pyright: ignore
