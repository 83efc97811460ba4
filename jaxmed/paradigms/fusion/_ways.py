"""Ways to make one array of several modalities' arrays, some of which are missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.networks.bags._pooling import masked_softmax
from jaxmed.networks.layers._convolution import torch_uniform

Arrays = dict[str, Array]


def masks(present: Array, arrays: Arrays) -> Arrays:
    """Each name's column of ``present``, columns in order of names, in the rank of its array."""
    return {
        name: present[:, i].reshape(-1, *[1] * (arrays[name].ndim - 1))
        for i, name in enumerate(sorted(arrays))
    }


def of_one_shape(arrays: Arrays, how: str, *, width: bool) -> None:
    """Refuse arrays of several shapes; without ``width`` the last axis may differ.

    Raises:
        ValueError: names the shapes.
    """
    shapes = {name: x.shape if width else x.shape[:-1] for name, x in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {arrays[name].shape}" for name in sorted(arrays))
        hint = "; give width= to project each to one" if width else ""
        raise ValueError(f"how={how!r} fuses arrays of one shape, but they are {listed}{hint}")


class Projected(nn.Module):
    """Each modality's array by a linear layer of its own to one width."""

    width: int

    @nn.compact
    def __call__(self, arrays: Arrays) -> Arrays:
        return {
            name: nn.Dense(self.width, kernel_init=torch_uniform, name=name)(arrays[name])
            for name in sorted(arrays)
        }


class Concat(nn.Module):
    """Side by side; a learned vector stands in for what is missing."""

    @nn.compact
    def __call__(self, arrays: Arrays, present: Array) -> Arrays:
        of_one_shape(arrays, "concat", width=False)
        here = masks(present, arrays)
        parts = []
        for name in sorted(arrays):
            x = arrays[name]
            stand_in = self.param(name, nn.initializers.zeros, (x.shape[-1],))
            parts.append(jnp.where(here[name], x, stand_in.astype(x.dtype)))
        return {"fused": jnp.concatenate(parts, axis=-1)}


class Mean(nn.Module):
    """The mean of those that are present."""

    @nn.compact
    def __call__(self, arrays: Arrays, present: Array) -> Arrays:
        of_one_shape(arrays, "mean", width=True)
        here = masks(present, arrays)
        total = sum(jnp.where(here[name], arrays[name], 0) for name in sorted(arrays))
        count = sum(here[name].astype(jnp.float32) for name in sorted(arrays))
        return {"fused": total / jnp.maximum(count, 1)}


class Product(nn.Module):
    """The product of those that are present, element by element."""

    @nn.compact
    def __call__(self, arrays: Arrays, present: Array) -> Arrays:
        of_one_shape(arrays, "product", width=True)
        here = masks(present, arrays)
        total = jnp.ones(())
        for name in sorted(arrays):
            total = total * jnp.where(here[name], arrays[name], 1)
        some = present.any(1).reshape(-1, *[1] * (total.ndim - 1))
        return {"fused": jnp.where(some, total, 0)}


class Attention(nn.Module):
    """A mean weighted by how much each has to say, at each place of a map by itself."""

    hidden: int = 32

    @nn.compact
    def __call__(self, arrays: Arrays, present: Array) -> Arrays:
        of_one_shape(arrays, "attention", width=True)
        names, here = sorted(arrays), masks(present, arrays)
        layer = nn.Dense(self.hidden, kernel_init=torch_uniform, name="hidden")
        answer = nn.Dense(1, use_bias=False, kernel_init=torch_uniform, name="score")
        stacked, scores, known = [], [], []
        for name in names:
            x = jnp.where(here[name], arrays[name], 0)
            own = self.param(name, nn.initializers.zeros, (self.hidden,))
            stacked.append(x)
            scores.append(answer(nn.tanh(layer(x) + own)))
            known.append(jnp.broadcast_to(here[name], scores[-1].shape))
        weights = masked_softmax(jnp.stack(scores), jnp.stack(known), axis=0)
        fused = (weights * jnp.stack(stacked)).sum(0)
        return {"fused": fused, "attention": jnp.moveaxis(weights[..., 0], 0, -1)}


class Film(nn.Module):
    """The main modality scaled and shifted, channel by channel, by what the others say.

    Scales and shifts begin at nothing, so that the fused array begins as the main one.
    """

    main: str

    @nn.compact
    def __call__(self, arrays: Arrays, present: Array) -> Arrays:
        here = masks(present, arrays)
        x = jnp.where(here[self.main], arrays[self.main], 0)
        scale = shift = jnp.zeros(())
        for name in sorted(set(arrays) - {self.main}):
            says = jnp.where(here[name], arrays[name], 0)
            layer = nn.Dense(
                2 * x.shape[-1], kernel_init=nn.initializers.zeros, use_bias=False, name=name
            )
            said = layer(says).reshape(len(x), *[1] * (x.ndim - 2), -1)
            more, up = jnp.split(said, 2, axis=-1)
            scale, shift = scale + more, shift + up
        return {"fused": x * (1 + scale) + shift}


WAYS: dict[str, Callable[..., nn.Module]] = {
    "attention": Attention, "concat": Concat, "film": Film, "mean": Mean, "product": Product,
}  # fmt: skip
"""The ways by name."""


class Fusion(nn.Module):
    """A way on one array of each modality, or on each level of a pyramid of them."""

    how: str
    main: str | None = None
    width: int | None = None

    @nn.compact
    def __call__(self, inputs: tuple[dict, Array]) -> dict:
        arrays, present = inputs
        make = partial(WAYS[self.how], **({"main": self.main} if self.how == "film" else {}))
        first = arrays[self.main or sorted(arrays)[0]]
        if not isinstance(first, tuple | list):
            return make(name="way")(self._projected(arrays, "width"), present)
        levels = []
        for i in range(len(first)):
            level = {name: x[i] if isinstance(x, tuple | list) else x for name, x in arrays.items()}
            levels.append(make(name=f"way{i}")(self._projected(level, f"width{i}"), present))
        return {name: tuple(level[name] for level in levels) for name in levels[0]}

    def _projected(self, arrays: dict, name: str) -> dict:
        return arrays if self.width is None else Projected(self.width, name=name)(arrays)
