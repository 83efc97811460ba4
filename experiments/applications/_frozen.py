"""A network of ImageNet that is not trained, and a linear answer on its features."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed.inference import ImageModel, ImageRecipe, image_model

from .._common.lite0 import imagenet, lite0
from .._common.pieces import in_pieces
from .._common.probe import Probe

_GAIN, _OFFSET = 255 / 128, -127 / 128  # Of pixels in [0, 1], as the network was taught them.
_PIECE = 32


class Frozen:
    """Features of images by EfficientNet-Lite0, and models that answer from them."""

    def __init__(self, size: int) -> None:
        self._size = size
        trunk, given = imagenet(lite0()), jnp.zeros((1, size, size, 3))
        self._variables = trunk.init(jax.random.key(0), given)

        @jax.jit
        def features(images: Any) -> Any:
            images = images if images.shape[-1] == 3 else jnp.repeat(images, 3, -1)
            return trunk.apply(*self._variables, _GAIN * images + _OFFSET)[0]["features"]

        self._features = features
        self._width = jax.eval_shape(features, given).shape[-1]

    def prepared(self, images: np.ndarray) -> np.ndarray:
        """Images in [0, 1] as the models take them."""
        images = images if images.shape[-1] == 3 else np.repeat(images, 3, -1)
        return _GAIN * images + _OFFSET

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, f) of images (n, size, size, channels) in [0, 1]."""
        return in_pieces(self._features, images, _PIECE)

    def model(self, probe: Probe, classes: tuple[str, ...], channels: int) -> ImageModel:
        """The network and a probe as one model, which is saved and explained as others are."""
        names = ("red", "green", "blue") if channels == 3 else ("grey",)
        recipe = ImageRecipe(
            "binary" if len(classes) == 2 else "multi-class", classes, names,
            (self._size, self._size),
            jm.with_heads(lite0(), {"logits": nn.Dense(len(classes))}),
            normalisation="linear", linear=(_GAIN, _OFFSET), repeat=3 // channels,
        )  # fmt: skip
        params, state = self._variables
        kernel, bias = (jnp.asarray(part, jnp.float32) for part in probe.linear(self._width))
        head = {"kernel": kernel, "bias": bias}
        return image_model(
            recipe,
            {"trunk": params, "heads": {"logits": head}},
            {"trunk": state, "heads": {"logits": {}}},
        )
