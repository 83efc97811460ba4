"""Dense contrast: what is at one voxel lies near in two views, what is elsewhere far."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, as_network, network_inputs, stream, weighted_mean
from jaxmed.networks import ProjectionHead
from jaxmed.paradigms.base._views import (
    View,
    interleave,
    one_map,
    row_weights,
    same_geometry,
    two_views,
)
from jaxmed.paradigms.self_supervised._contrast import contrast
from jaxmed.paradigms.self_supervised._embedding import Head


def dense_contrast(
    view: View,
    second_view: View | None = None,
    *,
    samples: int = 64,
    projector: Head = ProjectionHead(64, hidden=(64,), norm="none"),  # noqa: B008 (frozen)
    temperature: float = 0.2,
    output: str = "pyramid",
    level: int = 0,
    inputs: str = "image",
) -> Objective:
    r"""Contrast places of a map of features with other places of the same image.

    The loss of :func:`~jaxmed.paradigms.simclr` within each image, over the projections of
    ``samples`` random places of the map in both views: the partner of a place is the same place in
    the other view. It trains a segmenter's decoder too, which no loss on pooled features reaches.

    Args:
        view: of each image; it must leave the geometry alone. Move images before, with
            :func:`~jaxmed.paradigms.augmented`.
        second_view: of each image; ``view`` drawn again by default.
        samples: places drawn in each image, at least 2.
        projector: what stands between a place's features and the loss, on rows ``(n, features)``;
            a parameter of the objective.
        temperature: positive.
        output: the endpoint, a map ``(batch, *spatial, features)`` or a tuple of them.
        level: which of a tuple, finest first.
        inputs: the batch's images.

    Returns:
        The objective, with the metric ``contrast``.

    Raises:
        ValueError: if a number is out of its range; when traced, if the endpoint is no map, or a
            view moves voxels.

    References:
        Chaitanya et al. (2020), Contrastive learning of global and local features for medical image
        segmentation with limited annotations, NeurIPS. Pinheiro et al. (2020), Unsupervised
        learning of dense visual representations, NeurIPS.
    """
    if temperature <= 0 or samples < 2:
        raise ValueError(
            f"temperature must be positive and samples at least 2, got {temperature} and {samples}"
        )

    head = as_network(projector)

    def flat(endpoints):
        features = one_map(endpoints, output, level)
        if features.ndim < 3:
            raise ValueError(
                f"{output!r} must be a map (batch, *spatial, features), got {features.shape}"
            )
        same_geometry(features, output, view, second_view)
        return features.reshape(len(features), -1, features.shape[-1])

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        shape = jax.eval_shape(lambda images: flat(network.apply(params, state, images)[0]), images)
        own_params, own_state = head.init(stream(key, "projector"), jnp.zeros((1, shape.shape[-1])))
        return {"projector": own_params}, {"projector": own_state}

    def loss(network, params, state, batch, key):
        key, images = stream(key, "dense_contrast"), network_inputs(batch, inputs)
        pair = interleave(*two_views(view, second_view, key, images))
        endpoints, net = network.apply(
            params["net"], state["net"], pair, key=stream(key, "network"), train=True
        )
        features, n = flat(endpoints), len(images)
        places = jax.random.randint(stream(key, "places"), (n, samples), 0, features.shape[1])
        both = jnp.repeat(places, 2, axis=0)[..., None]
        rows = jnp.take_along_axis(features, both, axis=1).reshape(-1, features.shape[-1])
        ends, own = head.apply(
            params["obj"]["projector"],
            state["obj"]["projector"],
            rows,
            key=stream(key, "projector"),
            train=True,
        )
        z = ends["logits"].reshape(n, 2 * samples, -1)
        where = jnp.concatenate([places, places], axis=1)
        # A place drawn twice is its own partner, not a negative.
        same = where[:, :, None] == where[:, None, :]
        all_count = jnp.ones(2 * samples, bool)
        values = jax.vmap(lambda z, same: contrast(z, same, all_count, temperature))(z, same)
        value = weighted_mean(values.mean(1), row_weights(batch, inputs))
        state = {"net": net, "obj": {"projector": own}}
        return value, (state, {"contrast": value})

    return Objective(init, loss)
