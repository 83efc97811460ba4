"""Test-time augmentation by mirror images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from jaxmed.core import Array


def mirrored(predict: Callable[[Array], Array], axes: Sequence[int]) -> Callable[[Array], Array]:
    r"""Average a prediction over all mirror images of the input.

    :math:`\frac{1}{2^{|A|}} \sum_{S \subseteq A} m_S f(m_S x)`, with :math:`m_S` mirroring the
    axes S.

    Args:
        predict: ``(batch, *spatial, channels) -> (batch, *spatial, classes)``, probabilities rather
            than logits.
        axes: spatial axes, from 0. Use those mirrored in training.

    Returns:
        A function of the same signature, which calls ``predict`` 2^(number of axes) times.

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021.

    Examples:
        >>> keep = lambda x: x * jnp.arange(2.0)[:, None]  # 0 to the left, 1 to the right
        >>> mirrored(keep, (0,))(jnp.ones((1, 2, 1))).ravel().tolist()
        [0.5, 0.5]
    """
    axes = tuple(axes)
    if len(set(axes)) != len(axes) or any(axis < 0 for axis in axes):
        raise ValueError(f"axes are different spatial axes from 0, got {axes}")
    subsets = [s for n in range(len(axes) + 1) for s in itertools.combinations(axes, n)]

    def average(images: Array) -> Array:
        if axes and max(axes) >= images.ndim - 2:
            raise ValueError(f"mirrored along axes {axes}: images have the shape {images.shape}")
        total = 0.0
        for subset in subsets:
            turned = [axis + 1 for axis in subset]
            total = total + jnp.flip(predict(jnp.flip(images, turned)), turned)
        return jnp.asarray(total / len(subsets))

    return average
