"""A codec of images with Gaussian latent variables: the network of a variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.generators._blocks import ImageDecoder, ImageEncoder, halved_shapes
from jaxmed.networks.generators._given import LabelEmbedding, given_arrays, normal_each
from jaxmed.networks.layers._convolution import (
    Conv,
    at_least_float32,
    global_average,
    torch_uniform,
)

_LOG_VARIANCES = (-30.0, 20.0)  # where the exponential of what an encoder says is still a number


class ImageVAE(nn.Module):
    """Encoder to Gaussian latent variables, and decoder to images.

    What it does depends on what it is given:

    - images, or `{"image"}`: they are encoded, and the latent's mean decoded; with `{"image",
      "key"}`, one key an image, a draw of it;
    - `{"latent"}`: it is decoded;
    - `{"key"}` alone: a latent is drawn from its prior, a standard normal, and decoded.

    Attributes:
        shape: spatial shape of the images, of one to three axes.
        channels: channels of the images.
        latent: numbers of the latent vector; with `spatial` channels of the latent map.
        spatial: whether the latent is a map at the coarsest scale, as latent diffusion takes it,
            and no vector.
        features: channels at each scale, finest first; axes are halved from one to the next.
        blocks: residual blocks at each scale.
        classes: number of classes of a conditional one, which is given the `label` too; 0 for none.
        scale: standard deviation of the image's voxels given the latent at the start, learned for
            each channel: the endpoint `log_scale`. None for no such endpoint.
        norm: normalisation, see :func:`make_norm`.
        dropout: rate in each block.
        dtype: dtype of the computation; parameters, latents and images are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Kingma and Welling, Auto-encoding variational Bayes, ICLR 2014. Rybkin, Daniilidis and
        Levine, Simple and effective VAE training with calibrated decoders, ICML 2021.
    """

    shape: tuple[int, ...]
    channels: int = 1
    latent: int = 32
    spatial: bool = False
    features: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    classes: int = 0
    scale: float | None = 0.3
    norm: str | Callable[..., nn.Module] = "group"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, inputs: Array | dict[str, Array], *, train: bool = False) -> Endpoints:
        """Map images, latents or keys to named endpoints.

        Returns:
            `logits` `(batch, *shape, channels)`, the decoded images; `latent` that was decoded;
            of images `mean` and `log_variance` of the latent, and `features`, the coarsest map's
            spatial mean; `log_scale` `(batch, *1, channels)`, see `scale`.

        Raises:
            ValueError: for other names, images or latents of another shape, or a label without
                classes, or none with them.
        """
        given = given_arrays(
            inputs, "image", ("image", "latent", "key"), classes=self.classes, one=True
        )
        vector = label_vector(self, given)
        options = (self.blocks, self.norm, self.dropout, self.dtype, self.remat)
        coarse = halved_shapes(self.shape, len(self.features) - 1)[-1]
        shape = (*coarse, self.latent) if self.spatial else (self.latent,)
        endpoints: Endpoints = {}
        if "image" in given:
            image = checked_image(given["image"], self.shape, self.channels)
            encoder = ImageEncoder(self.features, *options, name="encoder")
            x = encoder(image, vector, train)[-1]
            endpoints["features"] = global_average(x)
            if self.spatial:
                both = Conv(
                    2 * self.latent, 1, dtype=self.dtype, kernel_init=torch_uniform, name="latent"
                )(x)
            else:
                x = x.reshape(len(x), -1)
                both = nn.Dense(
                    2 * self.latent, dtype=self.dtype, kernel_init=torch_uniform, name="latent"
                )(x)
            mean, log_variance = jnp.split(at_least_float32(both), 2, axis=-1)
            log_variance = jnp.clip(log_variance, *_LOG_VARIANCES)
            latent = mean
            if "key" in given:
                latent += jnp.exp(0.5 * log_variance) * normal_each(given["key"], shape, "latent")
            endpoints |= {"mean": mean, "log_variance": log_variance}
        elif "latent" in given:
            latent = given["latent"]
            if latent.shape[1:] != shape:
                raise ValueError(f"latents are (batch, {shape}), got {latent.shape}")
        else:
            latent = normal_each(given["key"], shape, "latent")
        x = latent
        if not self.spatial:
            grid = nn.Dense(
                math.prod(coarse) * self.features[-1], dtype=self.dtype, kernel_init=torch_uniform,
                name="grid",
            )  # fmt: skip
            x = grid(x).reshape(-1, *coarse, self.features[-1])
        decoder = ImageDecoder(self.shape, self.channels, self.features, *options, name="decoder")
        endpoints |= {"latent": latent, "logits": decoder(x, vector, train)}
        return endpoints | log_scale(self, len(latent))


def image_vae(shape: tuple[int, ...], channels: int = 1, **options: Any) -> ImageVAE:
    """Create the network of a variational autoencoder; see :class:`ImageVAE` for the options.

    >>> import jax
    >>> net = image_vae((9, 12), latent=5, features=(4, 8))
    >>> key, x = jax.random.key(0), jnp.ones((2, 9, 12, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["mean"].shape, outputs["logits"].shape
    ((2, 5), (2, 9, 12, 1))
    """
    return ImageVAE(tuple(shape), channels, **options)


def label_vector(module: Any, given: dict[str, Any]) -> Array | None:
    """The vector of each image's class, inside a module; None of one without classes."""
    if not module.classes:
        return None
    return LabelEmbedding(module.classes, module.features[-1], name="label")(given["label"])


def log_scale(module: Any, rows: int) -> Endpoints:
    """The endpoint `log_scale` of a module that learns one for each channel."""
    if module.scale is None:
        return {}
    start = nn.initializers.constant(math.log(module.scale))
    value = module.param("log_scale", start, (module.channels,))
    shape = (rows, *[1] * len(module.shape), module.channels)
    return {"log_scale": jnp.broadcast_to(value, shape)}


def checked_image(image: Array, shape: tuple[int, ...], channels: int) -> Array:
    """Images of the shape that a codec was made for.

    Raises:
        ValueError: says both.
    """
    if image.shape[1:] != (*shape, channels):
        raise ValueError(
            f"the network was made for images (batch, {', '.join(map(str, (*shape, channels)))}), "
            f"got {image.shape}"
        )
    return image
