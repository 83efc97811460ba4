"""Premises about the structures of an image: their cost, whether they hold, how to mend them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from jaxmed.core import Array
from jaxmed.rules.maps._neighbours import Axes, beside, pairs, spatial

Mask = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class MapPremise:
    """A premise about structures, by their names."""

    def names(self) -> tuple[str, ...]:
        """The structures that it is about."""
        raise NotImplementedError

    def cost(self, p: Array, at: Sequence[int]) -> Array:
        """What probabilities (batch, *spatial, classes) cost, (batch,); 0 for masks that keep it.

        ``at`` are the numbers of the structures.
        """
        raise NotImplementedError

    def broken(self, mask: Mask, at: Sequence[int]) -> int:
        """In how many voxels a mask breaks it."""
        raise NotImplementedError

    def mended(self, mask: Mask, log_p: Floats, at: Sequence[int]) -> Mask:
        """The mask with the least certain voxels changed so that it holds."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Enclosed(MapPremise):
    """A structure that touches nothing but itself and what encloses it."""

    inner: str
    outer: str
    axes: Axes = None

    def names(self) -> tuple[str, ...]:
        return self.inner, self.outer

    def cost(self, p: Array, at: Sequence[int]) -> Array:
        inside, allowed = p[..., at[0]], p[..., at[0]] + p[..., at[1]]
        total = jnp.zeros(p.shape[0])
        axes = spatial(self.axes, p.ndim - 2)
        for (a, b), (kept, other) in zip(
            pairs(inside, axes, 1), pairs(allowed, axes, 1), strict=True
        ):
            total += _sum(a * (1 - other)) + _sum(b * (1 - kept))
        return total / inside[0].size

    def broken(self, mask: Mask, at: Sequence[int]) -> int:
        return int(self._touching(mask, at).sum())

    def mended(self, mask: Mask, log_p: Floats, at: Sequence[int]) -> Mask:
        axes = spatial(self.axes, mask.ndim)
        mask = mask.copy()
        wrong = self._touching(mask, at)
        # What it costs to make part of what encloses: the inner voxel, or all that it touches.
        price = np.take_along_axis(log_p, mask[..., None], -1)[..., 0] - log_p[..., at[1]]
        around = ~np.isin(mask, at)
        of_others = np.zeros(mask.shape)
        views = zip(pairs(of_others, axes), pairs(np.where(around, price, 0.0), axes), strict=True)
        for (low, high), (here, there) in views:
            low += there
            high += here
        give_way = wrong & (price <= of_others)
        mask[give_way] = at[1]
        mask[beside(wrong & ~give_way, axes) & around] = at[1]
        return mask

    def _touching(self, mask: Mask, at: Sequence[int]) -> NDArray[np.bool_]:
        return (mask == at[0]) & beside(~np.isin(mask, at), spatial(self.axes, mask.ndim))

    def __str__(self) -> str:
        return f"{self.outer} encloses {self.inner}"


@dataclasses.dataclass(frozen=True)
class Apart(MapPremise):
    """Two structures that do not touch."""

    first: str
    second: str
    axes: Axes = None

    def names(self) -> tuple[str, ...]:
        return self.first, self.second

    def cost(self, p: Array, at: Sequence[int]) -> Array:
        axes = spatial(self.axes, p.ndim - 2)
        one, other = p[..., at[0]], p[..., at[1]]
        total = jnp.zeros(p.shape[0])
        for (a, b), (c, d) in zip(pairs(one, axes, 1), pairs(other, axes, 1), strict=True):
            total += _sum(a * d) + _sum(b * c)
        return total / one[0].size

    def broken(self, mask: Mask, at: Sequence[int]) -> int:
        axes = spatial(self.axes, mask.ndim)
        return int(((mask == at[0]) & beside(mask == at[1], axes)).sum())

    def mended(self, mask: Mask, log_p: Floats, at: Sequence[int]) -> Mask:
        axes = spatial(self.axes, mask.ndim)
        mask = mask.copy()
        other = without(log_p, at)
        cost = np.take_along_axis(log_p, mask[..., None], -1)[..., 0]
        cost = cost - np.take_along_axis(log_p, other[..., None], -1)[..., 0]
        gives_way = np.zeros(mask.shape, bool)
        views = zip(pairs(mask, axes), pairs(cost, axes), pairs(gives_way, axes), strict=True)
        for (a, b), (cost_a, cost_b), (way_a, way_b) in views:
            meet = ((a == at[0]) & (b == at[1])) | ((a == at[1]) & (b == at[0]))
            way_a |= meet & (cost_a <= cost_b)
            way_b |= meet & (cost_a > cost_b)
        mask[gives_way] = other[gives_way]
        return mask

    def __str__(self) -> str:
        return f"{self.first} and {self.second} do not touch"


