"""The objective of diffusion models and flows: guess, from a noisy image, what it was made of."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Batch,
    Key,
    Objective,
    network_inputs,
    pick,
    stateless,
    stream,
    weighted_mean,
)
from jaxmed.generative.diffusion._denoise import denoiser_given, per_image, predicted
from jaxmed.generative.diffusion._process import Process


def denoising(
    process: Process,
    *,
    label: str | None = None,
    map: str | None = None,
    drop: float = 0.0,
    inputs: str = "image",
    output: str = "logits",
) -> Objective:
    r"""Predict what a noisy image was made of, at times drawn anew for each example and step.

    .. math:: \ell = w(t)\, \overline{(F(x_t, t) - F^*(x_0, \epsilon, t))^2},
        \qquad x_t = a(t) x_0 + b(t) \epsilon

    The times of a batch are spread evenly over their distribution, each by itself drawn from it,
    which makes the loss less noisy (Kingma et al. 2021).

    Args:
        process: of the noise, and what is predicted: :func:`ddpm`, :func:`edm`, :func:`flow`.
        label: the batch's classes ``(batch,)``, for a network that is told the class; a negative
            one is not known.
        map: the batch's condition that lies on the image, ``(batch, *spatial, channels)``: one
            number or more a voxel, such as ``jax.nn.one_hot`` of a mask, or another image.
        drop: probability that an example's conditions are withheld, so that the network also draws
            without, as guidance needs (Ho and Salimans 2022): usually 0.1.
        inputs: the batch's images; scale them to about [-1, 1].
        output: the network's endpoint that predicts, of the images' shape.

    Returns:
        The objective, for any network from a dict of ``image`` and ``time`` ``(batch,)`` (and
        ``label``, ``map``, and ``known`` ``(batch,)``, 0 where both are withheld), such as
        :func:`jaxmed.networks.denoiser_unet` or :func:`timed`. Average its parameters
        (:func:`jaxmed.train.parameter_average`): images drawn from the average are better.

    Raises:
        ValueError: for ``drop`` outside [0, 1), or without a condition; when traced, for arrays
            whose shapes do not match.
        KeyError: when traced, if the batch or the network lacks a name.

    References:
        Ho, Jain and Abbeel (2020), Denoising diffusion probabilistic models, NeurIPS. Ho and
        Salimans (2022), Classifier-free diffusion guidance, arXiv:2207.12598. Kingma et al. (2021),
        Variational diffusion models, NeurIPS.

    >>> from jaxmed.generative import edm, timed
    >>> import jaxmed as jm
    >>> network = timed(jm.from_linen(jm.networks.unet(1, plan=jm.networks.plan_unet((8, 8)))))
    >>> learner = jm.learner(network, denoising(edm()), jm.train.optimizer("adam", 1e-3))
    >>> state = jax.eval_shape(learner.init, jax.random.key(0), {"image": jnp.ones((2, 8, 8, 1))})
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop is a probability in [0, 1), got {drop}")
    if drop and label is None and map is None:
        raise ValueError("drop withholds conditions, and there are none: give label or map")

    def loss(network, params, state, batch, key):
        images = jnp.asarray(network_inputs(batch, inputs), jnp.float32)
        own = stream(key, "denoising")
        t = process.training_times(spread_evenly(stream(own, "time"), len(images)))
        noise = normal(stream(own, "noise"), images.shape)
        condition = conditions_of(stream(own, "drop"), batch, images, label, map, drop)
        given = denoiser_given(process, process.noisy(images, noise, t), t, condition)
        prediction, net = predicted(
            network, params["net"], state["net"], given, output, key=key, train=True
        )
        error = jnp.square(prediction - process.target(images, noise, t))
        values = (error * per_image(process.loss_weight(t), images)).reshape(len(images), -1)
        value = weighted_mean(values.mean(1), batch.get("weight"))
        return value, ({**state, "net": net}, {})

    return stateless(loss)


def spread_evenly(key: Key, count: int) -> Array:
    """Numbers from [0, 1), each uniform, and one in each of ``count`` parts: ``(count,)``."""
    return (jax.random.uniform(key) + jnp.arange(count) / count) % 1.0


def normal(key: Key, shape: tuple[int, ...]) -> Array:
    """Normal numbers, drawn flat: XLA on CPU compiles arrays of many axes for long."""
    size = 1
    for n in shape:
        size *= n
    return jax.random.normal(key, (size,)).reshape(shape)


def conditions_of(
    key: Key, batch: Batch, images: Array, label: str | None, map: str | None, drop: float
) -> dict[str, Array]:
    """The conditions of a batch as a network is given them."""
    found: dict[str, Array] = {}
    if label is not None:
        found["label"] = pick(batch, label)
    if map is not None:
        found["map"] = checked_map(pick(batch, map), images, map)
    if drop:
        found["known"] = jax.random.bernoulli(key, 1 - drop, (len(images),)).astype(jnp.float32)
    return found


def checked_map(maps: Array, images: Array, name: str) -> Array:
    """A map that lies on images, or the error that says what it is instead."""
    if maps.shape[:-1] != images.shape[:-1] or not jnp.issubdtype(maps.dtype, jnp.floating):
        raise ValueError(
            f"{name!r} is {maps.dtype}{list(maps.shape)}; a map is floating and lies on the images "
            f"{list(images.shape)}, channels last. Of a mask of whole numbers give "
            "jax.nn.one_hot(mask, classes)"
        )
    return maps


def condition_rows(condition: Mapping[str, Array]) -> dict[str, Array]:
    """Conditions of a draw as a network is given them."""
    return {name: condition[name] for name in ("label", "map") if name in condition}
