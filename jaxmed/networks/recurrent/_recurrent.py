"""LSTM and GRU on sequences, and one network on what another makes of each part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import ClassificationHead
from jaxmed.networks.layers._convolution import at_least_float32, torch_uniform

Cell = Literal["lstm", "gru"]
Pooling = Literal["last", "mean", "attention"]
Sequences = Array | Mapping[str, Array]
"""``(batch, time, ...)``, or ``{"image": ..., "length": (batch,)}`` or with a ``"mask"``."""


class Recurrent(nn.Module):
    """LSTM or GRU on sequences, by Flax's cells; one, or several, or both ways.

    What an image holds behind its first axis is one step: an image `(batch, rows, columns,
    channels)` is read by rows. In a dict, `length` `(batch,)` or `mask` `(batch, time)` says which
    steps are values; what stands at others changes nothing. A sequence without any has `features`
    of 0.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        features: units of each layer, the lowest first.
        cell: `"lstm"`, its forget gates begun at a bias of 1, or `"gru"`.
        bidirectional: whether each layer also goes back, its units beside the others.
        pooling: what becomes of the steps: `"last"`, where each direction ends; `"mean"`;
            `"attention"`, weights that the steps themselves give. None: `logits` for each step,
            and `features` by the mean.
        dropout: rate between layers and before the head.
        dtype: dtype of the computation; `features` and `logits` are float32.

    References:
        Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9, 1997; Cho et al.,
        Learning phrase representations using RNN encoder-decoder, EMNLP 2014; Schuster and Paliwal,
        Bidirectional recurrent neural networks, IEEE Transactions on Signal Processing 45, 1997.
    """

    classes: int | None = None
    features: tuple[int, ...] = (64,)
    cell: Cell = "lstm"
    bidirectional: bool = False
    pooling: Pooling | None = "last"
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Sequences, *, train: bool = False) -> Endpoints:
        """Map sequences to `features`, `pyramid` (one map, `(batch, time, units)`) and `logits`.

        Raises:
            ValueError: if sequences have no steps, or an option is unknown.
        """
        if self.cell not in ("lstm", "gru"):
            raise ValueError(f"cell must be 'lstm' or 'gru', got {self.cell!r}")
        if self.pooling not in ("last", "mean", "attention", None):
            raise ValueError(
                f"pooling must be 'last', 'mean', 'attention' or None, got {self.pooling!r}"
            )
        x, mask = sequences_of(x)
        x = x.reshape(*x.shape[:2], -1)
        ends: list[Array] = []
        for i, width in enumerate(self.features):
            if i:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            ways = (False, True) if self.bidirectional else (False,)
            swept = [
                _Layer(width, self.cell, back, self.dtype,
                       name=f"layer{i + 1}{'_back' if back else ''}")(x, mask)
                for back in ways
            ]  # fmt: skip
            ends = [end for end, _ in swept]
            x = jnp.concatenate([y for _, y in swept], axis=-1)
        steps = at_least_float32(x)
        features = self._pooled(steps, ends, mask)
        endpoints: Endpoints = {"features": features, "pyramid": (x,)}
        if self.classes is not None:
            given = steps if self.pooling is None else features
            head = ClassificationHead(self.classes, self.dropout, name="head")
            endpoints |= head(given, train=train)
        return endpoints

    def _pooled(self, steps: Array, ends: list[Array], mask: Array | None) -> Array:
        if self.pooling == "last":
            return at_least_float32(jnp.concatenate(ends, axis=-1))
        whole = jnp.ones(steps.shape[:2], bool) if mask is None else mask
        if self.pooling == "attention":
            hidden = nn.Dense(steps.shape[-1], kernel_init=torch_uniform, name="attention")(steps)
            scores = nn.Dense(1, kernel_init=torch_uniform, name="score")(jnp.tanh(hidden))[..., 0]
            scores = jnp.where(whole, scores, -jnp.inf)
            top = jax.lax.stop_gradient(scores.max(1, keepdims=True))
            weight = jnp.exp(jnp.where(whole, scores - jnp.where(jnp.isfinite(top), top, 0), 0))
            weight = jnp.where(whole, weight, 0)
        else:
            weight = whole.astype(steps.dtype)
        total = weight.sum(1, keepdims=True)
        weight = weight / jnp.where(total > 0, total, 1)
        return (weight[..., None] * steps).sum(1)


class _Layer(nn.Module):
    """One cell one way along `(batch, time, channels)`: where it ends, and every step."""

    width: int
    cell: str
    reverse: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, mask: Array | None) -> tuple[Array, Array]:
        make = nn.OptimizedLSTMCell if self.cell == "lstm" else nn.GRUCell
        # Without a parent: its parameters are ours, and the sweep is a function of arrays.
        cell = make(self.width, dtype=self.dtype, parent=None)
        start = cell.initialize_carry(jax.random.key(0), x[:, 0].shape)
        dtype = self.dtype or jnp.promote_types(x.dtype, jnp.float32)
        start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)

        def begin(key):
            params: Any = cell.init(key, start, x[:, 0])["params"]
            if self.cell == "lstm":
                forget = params["hf"]
                params = {**params, "hf": {**forget, "bias": jnp.ones_like(forget["bias"])}}
            return params

        params = self.param(self.cell, begin)
        step: Any = lambda carry, given: cell.apply({"params": params}, carry, given)  # noqa: E731
        carry, steps = ops.sweep(
            step, x,
            start=start, reverse=self.reverse, mask=mask,
        )  # fmt: skip
        return carry[1] if self.cell == "lstm" else carry, steps


class Hierarchical(nn.Module):
    """One network on what another makes of each part: rows to image, beats to record.

    Attributes:
        inner: a Linen module that gives `features` of a part, such as `cnn()` of a slice or
            `recurrent()` of a beat.
        outer: a Linen module on the sequence of those, such as `recurrent(2)`; its endpoints are
            the whole's.

    The input is `(batch, parts, ...)`, or a dict with it as `image`; then `length` or `mask` say
    which parts count, and `inner_length` `(batch, parts)` is the `length` that the inner network
    is given.
    """

    inner: nn.Module
    outer: nn.Module

    @nn.compact
    def __call__(self, x: Sequences, *, train: bool = False) -> Endpoints:
        """Map `(batch, parts, ...)` to the outer network's endpoints.

        Raises:
            ValueError: if there are no parts.
        """
        given = x if isinstance(x, Mapping) else {"image": x}
        parts, mask = sequences_of(x)
        size, number = parts.shape[:2]
        inside: Any = parts.reshape(size * number, *parts.shape[2:])
        if "inner_length" in given:
            inside = {"image": inside, "length": given["inner_length"].reshape(-1)}
        features = self.inner(inside, train=train)["features"].reshape(size, number, -1)
        outside: Any = features if mask is None else {"image": features, "mask": mask}
        return self.outer(outside, train=train)


def sequences_of(x: Sequences) -> tuple[Array, Array | None]:
    """The values and the mask of sequences; what does not count is 0.

    Raises:
        ValueError: if there are no steps, or lengths or mask do not fit.
        KeyError: if a dict has no `image`.
    """
    if not isinstance(x, Mapping):
        values, mask = x, None
    else:
        if "image" not in x:
            raise KeyError(f"a sequence's values are 'image'; there are {sorted(x)}")
        values, mask = x["image"], x.get("mask")
        if "length" in x:
            if mask is not None:
                raise ValueError("a sequence has a length or a mask, not both")
            length = x["length"]
            if length.shape != values.shape[:1]:
                raise ValueError(
                    f"length must be one number a sequence, {values.shape[:1]}, got {length.shape}"
                )
            mask = jnp.arange(values.shape[1]) < length[:, None]
    if values.ndim < 3 or 0 in values.shape[1:]:
        raise ValueError(
            f"sequences are (batch, time, channels) with a step or more, got {values.shape}"
        )
    if mask is None:
        return values, None
    if mask.shape != values.shape[:2]:
        raise ValueError(f"the mask must be {values.shape[:2]}, (batch, time), got {mask.shape}")
    mask = mask.astype(bool)
    return jnp.where(mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), values, 0), mask


def recurrent(classes: int | None = None, **options: Any) -> Recurrent:
    """Create a recurrent network on sequences; see :class:`Recurrent` for the options.

    >>> net = recurrent(2, features=(8, 6), bidirectional=True)
    >>> key, x = jax.random.key(0), {"image": jnp.ones((4, 10, 3)), "length": jnp.arange(1, 5)}
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["features"].shape, outputs["pyramid"][0].shape, outputs["logits"].shape
    ((4, 12), (4, 10, 12), (4, 2))
    """
    return Recurrent(classes, **options)


def hierarchical(inner: nn.Module, outer: nn.Module) -> Hierarchical:
    """Create a network on the features of parts; see :class:`Hierarchical`.

    >>> from jaxmed.networks import cnn
    >>> net = hierarchical(cnn(features=(4,)), recurrent(2, features=(6,)))
    >>> key, volume = jax.random.key(0), jnp.ones((2, 5, 8, 8, 1))
    >>> jax.eval_shape(net.init_with_output, key, volume)[0]["logits"].shape
    (2, 2)
    """
    return Hierarchical(inner, outer)
