"""BYOL and SimSiam: predict one view's projection from the other's, without negatives."""

from __future__ import annotations

import jax

from jaxmed.core import Objective, network_inputs, stream, weighted_mean
from jaxmed.networks import ProjectionHead
from jaxmed.paradigms.base._ema import check_ema_decay, ema_copy
from jaxmed.paradigms.base._schedules import Scheduled, counter_for
from jaxmed.paradigms.base._views import View, deinterleave, interleave, row_weights, two_views
from jaxmed.paradigms.self_supervised._embedding import Head, embedding, unit
from jaxmed.paradigms.self_supervised._momentum import momentum_objective


def byol(
    view: View,
    second_view: View | None = None,
    *,
    decay: Scheduled = 0.99,
    projector: Head = ProjectionHead(128, hidden=(512,)),  # noqa: B008 (a frozen dataclass)
    predictor: Head = ProjectionHead(128, hidden=(512,)),  # noqa: B008
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""Predict a momentum encoder's projection of one view from the other view.

    .. math:: \ell = (2 - 2 \cos(p_1, z'_2)) + (2 - 2 \cos(p_2, z'_1))

    with predictions p of the network's projections and projections z' of its momentum encoder,
    through which no gradient flows.

    Args:
        view: of each image, as in :mod:`jaxmed.augment`; it may move voxels.
        second_view: of each image; ``view`` drawn again by default.
        decay: ``teacher = decay * teacher + (1 - decay) * network`` after each step: in [0, 1), or
            a function of the step, as in the paper ``optax.cosine_decay_schedule(0.996, steps,
            alpha=1 / 0.996)``, which rises to 1.
        projector: behind the endpoint, in the network and its momentum encoder.
        predictor: behind the projector, in the network alone; as wide as the projector.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images.

    Returns:
        The objective, with the metric ``distance``; its state holds the ``teacher``.

    Raises:
        ValueError: if ``decay`` is outside [0, 1); when traced, if the endpoint has not one vector
            an example.

    References:
        Grill et al. (2020), Bootstrap your own latent, NeurIPS.
    """
    check_ema_decay(decay)
    online = embedding({"projector": projector, "predictor": predictor}, output)
    target = embedding({"projector": projector}, output)

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        own_params, own_state = online.init(key, network, params, state, images)
        teacher = ema_copy(
            {"net": params, "obj": {"projector": own_params["projector"]}},
            {"net": state, "obj": {"projector": own_state["projector"]}},
        )
        return own_params, {**own_state, "teacher": teacher, **counter_for(decay)}

    def loss(network, params, state, batch, key):
        key, images = stream(key, "byol"), network_inputs(batch, inputs)
        teacher = state["obj"]["teacher"]
        pair = interleave(*two_views(view, second_view, key, images))
        mine, state = online.apply(network, params, state, pair, stream(key, "network"))
        its, taught = target.apply(
            network, teacher["params"], teacher["state"], pair, stream(key, "teacher")
        )
        values = _crossed(mine["predictor"], its["projector"])
        value = weighted_mean(values, row_weights(batch, inputs))
        own = {**state["obj"], "teacher": {**teacher, "state": taught}}
        return value, ({**state, "obj": own}, {"distance": value})

    def follows(params):
        return {"net": params["net"], "obj": {"projector": params["obj"]["projector"]}}

    return momentum_objective(init, loss, decay, follows)


def simsiam(
    view: View,
    second_view: View | None = None,
    *,
    projector: Head = ProjectionHead(128, hidden=(512,)),  # noqa: B008 (a frozen dataclass)
    predictor: Head = ProjectionHead(128, hidden=(64,)),  # noqa: B008
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""Predict the projection of one view from the other, with no gradient through the target.

    BYOL without a momentum encoder, :math:`\ell = (2 - 2 \cos(p_1, z_2)) + (2 - 2 \cos(p_2, z_1))`:
    twice the paper's loss plus 2 and twice that, so that it compares with BYOL's and is 0 at best.

    Args:
        view: of each image, as in :mod:`jaxmed.augment`; it may move voxels.
        second_view: of each image; ``view`` drawn again by default.
        projector: behind the endpoint.
        predictor: behind the projector, with a bottleneck; as wide as the projector.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images.

    Returns:
        The objective, with the metric ``distance``.

    Raises:
        ValueError: when traced, if the endpoint has not one vector per example.

    References:
        Chen and He (2021), Exploring simple Siamese representation learning, CVPR.
    """
    embed = embedding({"projector": projector, "predictor": predictor}, output)

    def init(key, network, params, state, batch):
        return embed.init(key, network, params, state, network_inputs(batch, inputs))

    def loss(network, params, state, batch, key):
        key, images = stream(key, "simsiam"), network_inputs(batch, inputs)
        pair = interleave(*two_views(view, second_view, key, images))
        z, state = embed.apply(network, params, state, pair, stream(key, "network"))
        values = _crossed(z["predictor"], z["projector"])
        value = weighted_mean(values, row_weights(batch, inputs))
        return value, (state, {"distance": value})

    return Objective(init, loss)


def _crossed(predicted, projected):
    """Squared distances of unit vectors, each view's prediction to the other's projection."""
    (p1, p2), (z1, z2) = deinterleave(unit(predicted), 2), deinterleave(unit(projected), 2)
    z1, z2 = jax.lax.stop_gradient((z1, z2))
    return (2 - 2 * (p1 * z2).sum(-1)) + (2 - 2 * (p2 * z1).sum(-1))