@dataclasses.dataclass(frozen=True)
class OnePiece(MapPremise):
    """A structure in one piece, voxels hanging together across faces."""

    name: str

    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def cost(self, p: Array, at: Sequence[int]) -> Array:
        """Nothing: how pieces hang together has no slope. It is kept by mending alone."""
        return jnp.zeros(p.shape[0])

    def broken(self, mask: Mask, at: Sequence[int]) -> int:
        pieces, count = ndimage.label(mask == at[0])  # pyright: ignore
        if count < 2:
            return 0
        sizes = np.bincount(np.ravel(pieces))[1:]
        return int(sizes.sum() - sizes.max())

    def mended(self, mask: Mask, log_p: Floats, at: Sequence[int]) -> Mask:
        pieces, count = ndimage.label(mask == at[0])  # pyright: ignore
        if count < 2:
            return mask
        mask = mask.copy()
        mass = ndimage.sum(np.exp(log_p[..., at[0]]), pieces, np.arange(1, count + 1))
        rest = (np.asarray(pieces) > 0) & (np.asarray(pieces) != 1 + int(np.argmax(mass)))
        mask[rest] = without(log_p, at)[rest]
        return mask

    def __str__(self) -> str:
        return f"{self.name} is in one piece"


@dataclasses.dataclass(frozen=True)
class Size(MapPremise):
    """A structure of no fewer and no more voxels."""

    name: str
    low: float
    high: float

    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def cost(self, p: Array, at: Sequence[int]) -> Array:
        voxels = _sum(p[..., at[0]])
        missing = jnp.maximum(self.low - voxels, 0) + jnp.maximum(voxels - self.high, 0)
        return missing / p[0, ..., 0].size

    def broken(self, mask: Mask, at: Sequence[int]) -> int:
        voxels = int((mask == at[0]).sum())
        return int(np.ceil(max(self.low - voxels, 0) + max(voxels - self.high, 0)))

    def mended(self, mask: Mask, log_p: Floats, at: Sequence[int]) -> Mask:
        inside = mask == at[0]
        voxels = int(inside.sum())
        mask = mask.copy()
        other = without(log_p, at)
        odds = log_p[..., at[0]] - np.take_along_axis(log_p, other[..., None], -1)[..., 0]
        if voxels > self.high:
            order = np.argsort(np.where(inside, odds, np.inf), axis=None, kind="stable")
            gone = order[: voxels - int(np.floor(self.high))]
            mask.flat[gone] = other.flat[gone]
        elif voxels < self.low:
            order = np.argsort(np.where(inside, -np.inf, odds), axis=None, kind="stable")[::-1]
            mask.flat[order[: int(np.ceil(self.low)) - voxels]] = at[0]
        return mask

    def __str__(self) -> str:
        return f"{self.name} has {self.low:g} to {self.high:g} voxels"


@dataclasses.dataclass(frozen=True)
class Before(MapPremise):
    """A structure whose centre lies before another's along an axis."""

    first: str
    second: str
    axis: int = 0

    def names(self) -> tuple[str, ...]:
        return self.first, self.second

    def cost(self, p: Array, at: Sequence[int]) -> Array:
        (axis,) = spatial((self.axis,), p.ndim - 2)
        length = p.shape[axis + 1]
        place = jnp.arange(length) / max(length - 1, 1)
        centres = []
        for k in at:
            rest = tuple(i for i in range(1, p.ndim - 1) if i != axis + 1)
            profile = p[..., k].sum(rest)
            centres.append((profile @ place) / jnp.maximum(profile.sum(-1), 1e-6))
        there = jnp.minimum(_sum(p[..., at[0]]), _sum(p[..., at[1]]))
        return jnp.maximum(centres[0] - centres[1], 0) * jnp.minimum(there, 1)

    def broken(self, mask: Mask, at: Sequence[int]) -> int:
        (axis,) = spatial((self.axis,), mask.ndim)
        places = [np.nonzero(mask == k)[axis] for k in at]
        if not all(len(found) for found in places) or places[0].mean() <= places[1].mean():
            return 0
        return min(len(found) for found in places)

    def mended(self, mask: Mask, log_p: Floats, at: Sequence[int]) -> Mask:
        """The mask with the two structures' names exchanged: the error that is meant."""
        swapped = mask.copy()
        if self.broken(mask, at):
            swapped[mask == at[0]], swapped[mask == at[1]] = at[1], at[0]
        return swapped

    def __str__(self) -> str:
        return f"{self.first} lies before {self.second} along axis {self.axis}"


def without(log_p: Floats, at: Sequence[int]) -> Mask:
    """The most probable class of each voxel that is none of these."""
    kept = log_p.copy()
    kept[..., list(at)] = -np.inf
    return kept.argmax(-1)


def _sum(x: Array) -> Array:
    return x.reshape(x.shape[0], -1).sum(1)
