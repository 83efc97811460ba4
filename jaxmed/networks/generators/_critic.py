"""A critic of images: one score a patch, or one an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.generators._given import LabelEmbedding, given_arrays
from jaxmed.networks.layers._convolution import (
    Conv,
    at_least_float32,
    global_average,
    he_fan_in,
    spatial_rank,
)
from jaxmed.networks.layers._norm import make_norm


class PatchCritic(nn.Module):
    """Critic of strided convolutions: a score for each patch of the image that a voxel looks at.

    A class enters as a projection (Miyato and Koyama 2018): the inner product of its vector and the
    features is added to the score. A map, such as the image that was translated, is joined to the
    image as channels.

    Attributes:
        features: channels of each strided convolution; more of them look at larger patches.
        kernel: window of the convolutions in voxels.
        classes: number of classes of a conditional critic; 0 for none.
        pooled: whether the features are averaged over the image, which gets one score.
        norm: normalisation, see :func:`make_norm`, of all layers but the first. Penalties on the
            gradient are of single examples: keep it from `"batch"` with them.
        slope: negative slope of the leaky ReLU.
        dtype: dtype of the computation; scores are float32.

    References:
        Isola et al., Image-to-image translation with conditional adversarial networks, CVPR 2017.
        Miyato and Koyama, cGANs with projection discriminator, ICLR 2018.
    """

    features: tuple[int, ...] = (32, 64, 128)
    kernel: int = 4
    classes: int = 0
    pooled: bool = False
    norm: str | Callable[..., nn.Module] = "none"
    slope: float = 0.2
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array | dict[str, Array], *, train: bool = False) -> Endpoints:
        """Map images, or `{"image", "label", "map"}`, to scores.

        Returns:
            `logits` `(batch, *patches, 1)`, or `(batch, 1)` if pooled, and `features`
            `(batch, f)`, the last map's spatial mean.

        Raises:
            ValueError: for a label without classes, none with them, a map of another size, or an
                image with fewer voxels than the strides need.
        """
        given = given_arrays(inputs, "image", ("image", "map"), classes=self.classes)
        x = given["image"]
        rank = spatial_rank(x)
        if min(x.shape[1:-1]) < 2 ** (len(self.features) - 1):
            raise ValueError(
                f"{len(self.features)} convolutions halve each axis: the image {x.shape} has too "
                "few voxels"
            )
        if "map" in given:
            if given["map"].shape[:-1] != x.shape[:-1]:
                raise ValueError(
                    f"the map {given['map'].shape} is of no image {x.shape}: they lie voxel on "
                    "voxel"
                )
            x = jnp.concatenate([x, given["map"].astype(x.dtype)], -1)
        for i, width in enumerate(self.features):
            conv = Conv(
                width, self.kernel, 2, dtype=self.dtype, kernel_init=he_fan_in, name=f"conv{i + 1}"
            )
            x = conv(x)
            if i > 0:
                x = make_norm(self.norm, name=f"norm{i + 1}", dtype=self.dtype)(x, train=train)
            x = jax.nn.leaky_relu(x, self.slope)
        pooled = global_average(x)
        read = pooled.reshape(len(pooled), *[1] * rank, -1) if self.pooled else x
        score = Conv(1, 1, dtype=self.dtype, kernel_init=he_fan_in, name="score")(read)
        score = at_least_float32(score)
        if self.classes:
            embedding = LabelEmbedding(self.classes, self.features[-1], name="label")
            vector = embedding(given["label"]).reshape(len(x), *[1] * rank, -1)
            product = (vector * at_least_float32(read)).sum(-1, keepdims=True)
            score += product * self.features[-1] ** -0.5
        return {"logits": score.reshape(len(x), 1) if self.pooled else score, "features": pooled}


def patch_critic(**options: Any) -> PatchCritic:
    """Create a critic of patches; see :class:`PatchCritic` for the options.

    >>> net = patch_critic(features=(4, 8))
    >>> key, x = jax.random.key(0), jnp.ones((1, 8, 8, 8, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["logits"].shape
    (1, 2, 2, 2, 1)
    """
    return PatchCritic(**options)
