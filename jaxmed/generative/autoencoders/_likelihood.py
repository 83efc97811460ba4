"""How probable an image is given what a decoder says of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key

Likelihood = Literal["gaussian", "laplace", "bernoulli", "discretised"]
_LEVELS = 256


class Distribution(NamedTuple):
    """A distribution of voxels, each independent of the others given the decoder's answer.

    ``log_prob(logits, log_scale, images)`` is of each voxel, ``mean(logits)`` the image that is
    shown, ``draw(key, logits, log_scale)`` an image with the voxels' noise. ``discrete`` says
    that probabilities are of values and not densities, so that bits of them mean something.
    """

    log_prob: Callable[[Array, Array | float, Array], Array]
    mean: Callable[[Array], Array]
    draw: Callable[[Key, Array, Array | float], Array]
    discrete: bool


def _gaussian(logits, log_scale, images):
    error = (images - logits) * jnp.exp(-log_scale)
    return -0.5 * jnp.square(error) - log_scale - 0.5 * math.log(2 * math.pi)


def _laplace(logits, log_scale, images):
    return -jnp.abs(images - logits) * jnp.exp(-log_scale) - log_scale - math.log(2)


def _bernoulli(logits, log_scale, images):
    del log_scale
    # Grey values in [0, 1] are probabilities that a voxel is 1: the cross-entropy.
    return images * jax.nn.log_sigmoid(logits) + (1 - images) * jax.nn.log_sigmoid(-logits)


def _discretised(logits, log_scale, images):
    """The mass of a logistic distribution on each of 256 even steps from -1 to 1."""
    half, sharp = 1.0 / (_LEVELS - 1), jnp.exp(-log_scale)
    upper = (images - logits + half) * sharp
    lower = (images - logits - half) * sharp
    # log(s(u) - s(l)) = log s(u) + log s(-l) + log(1 - exp(l - u)), exact and never of 0.
    gap = jnp.log(-jnp.expm1(-2 * half * sharp))
    middle = jax.nn.log_sigmoid(upper) + jax.nn.log_sigmoid(-lower) + gap
    # The outermost steps have all that is beyond them.
    first, last = jax.nn.log_sigmoid(upper), jax.nn.log_sigmoid(-lower)
    return jnp.where(images < -1 + half, first, jnp.where(images > 1 - half, last, middle))


def _as_it_is(logits):
    return logits


_DISTRIBUTIONS: dict[str, Distribution] = {
    "gaussian": Distribution(
        _gaussian,
        _as_it_is,
        lambda key, x, s: x + jnp.exp(s) * jax.random.normal(key, x.shape),
        False,
    ),
    "laplace": Distribution(
        _laplace,
        _as_it_is,
        lambda key, x, s: x + jnp.exp(s) * jax.random.laplace(key, x.shape),
        False,
    ),
    "bernoulli": Distribution(
        _bernoulli,
        jax.nn.sigmoid,
        lambda key, x, s: (jax.random.uniform(key, x.shape) < jax.nn.sigmoid(x)).astype(
            jnp.float32
        ),
        True,
    ),
    "discretised": Distribution(
        _discretised,
        lambda logits: jnp.clip(logits, -1, 1),
        lambda key, x, s: _stepped(x + jnp.exp(s) * jax.random.logistic(key, x.shape)),
        True,
    ),
}


def _stepped(images: Array) -> Array:
    steps = (_LEVELS - 1) / 2
    return jnp.round((jnp.clip(images, -1, 1) + 1) * steps) / steps - 1


def distribution(likelihood: Likelihood) -> Distribution:
    """A likelihood's functions.

    Raises:
        ValueError: for one that there is not.
    """
    if likelihood not in _DISTRIBUTIONS:
        names = ", ".join(get_args(Likelihood))
        raise ValueError(f"likelihood is one of {names}, got {likelihood!r}")
    return _DISTRIBUTIONS[likelihood]


def log_likelihoods(likelihood: Likelihood, endpoints, images: Array) -> Array:
    """The log-likelihood of each image in nats, summed over its voxels: ``(batch,)`` float32.

    A network without an endpoint ``log_scale`` has a scale of 1.

    Raises:
        KeyError: if the network decodes nothing.
        ValueError: if what it decodes has another shape than the images.
    """
    if "logits" not in endpoints:
        raise KeyError(f"the network has no 'logits', its decoded images; it has "
                       f"{sorted(endpoints)}")  # fmt: skip
    logits, images = endpoints["logits"].astype(jnp.float32), images.astype(jnp.float32)
    if logits.shape != images.shape:
        raise ValueError(f"the network decodes {logits.shape} for images {images.shape}")
    scale = endpoints.get("log_scale", 0.0)
    return per_image(distribution(likelihood).log_prob(logits, scale, images))


def per_image(values: Array) -> Array:
    """The sum over all axes but the first."""
    return values.reshape(values.shape[0], -1).sum(1)
