"""A data-parallel step by pmap, for those who compare it with jit over a mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import (
    Batch,
    Inputs,
    Learner,
    LearnerState,
    Metrics,
    Network,
    Objective,
    learner,
    stream,
)
from jaxmed.train._devices import Device

_AXIS = "devices"


class PmapStep(NamedTuple):
    """What :func:`pmap_step` returns.

    Attributes:
        replicate: ``state -> states``: a copy for each device, along a new first axis.
        step: ``(states, batch) -> (states, metrics)``: the batch as for any learner.
        single: ``states -> state``: the first device's.
    """

    replicate: Callable[[LearnerState], LearnerState]
    step: Callable[[LearnerState, Batch], tuple[LearnerState, Metrics]]
    single: Callable[[LearnerState], LearnerState]


def pmap_step(
    network: Network,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    devices: Sequence[Device] | None = None,
    inputs: Inputs = "image",
) -> PmapStep:
    """A training step mapped over devices by ``jax.pmap``, gradients averaged between them.

    ``fit(..., devices=)`` is the main path; this one is to compare with. It differs in that each
    device normalises over its own rows (BatchNorm's running statistics are averaged) and draws
    its own dropout. Each device's loss is weighted by its share of the examples, so that padding
    changes nothing where the loss is a mean over examples.

    Args:
        network: any network.
        objective: any objective.
        optimizer: any Optax transformation.
        devices: all local ones by default.
        inputs: as for :func:`jaxmed.core.learner`, whose ``init`` makes the state.

    Returns:
        The functions. ``step`` returns the objective's metrics and the loss, and raises
        ``ValueError`` if the rows do not divide over the devices.
    """
    devices = list(jax.local_devices() if devices is None else devices)
    n = len(devices)

    def loss(network, params, state, batch, key):
        key = stream(key, jax.lax.axis_index(_AXIS))
        value, (state, metrics) = objective.loss(network, params, state, batch, key)
        share = jnp.ones(())
        if "weight" in batch:
            count = batch["weight"].sum()
            share = count / jnp.maximum(jax.lax.pmean(count, _AXIS), 1e-12)
        metrics = {name: metric * share for name, metric in metrics.items()}
        return value * share, (state, metrics)

    inner = optax.with_extra_args_support(optimizer)

    def update(updates, state, params=None, *, value, grad, value_fn, weight):
        """The optimizer's update by the gradient, loss and weight of all devices."""
        del grad
        updates, value, weight = jax.lax.pmean((updates, value, weight), _AXIS)
        return inner.update(
            updates, state, params, value=value, grad=updates, value_fn=value_fn, weight=weight
        )

    shared = optax.GradientTransformationExtraArgs(inner.init, update)
    local: Learner = learner(network, objective._replace(loss=loss), shared, inputs=inputs)

    def step(state: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        new, metrics = local.step(state, batch)
        del metrics["gradient_norm"]  # Of a device's own part, which says little.
        mean_state = jax.tree.map(
            lambda x: jax.lax.pmean(x, _AXIS) if jnp.issubdtype(x.dtype, jnp.inexact) else x,
            new.state,
        )
        return new._replace(state=mean_state), jax.lax.pmean(metrics, _AXIS)

    mapped = jax.pmap(step, axis_name=_AXIS, devices=devices)

    def run(states: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        rows = {name: len(value) for name, value in batch.items()}
        for name, count in rows.items():
            if count % n:
                raise ValueError(
                    f"a batch of {count} rows ({name!r}) does not divide over {n} devices"
                )
        split = {k: jnp.reshape(v, (n, len(v) // n, *v.shape[1:])) for k, v in batch.items()}
        states, metrics = mapped(states, split)
        return states, {name: value[0] for name, value in metrics.items()}

    def replicate(state: LearnerState) -> LearnerState:
        return jax.tree.map(lambda x: jnp.stack([x] * n), state)

    def single(states: LearnerState) -> LearnerState:
        return jax.tree.map(lambda x: x[0], states)

    return PmapStep(replicate, run, single)
