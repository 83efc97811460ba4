"""U-Net of a diffusion model: residual blocks that are told the time and the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import (
    Conv,
    at_least_float32,
    global_average,
    he_fan_in,
    spatial_rank,
)
from jaxmed.networks.layers._norm import GroupNorm

_SLOWEST, _FASTEST = 1.0, 100.0


class DenoiserUNet(nn.Module):
    """U-Net of pre-activated residual blocks, modulated by time and class.

    Each block's second normalisation is scaled and shifted by an embedding of the time and the
    class (FiLM); coarse levels may have self-attention. The last layer of each block, and of the
    network, begins at 0. Axes that strides do not divide are rounded up on the way down, and
    cropped to the skip's size on the way up.

    Attributes:
        channels: of the images, and so of `logits`.
        widths: channels of each level, finest first; a stride of 2 lies between two levels.
        depth: blocks of each level, on either way.
        attention: the levels with self-attention after each block, 0 the finest; the bottleneck
            counts as the last level. Its memory grows with the square of the number of voxels.
        heads: of the attention; they divide these levels' widths.
        classes: number of classes; 0 if there are none.
        embedding: width of the embedding.
        groups: of the group normalisation.
        dropout: rate of dropout within blocks.
        dtype: dtype of the computation; parameters, the embedding and `logits` are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Ho, Jain and Abbeel, Denoising diffusion probabilistic models, NeurIPS 2020. Dhariwal and
        Nichol, Diffusion models beat GANs on image synthesis, NeurIPS 2021. Perez et al., FiLM:
        visual reasoning with a general conditioning layer, AAAI 2018.
    """

    channels: int = 1
    widths: tuple[int, ...] = (32, 64, 64)
    depth: int = 1
    attention: tuple[int, ...] = (2,)
    heads: int = 4
    classes: int = 0
    embedding: int = 128
    groups: int = 8
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array | Mapping[str, Array], *, train: bool = False) -> Endpoints:
        """Map noisy images to named endpoints.

        Args:
            x: images `(batch, *spatial, channels)`; or a dict of `image` and of `time` `(batch,)`
                (0 without it), `label` `(batch,)` (a negative one is unknown, as without it), `map`
                `(batch, *spatial, any channels)`, and `known` `(batch,)`, 0 where label and map are
                withheld.
            train: whether dropout is active.

        Returns:
            `logits` `(batch, *spatial, channels)`; `pyramid`, the decoder's maps, finest first,
            with the bottleneck last; `features`, the bottleneck's spatial mean.

        Raises:
            ValueError: for a label where the network has no classes, shapes that do not match, or
                a level of attention that there is not.
        """
        given = denoiser_inputs(x, self.classes)
        levels, rank = len(self.widths), spatial_rank(given.image)
        if any(not 0 <= level < levels for level in self.attention):
            raise ValueError(f"attention is at levels 0 to {levels - 1}, got {self.attention}")
        embedded = _Embedding(self.embedding, self.classes, name="embedding")(
            given.time, given.label
        )
        y = image_and_map(given)
        if self.dtype is not None:
            y = y.astype(self.dtype)
        make = nn.remat(_Block, static_argnums=(3,)) if self.remat else _Block

        def level(y, i, way):
            heads = self.heads if i in self.attention else 0
            for j in range(1, self.depth + 1):
                y = make(
                    self.widths[i], self.groups, heads, self.dropout, self.dtype,
                    name=f"{way}{i + 1}_block{j}",
                )(y, embedded, train)  # fmt: skip
            return y

        y = Conv(self.widths[0], 3, dtype=self.dtype, kernel_init=he_fan_in, name="stem")(y)
        skips = []
        for i in range(levels):
            if i > 0:
                y = Conv(
                    self.widths[i], 3, 2, dtype=self.dtype, kernel_init=he_fan_in,
                    name=f"down{i + 1}",
                )(y)  # fmt: skip
            y = level(y, i, "encoder")
            skips.append(y)
        pyramid = [y]
        for i in reversed(range(levels - 1)):
            y = ops.upsample(y, (2,) * rank, method="nearest")
            crop = tuple(slice(0, n) for n in skips[i].shape[:-1])
            y = level(jnp.concatenate([y[crop], skips[i]], axis=-1), i, "decoder")
            pyramid.insert(0, y)
        out = GroupNorm(self.groups, dtype=self.dtype, name="norm")(y)
        out = Conv(
            self.channels, 3, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out"
        )(jax.nn.silu(out))
        return {
            "logits": at_least_float32(out),
            "features": global_average(pyramid[-1]),
            "pyramid": tuple(pyramid),
        }


class _Embedding(nn.Module):
    """The embedding of time and class, float32 `(batch, width)`."""

    width: int
    classes: int

    @nn.compact
    def __call__(self, time: Array, label: Array) -> Array:
        y = nn.Dense(self.width, name="time1")(time_features(time, self.width))
        if self.classes:
            # The last row is that of a class which is not known.
            row = jnp.where(label < 0, self.classes, label)
            y = y + nn.Embed(self.classes + 1, self.width, name="label")(row)
        y = nn.Dense(self.width, name="time2")(jax.nn.silu(y))
        return jax.nn.silu(y)


class _Block(nn.Module):
    """A residual block, with self-attention behind it if it has heads."""

    width: int
    groups: int
    heads: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, embedded: Array, train: bool) -> Array:
        y = jax.nn.silu(GroupNorm(self.groups, dtype=self.dtype, name="norm1")(x))
        y = Conv(self.width, 3, dtype=self.dtype, kernel_init=he_fan_in, name="conv1")(y)
        film = nn.Dense(2 * self.width, name="film")(embedded)
        axes = tuple(range(1, x.ndim - 1))
        scale, shift = jnp.split(jnp.expand_dims(film, axes), 2, axis=-1)
        y = GroupNorm(self.groups, dtype=self.dtype, name="norm2")(y)
        y = jax.nn.silu(y * (1 + scale).astype(y.dtype) + shift.astype(y.dtype))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = Conv(self.width, 3, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="conv2")(
            y
        )
        if x.shape[-1] != self.width:
            x = Conv(self.width, 1, dtype=self.dtype, kernel_init=he_fan_in, name="shortcut")(x)
        x = x + y
        if self.heads:
            tokens = GroupNorm(self.groups, dtype=self.dtype, name="norm3")(x)
            tokens = tokens.reshape(x.shape[0], -1, self.width)
            attended = nn.MultiHeadDotProductAttention(
                self.heads, dtype=self.dtype, out_kernel_init=nn.initializers.zeros,
                name="attention",
            )(tokens)  # fmt: skip
            x = x + attended.reshape(x.shape)
        return x


class DenoiserInputs(NamedTuple):
    """What a denoiser is given, whole.

    Attributes:
        image: `(batch, *spatial, channels)`.
        time: `(batch,)` float32.
        label: `(batch,)`, -1 where it is not known.
        map: `(batch, *spatial, channels)`, 0 where it is withheld; None without one.
        known: `(batch,)` float32, 0 where label and map are withheld.
    """

    image: Array
    time: Array
    label: Array
    map: Array | None
    known: Array


def denoiser_inputs(x: Array | Mapping[str, Array], classes: int) -> DenoiserInputs:
    """Read what a denoiser is given: images alone, or a dict as :class:`DenoiserUNet` takes it.

    Raises:
        ValueError: for a label without classes, names that no denoiser takes, or shapes that do not
            match.
    """
    given = dict(x) if isinstance(x, Mapping) else {"image": x}
    names = ("image", "time", "label", "map", "known")
    if odd := sorted(set(given) - set(names)):
        raise ValueError(f"a denoiser takes {', '.join(names)}, got {odd[0]!r}")
    if "image" not in given:
        raise ValueError(f"a denoiser takes an 'image', got {sorted(given)}")
    image = given["image"]
    spatial_rank(image)
    batch = image.shape[0]
    for name in ("time", "label", "known"):
        if name in given and jnp.shape(given[name]) != (batch,):
            raise ValueError(
                f"{name!r} is one number an image, ({batch},), got {jnp.shape(given[name])}"
            )
    if "label" in given and not classes:
        raise ValueError("the network was made without classes, and is given a 'label'")
    known = jnp.asarray(given.get("known", jnp.ones(batch)), jnp.float32)
    label = given.get("label", jnp.full(batch, -1))
    label = jnp.where(known > 0, label, -1)
    maps = given.get("map")
    if maps is not None:
        if maps.shape[:-1] != image.shape[:-1]:
            raise ValueError(
                f"a map of shape {maps.shape} does not lie on images of shape {image.shape}"
            )
        maps = maps.astype(image.dtype) * jnp.expand_dims(
            known, tuple(range(1, image.ndim))
        ).astype(image.dtype)
    time = jnp.asarray(given.get("time", jnp.zeros(batch)), jnp.float32)
    return DenoiserInputs(image, time, label, maps, known)


def image_and_map(given: DenoiserInputs) -> Array:
    """The image with the map as further channels, and a last one: 1 where the map is known.

    So a map that is withheld is no map of zeros.
    """
    if given.map is None:
        return given.image
    shown = jnp.expand_dims(given.known, tuple(range(1, given.image.ndim)))
    shown = jnp.broadcast_to(shown, (*given.image.shape[:-1], 1)).astype(given.image.dtype)
    return jnp.concatenate([given.image, given.map, shown], axis=-1)


def time_features(time: Array, width: int) -> Array:
    r"""Sines and cosines of :math:`\omega t`, `(batch, width)`, :math:`\omega` from 1 to 100.

    Times are numbers near 1; a frequency of 100 tells a fiftieth from the next one.
    """
    half = width // 2
    omega = _SLOWEST * (_FASTEST / _SLOWEST) ** (jnp.arange(half) / max(half - 1, 1))
    angle = time[:, None] * omega
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle), time[:, None] * jnp.ones(width % 2)], 1)


def denoiser_unet(channels: int = 1, **options: Any) -> DenoiserUNet:
    """Create the U-Net of a diffusion model; see :class:`DenoiserUNet` for the options.

    >>> net = denoiser_unet(2, widths=(8, 16), attention=(1,), classes=3)
    >>> key, x = jax.random.key(0), jnp.ones((2, 7, 9, 2))
    >>> given = {"image": x, "time": jnp.ones(2), "label": jnp.array([0, -1])}
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, given)
    >>> outputs["logits"].shape
    (2, 7, 9, 2)
    """
    return DenoiserUNet(channels, **options)
