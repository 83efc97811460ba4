"""A codec whose latents are vectors of a codebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.generators._blocks import ImageDecoder, ImageEncoder, halved_shapes
from jaxmed.networks.generators._given import given_arrays
from jaxmed.networks.generators._vae import checked_image, label_vector
from jaxmed.networks.layers._convolution import (
    Conv,
    at_least_float32,
    global_average,
    he_fan_in,
    torch_uniform,
)


class Codebook(nn.Module):
    r"""The nearest of `size` vectors, through which gradients pass as if it were the given one.

    With `decay` the vectors follow the average of what was nearest to them, which is state:

    .. math:: N_k \leftarrow d N_k + (1 - d) n_k, \quad m_k \leftarrow d m_k + (1 - d) \sum z,
        \quad e_k = m_k / N_k

    and one to which less than `revive` come on average is put where one of the batch's is. Without
    a decay they are parameters, and the loss draws them on.

    Attributes:
        size: number of vectors.
        width: length of each.
        decay: of the averages; None for vectors that are parameters.
        revive: least average number of voxels that come to a vector; 0 for never.

    References:
        van den Oord, Vinyals and Kavukcuoglu, Neural discrete representation learning, NeurIPS
        2017. Razavi, van den Oord and Vinyals, Generating diverse high-fidelity images with
        VQ-VAE-2, NeurIPS 2019.
    """

    size: int
    width: int
    decay: float | None = 0.99
    revive: float = 1.0

    def setup(self):
        """Make the vectors: parameters, or the averages that they follow."""
        start, shape = nn.initializers.normal(1.0), (self.size, self.width)
        if self.decay is None:
            self.vectors = self.param("vectors", start, shape)
        else:
            self.sums = self.variable(
                "codebook", "sums", lambda: start(self.make_rng("params"), shape)
            )
            self.counts = self.variable("codebook", "counts", jnp.ones, (self.size,), jnp.float32)

    def look_up(self, codes: Array) -> Array:
        """Map numbers `(...)` to vectors `(..., width)`; NaN for one that there is not."""
        inside = (codes >= 0) & (codes < self.size)
        vectors = jnp.take(self._book(), jnp.clip(codes, 0, self.size - 1), axis=0)
        return jnp.where(inside[..., None], vectors, jnp.nan)

    def _book(self) -> Array:
        if self.decay is None:
            return self.vectors
        return self.sums.value / self.counts.value[:, None]

    def __call__(self, z: Array, *, train: bool = False) -> tuple[Array, Array]:
        """Map `(..., width)` to the nearest vectors of that shape, and their numbers `(...)`.

        In training vectors that follow an average draw from the stream `stochastic`.
        """
        book, flat = self._book(), z.reshape(-1, self.width).astype(jnp.float32)
        # |z - e|^2 without |z|^2, which is the same for all vectors.
        distance = jnp.square(book).sum(-1) - 2 * flat @ book.T
        codes = distance.argmin(-1)
        if self.decay is not None and train and not self.is_initializing():
            self._follow(jax.lax.stop_gradient(flat), codes)
        vectors = jnp.take(book, codes, axis=0).reshape(z.shape)
        return vectors, codes.reshape(z.shape[:-1])

    def _follow(self, seen: Array, codes: Array) -> None:
        """Move the averages by what was seen, and revive the vectors that nothing comes to."""
        chosen = jax.nn.one_hot(codes, self.size, dtype=jnp.float32)
        keep = 0.0 if self.decay is None else self.decay
        count = keep * self.counts.value + (1 - keep) * chosen.sum(0)
        total = keep * self.sums.value + (1 - keep) * (chosen.T @ seen)
        if self.revive > 0:
            dead = count < self.revive
            drawn = jax.random.randint(self.make_rng("stochastic"), (self.size,), 0, len(seen))
            total = jnp.where(dead[:, None], seen[drawn] * self.revive, total)
            count = jnp.where(dead, self.revive, count)
        self.sums.value, self.counts.value = total, count


class VQCodec(nn.Module):
    """Encoder to vectors of a codebook, and decoder to images.

    What it does depends on what it is given: images, or `{"image"}`, are encoded, put to the
    nearest vectors and decoded; `{"latent"}`, a map of vectors, is put to the nearest ones and
    decoded; `{"codes"}`, the vectors' numbers, are decoded.

    Attributes:
        shape: spatial shape of the images, of one to three axes.
        channels: channels of the images.
        codes: size of the codebook.
        latent: length of its vectors.
        features: channels at each scale, finest first; axes are halved from one to the next.
        blocks: residual blocks at each scale.
        classes: number of classes of a conditional one, which is given the `label` too; 0 for none.
        decay: as in :class:`Codebook`.
        revive: as in :class:`Codebook`.
        norm: normalisation, see :func:`make_norm`.
        dropout: rate in each block.
        dtype: dtype of the computation; parameters, latents and images are float32.
        remat: recompute each block in the backward pass, to save memory.
    """

    shape: tuple[int, ...]
    channels: int = 1
    codes: int = 128
    latent: int = 8
    features: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    classes: int = 0
    decay: float | None = 0.99
    revive: float = 1.0
    norm: str | Callable[..., nn.Module] = "group"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, inputs: Array | dict[str, Array], *, train: bool = False) -> Endpoints:
        """Map images, latents or codes to named endpoints.

        Returns:
            `logits` `(batch, *shape, channels)`; `quantised` `(batch, *coarse, latent)`, the
            vectors that were decoded; `codes` `(batch, *coarse)`, their numbers; of images and
            latents `latent`, what they are nearest to; of images `features`, the coarsest map's
            spatial mean.

        Raises:
            ValueError: for other names, images of another shape, or a label without classes, or
                none with them.
        """
        given = given_arrays(
            inputs, "image", ("image", "latent", "codes"), classes=self.classes, one=True
        )
        vector = label_vector(self, given)
        options = (self.blocks, self.norm, self.dropout, self.dtype, self.remat)
        book = Codebook(self.codes, self.latent, self.decay, self.revive, name="codebook")
        endpoints: Endpoints = {}
        if "image" in given:
            image = checked_image(given["image"], self.shape, self.channels)
            x = ImageEncoder(self.features, *options, name="encoder")(image, vector, train)[-1]
            endpoints["features"] = global_average(x)
            conv = Conv(self.latent, 1, dtype=self.dtype, kernel_init=torch_uniform, name="latent")
            endpoints["latent"] = at_least_float32(conv(x))
        elif "latent" in given:
            endpoints["latent"] = given["latent"]
        coarse = halved_shapes(self.shape, len(self.features) - 1)[-1]
        if "latent" in endpoints:
            latent = endpoints["latent"]
            if latent.shape[1:] != (*coarse, self.latent):
                raise ValueError(f"latents are (batch, {coarse}, {self.latent}): {latent.shape}")
            quantised, codes = book(latent, train=train)
            # The nearest vectors, with the gradient of what they are nearest to.
            passed = latent + jax.lax.stop_gradient(quantised - latent)
        else:
            codes = given["codes"]
            if codes.shape[1:] != coarse:
                raise ValueError(f"codes are (batch, {coarse}), got {codes.shape}")
            quantised = passed = book.look_up(codes)
        x = Conv(self.features[-1], 1, dtype=self.dtype, kernel_init=he_fan_in, name="enter")(
            passed
        )
        decoder = ImageDecoder(self.shape, self.channels, self.features, *options, name="decoder")
        return endpoints | {
            "quantised": quantised,
            "codes": codes,
            "logits": decoder(x, vector, train),
        }


def vq_codec(shape: tuple[int, ...], channels: int = 1, **options: Any) -> VQCodec:
    """Create a codec with a codebook; see :class:`VQCodec` for the options.

    >>> net = vq_codec((9, 12), codes=16, latent=2, features=(4, 8))
    >>> key, x = jax.random.key(0), jnp.ones((2, 9, 12, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["codes"].shape, outputs["quantised"].shape
    ((2, 5, 6), (2, 5, 6, 2))
    """
    return VQCodec(tuple(shape), channels, **options)
