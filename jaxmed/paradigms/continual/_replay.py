"""Replay: some examples of all that was seen are learned again."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Inputs, Key, Objective, merge_named, pick, stream, within
from jaxmed.paradigms.base._schedules import check_weight
from jaxmed.paradigms.multi_task._task_gradients import with_gradient


def replay(
    objective: Objective,
    size: int,
    *,
    draws: int | None = None,
    weight: float = 1.0,
    inputs: Inputs = "image",
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
        inputs: the batch's images, by whose rows examples are counted. What has another number of
            rows, such as more images without labels, is not remembered: of what is drawn it is the
            batch's.

    Returns:
        The objective, with the metrics ``replayed`` (the loss of what was drawn, 0 while the memory
        is empty) and ``seen`` (how many examples have passed).

    Raises:
        ValueError: for a memory or draws of less than one example, or a negative weight; when
            traced, if a later batch lacks what the memory holds.

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
        rows = _rows(batch, inputs)
        drawn = drawn_from(stream(key, "replay"), own, draws or rows, batch, rows)
        # What was drawn moves no running statistics of the batch's.
        again, _ = inner.loss(network, params, state, drawn, stream(key, "again"))
        memory = remembered(stream(key, "reservoir"), own, batch, rows)
        state = {**state, "obj": {**state["obj"], **memory}}
        own_metrics = {"replayed": again, "seen": memory["seen"].astype(jnp.float32)}
        return value + weight * again, (state, merge_named(metrics, own_metrics))

    return inner._replace(init=_init(objective, size, inputs), loss=loss)


def a_gem(
    objective: Objective, size: int, *, draws: int | None = None, inputs: Inputs = "image"
) -> Objective:
    r"""Learn from the batch without raising the loss of a memory: A-GEM.

    Where the batch's gradient g and the memory's :math:`\tilde g` conflict, the step is
    :math:`g - \frac{g \cdot \tilde g}{\tilde g \cdot \tilde g} \tilde g`; else it is g.

    Args:
        objective: what is learned.
        size: examples that the memory, a reservoir, holds.
        draws: examples drawn from it at each step; as many as a batch has by default.
        inputs: the batch's images, by whose rows examples are counted.

    Returns:
        The objective, with the metrics ``replayed``, ``seen`` and ``conflict`` (1 where there was
        one).

    Raises:
        ValueError: for a memory or draws of less than one example; when traced, if a later batch
            lacks what the memory holds.

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
        rows = _rows(batch, inputs)
        drawn = drawn_from(stream(key, "replay"), own, draws or rows, batch, rows)
        (again, _), ref = of(drawn, stream(key, "again"))
        along, length = _dot(g, ref), _dot(ref, ref)
        conflict = along < 0
        share = jnp.where(conflict, along / jnp.where(length > 0, length, 1), 0.0)
        step = jax.tree.map(lambda a, b: a - share * b, g, ref)
        memory = remembered(stream(key, "reservoir"), own, batch, rows)
        after = {**after, "obj": {**after["obj"], **memory}}
        more = {
            "replayed": again, "seen": memory["seen"].astype(jnp.float32),
            "conflict": conflict.astype(jnp.float32),
        }  # fmt: skip
        return with_gradient(value, params, step), (after, merge_named(metrics, more))

    return inner._replace(init=_init(objective, size, inputs), loss=loss)


def _check(size: int, draws: int | None) -> None:
    for value in (size, draws):
        if value is not None and (value < 1 or value != int(value)):
            raise ValueError(
                f"a memory and draws are of one example or more, got {size} and {draws}"
            )


def _init(objective: Objective, size: int, inputs: Inputs):
    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        memory = jax.tree.map(
            lambda leaf: jnp.zeros((size, *leaf.shape[1:]), leaf.dtype),
            _examples(batch, _rows(batch, inputs)),
        )
        seen = jnp.zeros((), jnp.int32)
        return {"objective": own_params}, {"objective": own_state, "memory": memory, "seen": seen}

    return init


def _rows(batch: Batch, inputs: Inputs) -> int:
    """How many rows a batch has."""
    return len(jax.tree.leaves(pick(batch, inputs))[0])


def _examples(batch: Batch, rows: int) -> dict[str, Any]:
    """What of a batch has a row for each example; its weights are its own."""

    def each(leaf: Any) -> bool:
        return bool(jnp.ndim(leaf)) and len(leaf) == rows

    return {
        name: jax.tree.map(jnp.asarray, given)
        for name, given in batch.items()
        if name not in ("weight", "players") and all(map(each, jax.tree.leaves(given)))
    }


def drawn_from(
    key: Key, own: dict[str, Any], draws: int, batch: Batch, rows: int
) -> dict[str, Any]:
    """Rows of the memory, and what has no rows as the batch has it.

    While there are none they repeat the batch's, as padding rows do, and weigh nothing: what a
    network makes of zeros may have no gradient.
    """
    size = len(jax.tree.leaves(own["memory"])[0])
    filled = jnp.minimum(own["seen"], size)
    places = jax.random.randint(key, (draws,), 0, jnp.maximum(filled, 1))
    examples = _known(own, batch, rows)
    found = jax.tree.map(
        lambda kept, now: jnp.where(filled > 0, kept[places], now[jnp.arange(draws) % rows]),
        own["memory"], examples,
    )  # fmt: skip
    shared = {name: x for name, x in batch.items() if name not in _examples(batch, rows)}
    return {**shared, **found, "weight": jnp.where(filled > 0, jnp.ones(draws), 0.0)}


def remembered(key: Key, own: dict[str, Any], batch: Batch, rows: int) -> dict[str, Any]:
    """The memory after a batch: each real row takes a free place, or one at random, or none."""
    memory, seen = own["memory"], own["seen"]
    size = len(jax.tree.leaves(memory)[0])
    examples = _known(own, batch, rows)
    weight = batch.get("weight")
    real = jnp.ones(rows, bool) if weight is None else weight > 0

    def put(carry, i):
        memory, seen = carry
        place = jax.random.randint(stream(key, "place", i), (), 0, seen + 1)
        place = jnp.where(seen < size, seen, place)
        place = jnp.where(real[i], place, size)  # beyond: dropped
        memory = jax.tree.map(
            lambda kept, now: kept.at[place].set(now[i].astype(kept.dtype), mode="drop"),
            memory, examples,
        )  # fmt: skip
        return (memory, seen + real[i]), None

    (memory, seen), _ = jax.lax.scan(put, (memory, seen), jnp.arange(rows))
    return {"memory": memory, "seen": seen}


def _known(own: dict[str, Any], batch: Batch, rows: int) -> dict[str, Any]:
    """The examples of a batch, in the arrays that the memory holds."""
    examples = _examples(batch, rows)
    if missing := sorted(set(own["memory"]) - set(examples)):
        raise ValueError(
            f"the memory holds {missing[0]!r} of each example, and the batch has {sorted(examples)}"
            f" of {rows} examples: batches of one kind alone go into a memory"
        )
    return {name: examples[name] for name in own["memory"]}


def _dot(a: Any, b: Any) -> Array:
    return sum(
        jnp.vdot(x.astype(jnp.float32), y.astype(jnp.float32))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )  # pyright: ignore
