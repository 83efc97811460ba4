"""Penalties on a critic's gradient in its images."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key

Score = Callable[[Array], Array]
"""From images ``(batch, *spatial, channels)`` to one score an image, ``(batch,)``."""


def r1_penalty(score: Score, images: Array) -> Array:
    r"""Half the squared gradient of a critic's scores, at real images.

    .. math:: \tfrac12 \lVert \nabla_x D(x) \rVert^2

    Args:
        score: the critic, with one score an image, which no other image changes.
        images: ``(batch, *spatial, channels)``.

    Returns:
        ``(batch,)``.

    References:
        Mescheder, Geiger and Nowozin (2018), Which training methods for GANs do actually converge?,
        ICML.

    >>> r1_penalty(lambda x: 3 * x.sum((1, 2)), jnp.ones((2, 4, 1))).tolist()
    [18.0, 18.0]
    """
    return 0.5 * _squared_gradient(score, images)


def gradient_penalty(key: Key, score: Score, real: Array, fake: Array) -> Array:
    r"""How far the norm of a critic's gradient is from 1, between real and made images.

    .. math:: (\lVert \nabla_x D(x) \rVert - 1)^2, \qquad x = u\, x_{real} + (1 - u)\, x_{fake}

    Args:
        key: random key, of one uniform u an image.
        score: the critic, with one score an image, which no other image changes.
        real: ``(batch, *spatial, channels)``.
        fake: of the same shape.

    Returns:
        ``(batch,)``.

    Raises:
        ValueError: if the shapes differ.

    References:
        Gulrajani et al. (2017), Improved training of Wasserstein GANs, NeurIPS.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real and made images lie apart: {real.shape} and {fake.shape}")
    share = jax.random.uniform(key, (real.shape[0], *[1] * (real.ndim - 1)))
    between = share * real + (1 - share) * fake
    squared = _squared_gradient(score, between)
    # The root has no slope at 0; there the penalty's own is 0 too.
    norm = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return jnp.square(norm - 1)


def _squared_gradient(score: Score, images: Array) -> Array:
    gradient = jax.grad(lambda x: score(x).sum())(images.astype(jnp.float32))
    return jnp.square(gradient).reshape(len(gradient), -1).sum(1)
