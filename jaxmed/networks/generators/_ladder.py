"""A codec with latent variables at each scale, the finer given the coarser ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.generators._blocks import (
    ConditionedBlock,
    ImageEncoder,
    ImageHead,
    doubled,
    halved_shapes,
)
from jaxmed.networks.generators._given import given_arrays, normal_each
from jaxmed.networks.generators._vae import checked_image, label_vector, log_scale
from jaxmed.networks.layers._convolution import (
    Conv,
    at_least_float32,
    global_average,
    he_fan_in,
)

_LOG_VARIANCES = (-10.0, 10.0)


class LadderVAE(nn.Module):
    r"""Hierarchical variational autoencoder: a latent map at each scale, drawn from coarse to fine.

    The prior of a scale follows from the coarser latents, and the posterior is told relative to it:
    its mean is :math:`\mu + \Delta\mu`, its log-variance
    :math:`\log\sigma^2 + \Delta\log\sigma^2`. At the start the two are the same.

    It takes what :class:`ImageVAE` takes; its `latent` is a tuple of maps, coarsest first. A
    `latent` of the first few alone leaves the finer ones at their prior's mean, or draws them by
    `key`.

    Attributes:
        shape: spatial shape of the images, of one to three axes.
        channels: channels of the images.
        latent: channels of each latent map.
        features: channels at each scale, finest first; axes are halved from one to the next.
        levels: how many of the coarsest scales have a latent; None for all.
        blocks: residual blocks at each scale of the encoder.
        classes: number of classes of a conditional one, which is given the `label` too; 0 for none.
        scale: as in :class:`ImageVAE`.
        norm: normalisation, see :func:`make_norm`.
        dropout: rate in each block.
        dtype: dtype of the computation; parameters, latents and images are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Sonderby et al., Ladder variational autoencoders, NeurIPS 2016. Vahdat and Kautz, NVAE: a
        deep hierarchical variational autoencoder, NeurIPS 2020.
    """

    shape: tuple[int, ...]
    channels: int = 1
    latent: int = 4
    features: tuple[int, ...] = (16, 32, 64)
    levels: int | None = None
    blocks: int = 1
    classes: int = 0
    scale: float | None = 0.3
    norm: str | Callable[..., nn.Module] = "group"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, inputs: Array | dict[str, Any], *, train: bool = False) -> Endpoints:
        """Map images, latents or keys to named endpoints.

        Returns:
            `logits`, `latent`, `features` and `log_scale` as of :class:`ImageVAE`; `levels`, a
            tuple of dicts, coarsest first, of `prior_mean` and `prior_log_variance`, and of images
            of `mean` and `log_variance` too.

        Raises:
            ValueError: as of :class:`ImageVAE`; or if `levels` is not from 1 to the scales.
        """
        given = given_arrays(
            inputs, "image", ("image", "latent", "key"), classes=self.classes, one=True
        )
        scales = len(self.features)
        levels = scales if self.levels is None else self.levels
        if not 1 <= levels <= scales:
            raise ValueError(f"of {scales} scales 1 to {scales} have latents, got {levels}")
        vector = label_vector(self, given)
        shapes = halved_shapes(self.shape, scales - 1)
        maps, endpoints, rows = None, {}, _rows(given)
        if "image" in given:
            image = checked_image(given["image"], self.shape, self.channels)
            encoder = ImageEncoder(
                self.features, self.blocks, self.norm, self.dropout, self.dtype, self.remat,
                name="encoder",
            )  # fmt: skip
            maps = encoder(image, vector, train)
            endpoints["features"] = global_average(maps[-1])
        known = tuple(given.get("latent", ()))
        start = self.param("start", nn.initializers.zeros, (*shapes[-1], self.features[-1]))
        x = jnp.broadcast_to(start, (rows, *start.shape))
        block = nn.remat(ConditionedBlock, static_argnums=(3,)) if self.remat else ConditionedBlock
        options: Any = (self.norm, self.dropout, self.dtype)
        told, latents = [], []
        for i in reversed(range(scales)):
            level = scales - 1 - i
            if level > 0:
                x = doubled(x, shapes[i])
            x = block(self.features[i], *options, name=f"block{level + 1}")(x, vector, train)
            if level >= levels:
                continue
            if level == 0:  # nothing is coarser: a standard normal
                mean = log_variance = jnp.zeros((rows, *shapes[i], self.latent))
            else:
                mean, log_variance = self._gaussian(x, f"prior{level + 1}")
            about = {"prior_mean": mean, "prior_log_variance": log_variance}
            if maps is not None:
                joined = jnp.concatenate([x, maps[i].astype(x.dtype)], -1)
                joined = Conv(
                    self.features[i], dtype=self.dtype, kernel_init=he_fan_in,
                    name=f"join{level + 1}",
                )(joined)  # fmt: skip
                change = self._gaussian(nn.silu(joined), f"posterior{level + 1}")
                mean, log_variance = mean + change[0], log_variance + change[1]
                about |= {"mean": mean, "log_variance": log_variance}
            z = mean
            if maps is None and level < len(known):
                z = known[level]
                if z.shape != mean.shape:
                    raise ValueError(f"latent {level} is {mean.shape}, got {z.shape}")
            elif "key" in given:
                noise = normal_each(given["key"], mean.shape[1:], "latent", level)
                z = mean + jnp.exp(0.5 * log_variance) * noise
            told.append(about)
            latents.append(z)
            x += Conv(
                self.features[i], dtype=self.dtype, kernel_init=he_fan_in, name=f"enter{level + 1}"
            )(z)
        x = block(self.features[0], *options, name="last")(x, vector, train)
        image = ImageHead(self.channels, self.norm, self.dtype, name="head")(x, train)
        endpoints |= {"levels": tuple(told), "latent": tuple(latents), "logits": image}
        return endpoints | log_scale(self, rows)

    def _gaussian(self, x: Array, name: str) -> tuple[Array, Array]:
        """Mean and log-variance of a latent map, both 0 at the start."""
        conv = Conv(
            2 * self.latent, 3, dtype=self.dtype, kernel_init=nn.initializers.zeros, name=name
        )
        mean, log_variance = jnp.split(at_least_float32(conv(x)), 2, axis=-1)
        return mean, jnp.clip(log_variance, *_LOG_VARIANCES)


def ladder_vae(shape: tuple[int, ...], channels: int = 1, **options: Any) -> LadderVAE:
    """Create a hierarchical variational autoencoder; see :class:`LadderVAE` for the options.

    >>> import jax
    >>> net = ladder_vae((9, 12), latent=2, features=(4, 8))
    >>> key, x = jax.random.key(0), jnp.ones((2, 9, 12, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> [z.shape for z in outputs["latent"]]
    [(2, 5, 6, 2), (2, 9, 12, 2)]
    """
    return LadderVAE(tuple(shape), channels, **options)


def _rows(given: dict[str, Any]) -> int:
    for name in ("image", "latent", "key"):
        if name in given:
            return len(given[name][0] if name == "latent" else given[name])
    raise AssertionError("given_arrays has seen to one of these")
