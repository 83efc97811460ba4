"""Features of images by networks that are not trained on them."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed.core import stream

from .lite0 import imagenet, lite0
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
    return Lite0(size).features(images)


class Lite0:
    """EfficientNet-Lite0 with ImageNet's weights, for images of one size.

    Attributes:
        size: side to which images are brought.
        params: the trunk's parameters.
        state: its state.
        width: how many features there are.
    """

    linear = (255 / 128, -127 / 128)
    """Gain and offset of pixels in [0, 1], as the network was taught them."""

    def __init__(self, size: int) -> None:
        trunk, given = imagenet(lite0()), jnp.zeros((1, size, size, 3))
        self.size = size
        self.params, self.state = trunk.init(jax.random.key(0), given)

        @jax.jit
        def apply(images: Any) -> Any:
            shape = (len(images), size, size, images.shape[-1])
            images = jax.image.resize(images, shape, "linear")
            return trunk.apply(self.params, self.state, self._as_taught(images))[0]["features"]

        self._apply = apply
        self.width = jax.eval_shape(apply, given).shape[-1]

    def _as_taught(self, images: Any) -> Any:
        gain, offset = self.linear
        images = images if images.shape[-1] == 3 else jnp.repeat(images[..., :1], 3, -1)
        return gain * images + offset

    def prepared(self, images: np.ndarray) -> np.ndarray:
        """Images in [0, 1] as models with this network take them."""
        return np.asarray(self._as_taught(images))

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, width) of images (n, height, width, channels) in [0, 1]."""
        return in_pieces(self._apply, images, 32)
