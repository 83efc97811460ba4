"""Independent members as one program."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Key, Learner, LearnerState, PyTree, stream

Strategy = Literal["auto", "unroll", "vmap", "scan", "shard"]


def ensemble(
    learner: Learner,
    n: int,
    *,
    strategy: Strategy = "auto",
    mesh: jax.sharding.Mesh | None = None,
    own_batches: bool = False,
) -> Learner:
    """``n`` copies of a learner that differ in their key, trained as one program.

    Member ``i`` is to the bit the single learner initialised with ``member_key(key, i)``, up to
    the rounding that the strategy's program implies.

    Args:
        learner: any learner.
        n: the number of members.
        strategy: ``"unroll"`` repeats the program; ``"vmap"`` batches it, which turns convolutions
            into grouped ones, quick on a GPU and slow on a CPU; ``"scan"`` runs members one after
            the other in a loop, the smallest program, and on a CPU the quickest for small networks,
            if their convolutions are those of :mod:`jaxmed.ops`: XLA's own are slow in loops there;
            ``"shard"`` spreads members over the devices of ``mesh``. ``"auto"`` is ``"unroll"`` on
            a CPU, safe with any convolution, and ``"vmap"`` elsewhere.
        mesh: for ``"shard"``: a one-dimensional mesh whose size divides ``n``.
        own_batches: whether the batch has a leading axis of members, or all see the same.

    Returns:
        The learner. Each array of its state but ``step`` has a leading axis of members, and so
        has each endpoint of ``predict``; metrics are means over members.

    Raises:
        ValueError: if ``n`` is not positive, the strategy unknown, or the mesh does not fit.

    References:
        Lakshminarayanan, Pritzel and Blundell (2017), Simple and scalable predictive uncertainty
        estimation using deep ensembles, NeurIPS.
    """
    if n < 1 or n != int(n):
        raise ValueError(f"an ensemble has one member or more, a whole number; got n={n}")
    if strategy == "auto":
        strategy = "unroll" if jax.default_backend() == "cpu" else "vmap"
    if strategy not in ("unroll", "vmap", "scan", "shard"):
        raise ValueError(f"unknown strategy {strategy!r}: auto, unroll, vmap, scan or shard")
    if (strategy == "shard") != (mesh is not None):
        raise ValueError('a mesh goes with strategy="shard", and with no other')
    if mesh is not None and (len(mesh.axis_names) != 1 or n % mesh.size):
        raise ValueError(f"strategy='shard' needs a 1D mesh whose size divides n={n}: {mesh}")

    def over_members(function, members: LearnerState, operand, operand_axis):
        """``function(member, operand)`` for each member, results stacked."""
        if strategy in ("vmap", "shard"):
            mapped = jax.vmap(function, (0, operand_axis))
            if strategy == "vmap" or mesh is None:
                return mapped(members, operand)
            split = jax.sharding.PartitionSpec(mesh.axis_names[0])  # pyright: ignore
            whole = jax.sharding.PartitionSpec()
            return jax.shard_map(
                mapped,
                mesh=mesh,
                in_specs=(split, whole if operand_axis is None else split),
                out_specs=split,
                check_vma=False,
            )(members, operand)
        if strategy == "scan":
            if operand_axis is None:
                return jax.lax.map(lambda one: function(one, operand), members)
            return jax.lax.map(lambda pair: function(*pair), (members, operand))
        results = [
            function(_take(members, i), operand if operand_axis is None else _take(operand, i))
            for i in range(n)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

    batch_axis = 0 if own_batches else None

    def init(key: Key, batch) -> LearnerState:
        # A loop in the program: it is traced and compiled once, whatever the number of members,
        # and each member's numbers are those that it would draw alone.
        keys = jnp.stack([member_key(key, i) for i in range(n)])
        if own_batches:
            members = jax.lax.map(lambda pair: learner.init(*pair), (keys, batch))
        else:
            members = jax.lax.map(lambda own: learner.init(own, batch), keys)
        return members._replace(step=members.step[0])

    def step(state: LearnerState, batch):
        members = _spread(state, n)
        members, metrics = over_members(learner.step, members, batch, batch_axis)
        metrics = {name: value.mean(0) for name, value in metrics.items()}
        return members._replace(step=members.step[0]), metrics

    def predict(state: LearnerState, inputs):
        return over_members(learner.predict, _spread(state, n), inputs, None)

    # It looks at names alone, so what holds for one member holds for their stack.
    return Learner(init, step, predict, learner.predicting)


def member_key(key: Key, i: int) -> Key:
    """The key of member ``i`` of an ensemble made with ``key``."""
    return stream(key, "member", i)


def member(state: LearnerState, i: int) -> LearnerState:
    """Member ``i`` of an ensemble's state, as a single learner's state."""
    return _take(state._replace(step=jnp.zeros((i + 1,), jnp.int32)), i)._replace(step=state.step)


def whole_key(key: PyTree) -> Key:
    """One key of a learner, by which what wraps it draws; of members or players one of theirs."""
    leaves = jax.tree.leaves(key)
    first = leaves[0]
    if first.ndim == 0 and len(leaves) == 1:
        return first
    # In a stream of its own, or it would draw what the first member does.
    return stream(first.reshape(-1)[0], "whole", first.ndim)


def _spread(state: LearnerState, n: int) -> LearnerState:
    return state._replace(step=jnp.broadcast_to(state.step, (n,)))


def _take(tree: PyTree, i: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[i], tree)
