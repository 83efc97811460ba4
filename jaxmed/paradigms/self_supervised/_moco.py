"""MoCo: contrast with a queue of what a momentum encoder has seen."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, network_inputs, stream, weighted_mean
from jaxmed.networks import ProjectionHead
from jaxmed.paradigms.base._ema import check_ema_decay, ema_copy
from jaxmed.paradigms.base._schedules import Scheduled, counter_for
from jaxmed.paradigms.base._views import View, row_weights, two_views
from jaxmed.paradigms.self_supervised._embedding import Head, embedding, unit
from jaxmed.paradigms.self_supervised._momentum import momentum_objective


def moco(
    view: View,
    second_view: View | None = None,
    *,
    queue: int = 4096,
    decay: Scheduled = 0.99,
    projector: Head = ProjectionHead(128, hidden=(512,)),  # noqa: B008 (a frozen dataclass)
    temperature: float = 0.2,
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""Contrast a view with a momentum encoder's of the same image, against a queue of others.

    .. math:: \ell = -\log \frac{e^{\cos(q, k) / \tau}}{e^{\cos(q, k) / \tau} + \sum_j e^{\cos(q,
        k_j) / \tau}}

    q is the network's projection of one view, k the momentum encoder's of the other,
    :math:`k_j` the queue: the momentum encoder's last ``queue`` projections, newest first. Small
    batches, as volumes force them, have many negatives so. The queue starts with random
    directions; padding rows never enter it.

    Args:
        view: what the network sees of each image; it may move voxels.
        second_view: what the momentum encoder sees; ``view`` drawn again by default.
        queue: how many projections are kept.
        decay: ``teacher = decay * teacher + (1 - decay) * network`` after each step: in [0, 1), or
            a function of the step.
        projector: what stands between the endpoint and the loss; parameters of the objective.
        temperature: tau, positive.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images.

    Returns:
        The objective, with the metric ``contrast``; its state holds the momentum encoder
        ``teacher`` and the ``queue`` ``(queue, d)`` of unit vectors.

    Raises:
        ValueError: if a number is out of its range; when traced, if the endpoint has not one
            vector per example.

    References:
        He et al. (2020), Momentum contrast for unsupervised visual representation learning, CVPR.
        Chen et al. (2020), Improved baselines with momentum contrastive learning, arXiv:2003.04297.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if queue < 1:
        raise ValueError(f"queue must hold at least one projection, got {queue}")
    check_ema_decay(decay)
    embed = embedding({"projector": projector}, output)

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        own_params, own_state = embed.init(key, network, params, state, images)
        whole = {"net": params, "obj": own_params}, {"net": state, "obj": own_state}
        z, _ = jax.eval_shape(lambda: embed.apply(network, *whole, images, key))
        start = jax.random.normal(stream(key, "queue"), (queue, z["projector"].shape[-1]))
        own = {"teacher": ema_copy(*whole), "queue": unit(start), **counter_for(decay)}
        return own_params, {**own_state, **own}

    def loss(network, params, state, batch, key):
        key, images = stream(key, "moco"), network_inputs(batch, inputs)
        own, teacher = state["obj"], state["obj"]["teacher"]
        first, other = two_views(view, second_view, key, images)
        q, state = embed.apply(network, params, state, first, stream(key, "network"))
        k, taught = embed.apply(
            network, teacher["params"], teacher["state"], other, stream(key, "teacher")
        )
        q, k = unit(q["projector"]), jax.lax.stop_gradient(unit(k["projector"]))
        positive = (q * k).sum(-1, keepdims=True)
        cosines = jnp.concatenate([positive, q @ own["queue"].T], axis=1)
        values = -jax.nn.log_softmax(cosines / temperature)[:, 0]
        weight = row_weights(batch, inputs)
        value = weighted_mean(values, weight)
        # Padding goes behind all else, so that the oldest leave for real rows alone.
        padding = jnp.zeros(len(k)) if weight is None else (weight == 0).astype(jnp.float32)
        order = jnp.argsort(jnp.concatenate([padding, jnp.zeros(queue)]), stable=True)[:queue]
        own = {
            **state["obj"],
            "teacher": {**teacher, "state": taught},
            "queue": jnp.concatenate([k, own["queue"]])[order],
        }
        return value, ({"net": state["net"], "obj": own}, {"contrast": value})

    return momentum_objective(init, loss, decay)
