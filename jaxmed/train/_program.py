"""The compiled programs of a training run: one step, or many in one program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmed.core import Array, Batch, Key, Learner, LearnerState, Metrics, PyTree
from jaxmed.train._devices import state_shardings


class Carry(NamedTuple):
    """What a step takes and returns: the state, and whether the run has been halted."""

    state: LearnerState
    halted: Array


class Report(NamedTuple):
    """What the host hears of a step.

    Attributes:
        metrics: the learner's.
        count: how many examples the step counted, by which an epoch's mean is weighted.
        halted: whether the run is halted, at this step or earlier.
    """

    metrics: Metrics
    count: Array
    halted: Array


class Program(NamedTuple):
    """Compiled functions of one learner.

    Attributes:
        init: ``(key, batch) -> state``.
        begin: ``state -> carry``, in buffers of its own that a step may overwrite.
        step: ``(carry, batch) -> (carry, report)``, jitted. The carry given is donated.
        scan: ``(carry, arrays, rows, weights) -> (carry, reports)``: as many steps as ``rows``
            has rows, each on ``arrays`` at ``rows[i]``. The carry given is donated.
        copy: ``state -> state`` in new buffers.
    """

    init: Callable[[Key, Batch], LearnerState]
    begin: Callable[[LearnerState], Carry]
    step: Any
    scan: Callable[
        [Carry, Mapping[str, Any], Array | np.ndarray, Array | np.ndarray], tuple[Carry, Report]
    ]
    copy: Callable[[LearnerState], LearnerState]
    shardings: Any


def guarded(
    step: Callable[[LearnerState, Batch], tuple[LearnerState, Metrics]],
) -> Callable[[Carry, Batch], tuple[Carry, Report]]:
    """Let a step that goes wrong change nothing, and halt every later one.

    A step is bad if its loss, or a parameter after it, is not finite. The flag stays up, so the
    host may look at it many steps later and still find the state as it was before the bad step.
    """

    def run(carry: Carry, batch: Batch) -> tuple[Carry, Report]:
        new, metrics = step(carry.state, batch)
        halted = carry.halted | ~all_finite(new, metrics)
        state = jax.tree.map(lambda old, new: jnp.where(halted, old, new), carry.state, new)
        count = batch["weight"].sum() if "weight" in batch else jnp.ones(())
        return Carry(state, halted), Report(metrics, count, halted)

    return run


def all_finite(state: LearnerState, metrics: Metrics) -> Array:
    """Whether the loss of a step and the parameters after it are finite."""
    good = jnp.isfinite(metrics["loss"]).all()
    for leaf in jax.tree.leaves(state.params):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            good &= jnp.isfinite(leaf).all()
    return good


def batch_of_rows(arrays: Batch, rows: Array, weight: Array) -> dict[str, Array]:
    """A batch of rows of arrays that are on the device, as the host's batches give it."""
    batch = {name: array[rows] for name, array in arrays.items()}
    if "weight" in batch:
        weight = weight * batch["weight"]
    return {**batch, "weight": weight, "index": rows}


def program(
    learner: Learner,
    key: Key,
    batch: Batch,
    *,
    mesh: Mesh | None = None,
    shard_parameters: bool = False,
) -> Program:
    """Compile a learner's functions, for one device or a mesh.

    The functions of the last few learners are kept, so that runs which differ in their seed or
    data alone compile once.

    Args:
        learner: any learner.
        key: as for its ``init``; only its type is looked at.
        batch: a batch; only its shapes are looked at.
        mesh: devices to share each batch among.
        shard_parameters: whether large parameters are shared out too.
    """
    if mesh is None:
        return _on_one_device(learner)
    leaves, structure = jax.tree.flatten(jax.eval_shape(learner.init, key, batch))
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return _on_mesh(learner, mesh, shard_parameters, shapes, structure)


@functools.lru_cache(maxsize=8)
def _on_one_device(learner: Learner) -> Program:
    run = guarded(learner.step)
    copy = jax.jit(_copy)
    return Program(
        init=jax.jit(learner.init),
        begin=lambda state: Carry(copy(state), jnp.zeros((), bool)),
        step=jax.jit(run, donate_argnums=0),
        scan=jax.jit(functools.partial(_epoch, run, None), donate_argnums=0),
        copy=copy,
        shardings=None,
    )


@functools.lru_cache(maxsize=8)
def _on_mesh(
    learner: Learner, mesh: Mesh, shard_parameters: bool, shapes: tuple, structure: Any
) -> Program:
    run = guarded(learner.step)
    leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
    state = jax.tree.unflatten(structure, leaves)
    states = state_shardings(mesh, state, shard_parameters=shard_parameters)
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
    outputs = (Carry._make((states, whole)), whole)
    copy = jax.jit(_copy, out_shardings=states)
    flag = jax.jit(lambda: jnp.zeros((), bool), out_shardings=whole)
    return Program(
        init=jax.jit(learner.init, out_shardings=states),
        begin=lambda state: Carry(copy(state), flag()),
        step=jax.jit(run, donate_argnums=0, out_shardings=outputs),
        scan=jax.jit(
            functools.partial(_epoch, run, split), donate_argnums=0, out_shardings=outputs
        ),
        copy=copy,
        shardings=states,
    )


def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)


def _epoch(
    run: Callable[[Carry, Batch], tuple[Carry, Report]],
    split: NamedSharding | None,
    carry: Carry,
    arrays: Batch,
    rows: Array,
    weights: Array,
) -> tuple[Carry, Report]:
    """Steps on the given rows of arrays that are on the device."""

    def body(carry: Carry, at: tuple[Array, Array]) -> tuple[Carry, Report]:
        batch = batch_of_rows(arrays, *at)
        if split is not None:
            batch = jax.lax.with_sharding_constraint(batch, split)
        return run(carry, batch)

    return jax.lax.scan(body, carry, (rows, weights))


def abstract(state: PyTree, shardings: PyTree | None) -> PyTree:
    """The shapes of a tree, with the shardings that its arrays are to have."""
    if shardings is None:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        state,
        shardings,
    )
