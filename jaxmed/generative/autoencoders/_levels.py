"""The latent variables of a network, level by level: their divergence and their densities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxmed.core import Array


class Level(NamedTuple):
    """The posterior and the prior of a level's latent variables, ``(batch, ...)`` each."""

    mean: Array
    log_variance: Array
    prior_mean: Array
    prior_log_variance: Array


def levels_of(endpoints: Mapping[str, Any]) -> list[Level]:
    """The levels of a network, coarsest first; one of a plain variational autoencoder.

    Raises:
        KeyError: if the network tells nothing of a posterior.
    """
    if "levels" in endpoints:
        return [Level(**{name: level[name] for name in Level._fields})
                for level in endpoints["levels"]]  # fmt: skip
    if missing := [name for name in ("mean", "log_variance") if name not in endpoints]:
        raise KeyError(
            f"the network has no {missing}; it has {sorted(endpoints)}. A variational autoencoder "
            "gives mean and log_variance of its latent, or levels of them, as networks.image_vae "
            "and networks.ladder_vae do"
        )
    mean = endpoints["mean"].astype(jnp.float32)
    zeros = jnp.zeros_like(mean)
    return [Level(mean, endpoints["log_variance"].astype(jnp.float32), zeros, zeros)]


def divergence(level: Level) -> Array:
    r"""The divergence of the posterior from the prior, of each latent number.

    .. math:: \mathrm{KL} = \tfrac12\left[\frac{(\mu - m)^2 + \sigma^2}{s^2} - 1
        - \log\frac{\sigma^2}{s^2}\right]
    """
    ratio = level.log_variance - level.prior_log_variance
    apart = jnp.square(level.mean - level.prior_mean) * jnp.exp(-level.prior_log_variance)
    return 0.5 * (jnp.exp(ratio) + apart - 1 - ratio)


def log_normal(x: Array, mean: Array, log_variance: Array) -> Array:
    """The log-density of each number under a normal distribution."""
    error = jnp.square(x - mean) * jnp.exp(-log_variance)
    return -0.5 * (error + log_variance + math.log(2 * math.pi))
