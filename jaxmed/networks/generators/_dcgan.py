"""A generator of upsampling convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.generators._blocks import FiLM, doubled, halved_shapes
from jaxmed.networks.generators._given import LabelEmbedding, given_arrays
from jaxmed.networks.layers._convolution import Conv, at_least_float32, he_fan_in
from jaxmed.networks.layers._norm import make_norm


class DCGANGenerator(nn.Module):
    """Generator of a DCGAN: a dense layer to a coarse map, then doubling and convolution.

    The original's transposed convolutions draw chequerboards; here each voxel is repeated and then
    convolved (Odena et al. 2016). A class scales and shifts the channels after each normalisation.

    Attributes:
        shape: spatial shape of the image, of one to three axes.
        channels: channels of the image.
        features: channels at each scale, coarsest first; axes double from one to the next.
        classes: number of classes of a conditional generator; 0 for none.
        norm: normalisation, see :func:`make_norm`.
        bounded: whether images end in a tanh, within [-1, 1].
        dtype: dtype of the computation; the image is float32.

    References:
        Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional
        generative adversarial networks, ICLR 2016. Odena, Dumoulin and Olah, Deconvolution and
        checkerboard artifacts, Distill 2016.
    """

    shape: tuple[int, ...]
    channels: int = 1
    features: tuple[int, ...] = (128, 64, 32)
    classes: int = 0
    norm: str | Callable[..., nn.Module] = "batch"
    bounded: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array | dict[str, Array], *, train: bool = False) -> Endpoints:
        """Map noise `(batch, n)`, or `{"noise", "label"}`, to `logits` `(batch, *shape, c)`.

        Raises:
            ValueError: if the noise is not `(batch, n)`, or there is a label without classes, or
                none with them.
        """
        given = given_arrays(inputs, "noise", ("noise",), classes=self.classes)
        noise = given["noise"]
        if noise.ndim != 2:
            raise ValueError(f"noise is (batch, n), one vector an image, got {noise.shape}")
        vector = None
        if self.classes:
            vector = LabelEmbedding(self.classes, noise.shape[-1], name="label")(given["label"])
            noise = jnp.concatenate([noise, vector.astype(noise.dtype)], -1)
        shapes = halved_shapes(self.shape, len(self.features) - 1)[::-1]
        width = self.features[0]
        dense = nn.Dense(
            math.prod(shapes[0]) * width, kernel_init=he_fan_in, dtype=self.dtype, name="grid"
        )
        x = dense(noise).reshape(-1, *shapes[0], width)
        for i, (shape, width) in enumerate(zip(shapes, self.features, strict=True)):
            if i > 0:
                x = doubled(x, shape)
                x = Conv(
                    width, bias=False, dtype=self.dtype, kernel_init=he_fan_in, name=f"conv{i}"
                )(x)  # fmt: skip
            x = make_norm(self.norm, name=f"norm{i}", dtype=self.dtype)(x, train=train)
            x = nn.relu(FiLM(self.dtype, name=f"film{i}")(x, vector))
        conv = Conv(self.channels, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02),
                    name="image")  # fmt: skip
        image = at_least_float32(conv(x))
        return {"logits": jnp.tanh(image) if self.bounded else image}


def dcgan_generator(shape: tuple[int, ...], channels: int = 1, **options: Any) -> DCGANGenerator:
    """Create the generator of a DCGAN; see :class:`DCGANGenerator` for the options.

    >>> import jax
    >>> net = dcgan_generator((9, 12), features=(8, 4), classes=2)
    >>> key, given = jax.random.key(0), {"noise": jnp.ones((3, 5)), "label": jnp.array([0, 1, 1])}
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, given)
    >>> outputs["logits"].shape
    (3, 9, 12, 1)
    """
    return DCGANGenerator(tuple(shape), channels, **options)
