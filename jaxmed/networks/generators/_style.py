"""A generator whose layers are styled by the noise."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.generators._blocks import halved_shapes
from jaxmed.networks.generators._given import LabelEmbedding, given_arrays
from jaxmed.networks.layers._convolution import at_least_float32, normal_flat, per_axis

_GAIN = math.sqrt(2.0)  # of a leaky ReLU, so that variances stay


class ModulatedConv(nn.Module):
    r"""Convolution whose kernel a vector scales, input channel by input channel.

    .. math:: w'_{kio} = s_i w_{kio}, \quad
        w''_{kio} = w'_{kio} \Big/ \sqrt{\textstyle\sum_{ki} (w'_{kio})^2 + \epsilon}

    The kernel of each image is its own. Scaling the input by s and the output by the root is the
    same, with one kernel for all.

    Attributes:
        features: output channels.
        kernel: window in voxels.
        demodulate: whether each output channel's kernel is divided by its norm.
        dtype: dtype of the computation.

    References:
        Karras et al., Analyzing and improving the image quality of StyleGAN, CVPR 2020.
    """

    features: int
    kernel: int = 3
    demodulate: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, style: Array) -> Array:
        """Convolve `(batch, *spatial, in)` under `(batch, width)` to `(batch, *spatial, out)`."""
        rank, width = x.ndim - 2, x.shape[-1]
        window = per_axis(self.kernel, rank, "kernel")
        ones = nn.initializers.ones
        scale = nn.Dense(width, bias_init=ones, name="style")(style)
        shape = (*window, width, self.features)
        kernel = self.param("kernel", normal_flat, shape) / math.sqrt(math.prod(shape[:-1]))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        dtype = self.dtype or jnp.result_type(x, kernel)
        images = (len(x), *[1] * rank, -1)
        shown = (x * scale.reshape(images).astype(x.dtype)).astype(dtype)
        padding = [((k - 1) // 2, k // 2) for k in window]
        y = ops.conv(shown, kernel.astype(dtype), stride=(1,) * rank, padding=padding)
        if self.demodulate:
            energy = jnp.square(kernel).sum(tuple(range(rank)))
            norm = lax.rsqrt(jnp.square(scale) @ energy + 1e-8)
            y *= norm.reshape(images).astype(y.dtype)
        return y + bias.astype(y.dtype)


class StyleGenerator(nn.Module):
    """Generator of styled convolutions: noise chooses what a learned constant becomes.

    A small network maps the noise, and the class, to a style. Each scale adds to the image of the
    one before, enlarged linearly. There is no noise voxel by voxel, so that an image follows from
    its vector alone.

    Attributes:
        shape: spatial shape of the image, of one to three axes.
        channels: channels of the image.
        features: channels at each scale, coarsest first; axes double from one to the next.
        width: length of the style.
        depth: layers from noise to style.
        classes: number of classes of a conditional generator; 0 for none.
        bounded: whether images end in a tanh, within [-1, 1].
        dtype: dtype of the computation; styles and the image are float32.

    References:
        Karras et al., Analyzing and improving the image quality of StyleGAN, CVPR 2020. Karras et
        al., Alias-free generative adversarial networks, NeurIPS 2021.
    """

    shape: tuple[int, ...]
    channels: int = 1
    features: tuple[int, ...] = (64, 64, 32)
    width: int = 64
    depth: int = 2
    classes: int = 0
    bounded: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array | dict[str, Array], *, train: bool = False) -> Endpoints:
        """Map noise `(batch, n)`, or `{"noise", "label"}`, to images.

        Returns:
            `logits` `(batch, *shape, channels)`, and `features` `(batch, width)`, the style.

        Raises:
            ValueError: if the noise is not `(batch, n)`, or there is a label without classes, or
                none with them.
        """
        del train  # the same in both modes
        given = given_arrays(inputs, "noise", ("noise",), classes=self.classes)
        noise = given["noise"]
        if noise.ndim != 2:
            raise ValueError(f"noise is (batch, n), one vector an image, got {noise.shape}")
        style = _unit_variance(noise)
        if self.classes:
            vector = LabelEmbedding(self.classes, self.width, name="label")(given["label"])
            style = jnp.concatenate([style, _unit_variance(vector)], -1)
        for i in range(self.depth):
            style = _leaky(nn.Dense(self.width, name=f"mapping{i + 1}")(style))
        shapes = halved_shapes(self.shape, len(self.features) - 1)[::-1]
        start = self.param("start", normal_flat, (*shapes[0], self.features[0]))
        x = jnp.broadcast_to(start, (len(noise), *start.shape))
        image = jnp.zeros(())
        for i, (shape, width) in enumerate(zip(shapes, self.features, strict=True)):
            if i > 0:
                x, image = _enlarged(x, shape), _enlarged(image, shape)
                x = _leaky(
                    ModulatedConv(width, dtype=self.dtype, name=f"scale{i + 1}_in")(x, style)
                )
            x = _leaky(ModulatedConv(width, dtype=self.dtype, name=f"scale{i + 1}")(x, style))
            to_image = ModulatedConv(
                self.channels, 1, demodulate=False, dtype=self.dtype, name=f"image{i + 1}"
            )
            image += at_least_float32(to_image(x, style))
        return {"logits": jnp.tanh(image) if self.bounded else image, "features": style}


def style_generator(shape: tuple[int, ...], channels: int = 1, **options: Any) -> StyleGenerator:
    """Create a generator of styled convolutions; see :class:`StyleGenerator` for the options.

    >>> net = style_generator((5, 8, 6), features=(8, 4))
    >>> key, noise = jax.random.key(0), jnp.ones((3, 5))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, noise)
    >>> outputs["logits"].shape
    (3, 5, 8, 6, 1)
    """
    return StyleGenerator(tuple(shape), channels, **options)


def _unit_variance(vector: Array) -> Array:
    return vector * lax.rsqrt(jnp.square(vector).mean(-1, keepdims=True) + 1e-8)


def _leaky(x: Array) -> Array:
    return jax.nn.leaky_relu(x, 0.2) * jnp.asarray(_GAIN, x.dtype)


def _enlarged(x: Array, shape: tuple[int, ...]) -> Array:
    x = ops.upsample(x, 2)
    return x[(slice(None), *(slice(0, n) for n in shape))]
