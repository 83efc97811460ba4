"""Features of images by networks that are not trained on them."""

from __future__ import annotations

from typing import Literal

import jax
import numpy as np

import jaxmed as jm
from jaxmed.core import stream

from .pieces import in_pieces

Frozen = Literal["pixels", "random", "imagenet"]


def frozen_features(images: np.ndarray, kind: Frozen, *, size: int = 128) -> np.ndarray:
    """(n, d): pixels, maps of random convolutions, or features of ImageNet's network.

    Args:
        images: (n, height, width, channels) in [0, 1].
        kind: which.
        size: side to which images are brought for ImageNet's network.
    """
    if kind == "pixels":
        return images.reshape(len(images), -1)
    if kind == "random":
        network = jm.from_linen(jm.networks.random_convolutions(maps=(32,), kernel=7, window=4))
        params, state = network.init(stream(jax.random.key(0), "filters"), images[:1])

        def apply(x):
            pooled = network.apply(params, state, x)[0]["pyramid"][-1]
            return pooled.reshape(len(x), -1)

        return in_pieces(jax.jit(apply), images, 500)
    network = jm.from_linen(jm.networks.efficientnet_lite0(1000))
    params, state = jm.networks.imagenet_lite0()

    def apply_lite0(x):
        x = jax.image.resize(x, (len(x), size, size, x.shape[-1]), "linear")
        x = x if x.shape[-1] == 3 else jax.numpy.repeat(x[..., :1], 3, -1)
        return network.apply(params, state, (255 * x - 127) / 128)[0]["features"]

    return in_pieces(jax.jit(apply_lite0), images, 32)
