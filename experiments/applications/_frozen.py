"""A linear answer on ImageNet's features, as a model that is saved and explained as others are."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

import jaxmed as jm
from jaxmed.inference import ImageModel, ImageRecipe, image_model

from .._common.frozen import Lite0
from .._common.lite0 import lite0
from .._common.probe import Probe


def answering(frozen: Lite0, probe: Probe, classes: tuple[str, ...], channels: int) -> ImageModel:
    """The network and a probe of its features as one model.

    Args:
        frozen: the network.
        probe: of its features.
        classes: their names.
        channels: of the images, one or three.
    """
    names = ("red", "green", "blue") if channels == 3 else ("grey",)
    recipe = ImageRecipe(
        "binary" if len(classes) == 2 else "multi-class", classes, names,
        (frozen.size, frozen.size), jm.with_heads(lite0(), {"logits": nn.Dense(len(classes))}),
        normalisation="linear", linear=frozen.linear, repeat=3 // channels,
    )  # fmt: skip
    kernel, bias = (jnp.asarray(part, jnp.float32) for part in probe.linear(frozen.width))
    head = {"kernel": kernel, "bias": bias}
    return image_model(
        recipe,
        {"trunk": frozen.params, "heads": {"logits": head}},
        {"trunk": frozen.state, "heads": {"logits": {}}},
    )
