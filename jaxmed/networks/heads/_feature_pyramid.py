"""Feature pyramid: maps of several strides that all have seen the coarsest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Network, as_network, pick, stream
from jaxmed.core._made import made_by
from jaxmed.networks.layers._convolution import Conv
from jaxmed.networks.layers._norm import make_norm


class FeaturePyramid(nn.Module):
    """Maps of one width at each scale of a pyramid, coarse ones added to finer ones.

    Attributes:
        width: channels of each map.
        levels: which of the pyramid's maps are taken, finest first; all by default.
        extra: further maps behind the coarsest, each by a convolution of stride 2.
        norm: normalisation, see :func:`make_norm`.
        dtype: dtype of the computation.

    References:
        Lin et al., Feature pyramid networks for object detection, CVPR 2017.

    >>> import jax, jax.numpy as jnp
    >>> maps = (jnp.ones((1, 12, 10, 4)), jnp.ones((1, 6, 5, 8)), jnp.ones((1, 3, 3, 16)))
    >>> merge, key = FeaturePyramid(32, levels=(1, 2), extra=1), jax.random.key(0)
    >>> [m.shape for m in jax.eval_shape(merge.init_with_output, key, maps)[0]["pyramid"]]
    [(1, 6, 5, 32), (1, 3, 3, 32), (1, 2, 2, 32)]
    """

    width: int = 64
    levels: tuple[int, ...] | None = None
    extra: int = 0
    norm: str | Callable[..., nn.Module] = "group"
    dtype: Any = None

    @nn.compact
    def __call__(self, maps: tuple[Array, ...], *, train: bool = False) -> dict[str, Any]:
        """Map a pyramid, finest first, to another one, `pyramid`.

        Raises:
            ValueError: levels that the pyramid has not, or maps that do not grow coarser.
        """
        levels = tuple(range(len(maps))) if self.levels is None else self.levels
        if not levels or not all(-len(maps) <= i < len(maps) for i in levels):
            raise ValueError(f"levels {levels} of a pyramid of {len(maps)} maps")
        chosen = [maps[i] for i in levels]
        sides = [self._lateral(x, i) for i, x in enumerate(chosen)]
        merged = [sides[-1]]
        for finer in reversed(sides[:-1]):
            merged.insert(0, finer + _enlarged(merged[0], finer.shape))
        found = [self._smooth(x, i, train) for i, x in enumerate(merged)]
        for i in range(self.extra):
            conv = Conv(self.width, 3, strides=2, dtype=self.dtype, name=f"extra{i + 1}")
            found.append(nn.relu(conv(found[-1])))
        return {"pyramid": tuple(found)}

    def _lateral(self, x: Array, level: int) -> Array:
        return Conv(self.width, 1, dtype=self.dtype, name=f"lateral{level + 1}")(x)

    def _smooth(self, x: Array, level: int, train: bool) -> Array:
        x = Conv(self.width, 3, dtype=self.dtype, name=f"conv{level + 1}")(x)
        x = make_norm(self.norm, name=f"norm{level + 1}", dtype=self.dtype)(x, train=train)
        return nn.relu(x)


def _enlarged(x: Array, shape: tuple[int, ...]) -> Array:
    """Repeat voxels up to the shape of a finer map."""
    for axis in range(1, x.ndim - 1):
        n, wanted = x.shape[axis], shape[axis]
        if wanted < n:
            raise ValueError(f"the maps of a pyramid grow coarser, got {shape} before {x.shape}")
        x = jnp.repeat(x, -(-wanted // n), axis=axis)
        x = x[(slice(None),) * axis + (slice(0, wanted),)]
    return x


def pyramid(
    trunk: Network | nn.Module,
    *,
    levels: Sequence[int] | None = None,
    width: int = 64,
    extra: int = 0,
    norm: str | Callable[..., nn.Module] = "group",
    dtype: Any = None,
) -> Network:
    """A trunk whose `pyramid` is a feature pyramid: one width, and coarse maps within finer ones.

    Args:
        trunk: any network with a `pyramid`.
        levels: which of its maps are taken, finest first; all by default. The first is 0.
        width: channels of each map.
        extra: further maps behind the coarsest, each of twice its stride.
        norm: normalisation, see :func:`make_norm`.
        dtype: dtype of the computation.

    Returns:
        The network, with parameters `{"trunk": ..., "pyramid": ...}` and a state alike.

    Raises:
        KeyError: when traced, if the trunk has no `pyramid`.
        ValueError: when traced, for levels that the pyramid has not.

    References:
        Lin et al., Feature pyramid networks for object detection, CVPR 2017.

    >>> import jax, jax.numpy as jnp
    >>> from jaxmed.networks import resnet8
    >>> network = pyramid(resnet8(), levels=(1, 2), width=16)
    >>> params, state = network.init(jax.random.key(0), jnp.ones((1, 16, 16, 1)))
    >>> endpoints, _ = network.apply(params, state, jnp.ones((1, 16, 16, 1)))
    >>> [m.shape for m in endpoints["pyramid"]]
    [(1, 8, 8, 16), (1, 4, 4, 16)]
    """
    trunk = as_network(trunk)
    chosen = None if levels is None else tuple(levels)
    merge = as_network(FeaturePyramid(width, chosen, extra, norm, dtype))

    def init(key, inputs):
        params, state = trunk.init(stream(key, "trunk"), inputs)
        maps = pick(trunk.apply(params, state, inputs)[0], "pyramid", "trunk")
        own_params, own_state = merge.init(stream(key, "pyramid"), maps)
        return (
            {"trunk": params, "pyramid": own_params},
            {"trunk": state, "pyramid": own_state},
        )

    def apply(params, state, inputs, *, key=None, train=False):
        keys = [None if key is None else stream(key, name) for name in ("trunk", "pyramid")]
        endpoints, inner = trunk.apply(
            params["trunk"], state["trunk"], inputs, key=keys[0], train=train
        )
        maps = pick(endpoints, "pyramid", "trunk")
        merged, own = merge.apply(
            params["pyramid"], state["pyramid"], maps, key=keys[1], train=train
        )
        return {**endpoints, **merged}, {"trunk": inner, "pyramid": own}

    options = {"levels": chosen, "width": width, "extra": extra, "norm": norm, "dtype": dtype}
    return made_by(Network(init, apply), "pyramid", trunk=trunk, **options)
