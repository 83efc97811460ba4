"""LapIRN: a pyramid of networks, each of which mends the field of the coarser ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints, Network, from_linen
from jaxmed.networks import Conv, make_norm
from jaxmed.registration.learning._fields import (
    FieldKind,
    answers,
    both,
    carried,
    check_kind,
    coarsened,
    halved,
    integrated,
    onto,
    steps,
)
from jaxmed.registration.learning._voxelmorph import slight


class LapIRN(nn.Module):
    """A Laplacian pyramid of registration networks, coarse to fine.

    Each level sees both images at its own resolution, the moving one as the levels before have
    moved it, and their field; it adds to that field, at half of its resolution. Its features are
    added to those of the next level. Images may have any size: levels divide their axes evenly.

    Attributes:
        levels: how many, each twice as coarse as the next.
        used: how many of them predict, the coarsest ones; None: all. See :func:`lapirn_stages`.
        features: channels of each level's convolutions.
        blocks: residual blocks of a level.
        field: what the levels add up: ``"velocity"`` or ``"displacement"``.
        squarings: by which a velocity is integrated.
        norm: normalisation, see :func:`jaxmed.networks.make_norm`.
        slope: negative slope of the leaky ReLU.
        dtype: dtype of the computation; parameters and fields are float32.

    References:
        Mok and Chung, Large deformation diffeomorphic image registration with Laplacian pyramid
        networks, MICCAI 2020. There the levels' fields have their images' own resolution, and are
        bounded.
    """

    levels: int = 3
    used: int | None = None
    features: int = 16
    blocks: int = 3
    field: FieldKind = "velocity"
    squarings: int = 6
    norm: str | Callable[..., nn.Module] = "instance"
    slope: float = 0.2
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Mapping[str, Array], *, train: bool = False) -> Endpoints:
        """Map `fixed` and `moving`, `(batch, *spatial, channels)`, to named endpoints.

        Args:
            inputs: the two images on one grid.
            train: whether batch statistics are used, if there are any.

        Returns:
            As :func:`voxelmorph`, and `levels`: the field after each level, coarsest first.

        Raises:
            ValueError: if the images do not fit, or there is no level.
        """
        check_kind(self.field, self.squarings)
        used = self.levels if self.used is None else self.used
        if not 1 <= used <= self.levels:
            raise ValueError(
                f"levels={self.levels}, used={self.used}: one or more, of which one or more predict"
            )
        fixed, moving = both(inputs)
        shape = fixed.shape[1:-1]
        values, features, found = None, None, []
        for number in reversed(range(self.levels - used, self.levels)):
            size = halved(shape, number)
            seen = self._seen(coarsened(fixed, size), coarsened(moving, size), values, shape)
            change, features = self._level(seen, features, number, train)
            change = change * steps(shape, change.shape[1:-1])
            values = change + (0 if values is None else onto(values, shape, change.shape[1:-1]))
            found.append(values)
        assert values is not None  # there is a level
        return {**answers(values, moving, self.field, self.squarings), "levels": tuple(found)}

    def _seen(
        self, fixed: Array, moving: Array, values: Array | None, shape: tuple[int, ...]
    ) -> Array:
        """What a level looks at: both images, and the field so far, in the level's voxels."""
        if values is None:
            return jnp.concatenate([fixed, moving], -1)
        if self.field == "velocity":
            values = integrated(values, shape, self.squarings)
        size = fixed.shape[1:-1]
        u = onto(values, shape, size) / steps(shape, size)
        return jnp.concatenate([fixed, carried(moving, u), u], -1)

    def _level(
        self, x: Array, before: Array | None, number: int, train: bool
    ) -> tuple[Array, Array]:
        """The change of the field at half of a level's resolution, in its voxels, and features."""

        def convolved(x: Array, name: str, strides: int = 1, width: int | None = None) -> Array:
            name = f"level{number}_{name}"
            conv = Conv(width or self.features, 3, strides, dtype=self.dtype, name=name)
            x = make_norm(self.norm, name=f"{name}_norm", dtype=self.dtype)(conv(x), train=train)
            return jax.nn.leaky_relu(x, self.slope)

        x = convolved(x, "in", width=max(self.features // 2, 4))
        x = convolved(x, "half", strides=2)
        if before is not None:
            # Nodes of one image, however many: only their numbers matter.
            x = x + onto(before, x.shape[1:-1], x.shape[1:-1])
        for i in range(self.blocks):
            x = x + convolved(convolved(x, f"block{i}a"), f"block{i}b")
        head = Conv(
            x.ndim - 2, 3, dtype=self.dtype, kernel_init=slight, name=f"level{number}_field"
        )
        return head(x).astype(jnp.float32), x


def lapirn(**options: Any) -> Network:
    """Create a pyramid of registration networks; see :class:`LapIRN` for the options.

    Args:
        **options: fields of :class:`LapIRN`.

    Returns:
        The network, with the inputs and endpoints of :func:`voxelmorph`.

    Examples:
        >>> network = lapirn(levels=2, features=4, blocks=1)
        >>> pair = {"fixed": jnp.ones((1, 17, 24, 1)), "moving": jnp.ones((1, 17, 24, 1))}
        >>> variables = jax.eval_shape(network.init, jax.random.key(0), pair)
        >>> found, _ = jax.eval_shape(network.apply, *variables, pair)
        >>> [field.shape[1:] for field in found["levels"]], found["moved"].shape
        ([(5, 6, 2), (9, 12, 2)], (1, 17, 24, 1))
    """
    return from_linen(LapIRN(**options))


def lapirn_stages(levels: int = 3, **options: Any) -> tuple[Network, ...]:
    """The networks by which a pyramid is trained level by level, coarse to fine, as published.

    The first predicts with the coarsest level alone, the last with all. Each holds the parameters
    of the one before it, under the same names: train it begun with those, as
    :func:`jaxmed.paradigms.pretrained` does, on a similarity of the scales that it sees
    (:func:`multiscale`). At first a new level adds hardly anything to the field. The levels before
    it may be kept still for some steps, ``freeze(optimizer, lapirn_known(stage, levels))`` of
    :mod:`jaxmed.train`.

    Args:
        levels: of the whole pyramid.
        **options: further fields of :class:`LapIRN`.

    Returns:
        A network a level.

    Raises:
        ValueError: no level.

    Examples:
        >>> coarse, whole = lapirn_stages(2, features=4, blocks=1)
        >>> pair = {"fixed": jnp.ones((1, 16, 24, 1)), "moving": jnp.ones((1, 16, 24, 1))}
        >>> kept, _ = jax.eval_shape(coarse.init, jax.random.key(0), pair)
        >>> params, _ = jax.eval_shape(whole.init, jax.random.key(0), pair)
        >>> kept.keys() < params.keys()
        True
    """
    if levels < 1:
        raise ValueError(f"levels={levels}: one or more")
    return tuple(lapirn(levels=levels, used=used, **options) for used in range(1, levels + 1))


def lapirn_known(stage: int, levels: int = 3) -> str:
    """A regular expression that finds the parameters a stage shares with those before it.

    Args:
        stage: position among :func:`lapirn_stages`, from 0.
        levels: of the whole pyramid.

    Returns:
        The expression; of the first stage it finds nothing.

    Examples:
        >>> lapirn_known(1, levels=3)
        'level(2)_'
    """
    if not 0 <= stage < levels:
        raise ValueError(f"stage={stage}: 0 to {levels - 1}")
    return f"level({'|'.join(str(n) for n in range(levels - stage, levels)) or '-'})_"
