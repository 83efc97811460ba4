"""Rotation: by how many quarter turns is the image turned?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Objective, network_inputs, stream, weighted_mean
from jaxmed.paradigms.base._views import View, apply_view, row_weights
from jaxmed.paradigms.self_supervised._embedding import Head, embedding


def rotation(
    *,
    planes: Sequence[tuple[int, int]] | None = None,
    view: View | None = None,
    head: Head | None = None,
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    """Tell by how many quarter turns, and in which plane, each image was turned.

    Classes are the image as it is, and one, two or three quarter turns in each plane: 4 in two
    dimensions, 10 in three, each as likely.

    Args:
        planes: pairs of spatial axes of equal length, as :func:`jnp.rot90` counts from 0; all
            pairs by default. A volume with long voxels has one that means something: ``[(1, 2)]``.
        view: of each image, before it is turned.
        head: what gives one logit per class; one linear layer by default, a parameter of the
            objective.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images, ``(batch, *spatial, channels)``.

    Returns:
        The objective, with metrics ``cross_entropy`` and ``accuracy``.

    Raises:
        ValueError: when traced, if the axes of a plane are not equally long, or the endpoint has
            not one vector per example.

    References:
        Gidaris, Singh and Komodakis (2018), Unsupervised representation learning by predicting
        image rotations, ICLR. In 3D: Taleb et al. (2020), 3D self-supervised methods for medical
        imaging, NeurIPS.
    """

    def turns(images):
        rank = images.ndim - 2
        pairs = list(itertools.combinations(range(rank), 2)) if planes is None else list(planes)
        for a, b in pairs:
            if not (0 <= a < rank and 0 <= b < rank and a != b):
                raise ValueError(f"the plane {(a, b)} is not a plane of the images {images.shape}")
            if images.shape[1 + a] != images.shape[1 + b]:
                raise ValueError(
                    f"rotation in the plane {(a, b)} needs axes of one length, but the images are "
                    f"{images.shape}: crop them, or name other planes"
                )
        if not pairs:
            raise ValueError(f"there is no plane to turn the images {images.shape} in")
        return [(0, pairs[0]), *itertools.product((1, 2, 3), pairs)]

    def embed(classes):
        return embedding({"head": nn.Dense(classes) if head is None else head}, output)

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        return embed(len(turns(images))).init(key, network, params, state, images)

    def loss(network, params, state, batch, key):
        key, images = stream(key, "rotation"), network_inputs(batch, inputs)
        images, classes = apply_view(view, stream(key, "view"), images), turns(images)
        answer = jax.random.randint(stream(key, "turn"), (len(images),), 0, len(classes))
        turned = images
        for i, (k, (a, b)) in enumerate(classes):
            chosen = (answer == i).reshape(-1, *[1] * (images.ndim - 1))
            turned = jnp.where(chosen, jnp.rot90(images, k, axes=(1 + a, 1 + b)), turned)
        outputs, state = embed(len(classes)).apply(
            network, params, state, turned, stream(key, "network")
        )
        return answered(outputs["head"], answer, row_weights(batch, inputs), state)

    return Objective(init, loss)


def answered(logits, answer, weight, state):
    """The cross-entropy of a pretext task, and how often it was answered right."""
    values = optax.softmax_cross_entropy_with_integer_labels(logits, answer)
    value = weighted_mean(values, weight)
    right = weighted_mean((logits.argmax(-1) == answer).astype(jnp.float32), weight)
    return value, (state, {"cross_entropy": value, "accuracy": right})
