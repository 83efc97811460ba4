"""Learning without forgetting: new images keep their old answers."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Inputs,
    Objective,
    PyTree,
    Variables,
    flatten_paths,
    merge_named,
    network_inputs,
    pick,
    stream,
    weighted_mean,
    within,
)
from jaxmed.paradigms.base._consistency import per_example
from jaxmed.paradigms.base._schedules import check_weight
from jaxmed.paradigms.base._views import row_weights


def lwf(
    objective: Objective,
    past: Variables,
    *,
    weight: float = 1.0,
    temperature: float = 2.0,
    output: str = "logits",
    inputs: Inputs = "image",
) -> Objective:
    r"""Add the divergence from what the network answered before, on the images of the new task.

    .. math:: \lambda T^2 \, \mathrm{KL}\big(\mathrm{softmax}(z^* / T) \,\|\,
        \mathrm{softmax}(z / T)\big)

    No image of an earlier task is needed; what these have in common with the new ones is kept.

    Args:
        objective: what is learned now.
        past: parameters and state of the network after earlier tasks.
        weight: :math:`\lambda`.
        temperature: T.
        output: the endpoint, logits over classes on the last axis: with a head for each task, that
            of an earlier one.
        inputs: the batch's images.

    Returns:
        The objective, with the past in its state, and the metric ``distillation``.

    Raises:
        ValueError: if the weight is negative or the temperature not positive; at ``init``, if the
            past is of another network; when traced, if the endpoint was of another shape.

    References:
        Li and Hoiem (2018), Learning without forgetting, IEEE Transactions on Pattern Analysis and
        Machine Intelligence 40.
    """
    check_weight(weight)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    inner = within(objective, "objective")

    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        _check_alike(params, past.params)
        before = jax.tree.map(jnp.copy, {"params": past.params, "state": past.state})
        return {"objective": own_params}, {"objective": own_state, "before": before}

    def loss(network, params, state, batch, key):
        value, (after, metrics) = inner.loss(network, params, state, batch, key)
        images = network_inputs(batch, inputs)
        before = jax.lax.stop_gradient(state["obj"]["before"])
        old, _ = network.apply(before["params"], before["state"], images)
        new, _ = network.apply(
            params["net"], state["net"], images, key=stream(key, "lwf"), train=True
        )
        z_old, z_new = (
            pick(ends, output, "network").astype(jnp.float32) / temperature for ends in (old, new)
        )
        if z_old.shape != z_new.shape:
            raise ValueError(
                f"{output!r} has the shape {z_new.shape} and had {z_old.shape} in the past: name "
                "the head of an earlier task as output"
            )
        log_old, log_new = jax.nn.log_softmax(z_old), jax.nn.log_softmax(z_new)
        divergence = (jnp.exp(log_old) * (log_old - log_new)).sum(-1)
        rows = row_weights(batch, inputs) if isinstance(inputs, str) else batch.get("weight")
        kept = weighted_mean(per_example(divergence), rows)
        value = value + weight * temperature**2 * kept
        return value, (after, merge_named(metrics, {"distillation": kept}))

    return inner._replace(init=init, loss=loss)


def _check_alike(params: PyTree, past: PyTree) -> None:
    """Refuse a past that is not of this network, by the first parameter that differs."""
    now, before = (
        {path: jnp.shape(leaf) for path, leaf in flatten_paths(tree).items()}
        for tree in (params, past)
    )
    if other := sorted(set(now.items()) ^ set(before.items())):
        path = other[0][0]
        raise ValueError(
            f"the past is of another network: {path!r} has the shape {now.get(path)} in this one "
            f"and {before.get(path)} in the past"
        )
