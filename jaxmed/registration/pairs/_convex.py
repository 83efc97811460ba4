"""A field by discrete search with a coupled smoothness, then refined by Adam."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import losses, ops
from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.pairs._grids import coarser, factors, spread
from jaxmed.registration.pairs._inputs import Pair, begun, overlapping, pair_of
from jaxmed.registration.pairs._level import Plan, optimise
from jaxmed.registration.pairs._register import Registered
from jaxmed.registration.pairs._stages import level_of, numbered, positive, stages, warp_of, weighed
from jaxmed.registration.warps._jacobian import folds
from jaxmed.registration.warps._warp import Warp, across_grid, affine_warp, compose, inverse_of

# How much an offset may cost for its distance from its neighbours', round after round.
_COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_ROUNDS = 15  # in which both directions are made each other's inverse


def convex_adam(
    fixed: Scan | Any,
    moving: Scan | Any,
    *,
    features: Literal["mind", "brightness"] | Callable[[Array], Array] = "mind",
    search: int = 1,
    reach: int = 4,
    consistent: bool = True,
    penalty: Mapping[str, float] | None = None,
    levels: int | Sequence[int] = (1,),
    steps: int | Sequence[int] = 80,
    rate: float | None = None,
    nodes: float | None = None,
    initial: Warp | None = None,
    where: tuple[Any, Any] | None = None,
    affines: tuple[Any, Any] | None = None,
) -> Registered:
    """Find a field by looking at every offset within reach, then refine it by Adam.

    On a coarse grid each cell is compared with every cell within reach, and takes the offset that
    is cheapest for its features and its distance from the mean of its neighbours' offsets, which
    weighs more from round to round. That finds what is far, where steps along a slope end in the
    nearest hollow. The field then is the start of as many steps of Adam as :func:`register` takes,
    on the same features. A pure function of arrays; one whose search has no slope.

    Args:
        fixed: the image whose grid the moved image gets: a scan, or an array
            ``(*spatial, channels)``.
        moving: the image to be moved, of as many axes and channels; its grid may be any other.
        features: what is compared: ``"mind"`` (:func:`jaxmed.losses.mind_descriptor`), also of two
            modalities; ``"brightness"``; or a function of an image ``(1, *spatial, channels)``.
        search: how often the grid of the search is half as fine as the fixed image.
        reach: how many cells of that grid an offset goes at most, either way along each axis.
        consistent: whether the search is made both ways, and the fields are made each other's
            inverse.
        penalty: of the refinement, as in :func:`register`; by default .2 of diffusion.
        levels: of the refinement, as in :func:`register`.
        steps: of Adam, for every level or for each; 0 for the search alone.
        rate: as in :func:`register`.
        nodes: likewise.
        initial: a warp to begin with; the result has it in it.
        where: which voxels of the fixed and of the moving image count, as in :func:`register`.
        affines: of arrays, fixed and moving, on the host; by default a voxel is a millimetre.

    Returns:
        A displacement in millimetres, the losses of the refinement and the share of voxels that
        fold.

    Raises:
        ValueError: if the images do not fit or do not overlap, an image is constant, values are not
            finite, or an option is unknown.

    Examples:
        >>> from jaxmed.registration import warp_points
        >>> at = np.indices((24, 24)) - 8.0
        >>> image = np.exp(-((at / 4) ** 2).sum(0))[..., None]
        >>> found = convex_adam(image, np.roll(image, 6, 0), features="brightness", steps=10)
        >>> abs(warp_points(found.warp, jnp.array([9.0, 9.0])) - jnp.array([15.0, 9.0])).max() < 0.5
        Array(True, dtype=bool)

    References:
        Siebert et al., ConvexAdam: self-configuring dual-optimisation-based 3D multitask medical
        image registration, IEEE Transactions on Medical Imaging 2024; Heinrich et al.,
        Non-parametric discrete registration with convex optimisation, WBIR 2014.
    """
    if features == "mind":
        describe = losses.mind_descriptor
    elif features == "brightness":
        describe = _as_it_is
    elif callable(features):
        describe = features
    else:
        raise ValueError(f"features={features!r}; expected 'mind', 'brightness' or a function")
    if reach < 1 or search < 0:
        raise ValueError(f"search={search}, reach={reach}: a level of 0 or more, a cell or more")
    penalties = weighed("displacement", penalty)
    positive(rate=rate, nodes=nodes)
    refined = steps != 0
    order = numbered(levels, steps if refined else 1)
    pair = pair_of(
        fixed, moving, None, where, affines, masks=False, varying=True, divide=features != "mind"
    )
    pair = _on_one_grid(pair, initial)
    shape, affine = pair.fixed.shape[:-1], pair.fixed_affine
    pair = pair._replace(
        fixed=_described(pair.fixed, pair.fixed_where, describe),
        moving=_described(pair.moving, pair.moving_where, describe),
    )
    step = factors(shape, np.linalg.norm(affine[:-1, :-1], axis=0), search)
    a, grid = coarser(pair.fixed, step)
    b = coarser(pair.moving, step)[0]
    counts = tuple(
        None if m is None else coarser(m, step)[0] for m in (pair.fixed_where, pair.moving_where)
    )
    cells = _searched(a, b, counts, reach=reach, consistent=consistent)
    values = across_grid(cells, grid.affine(affine))
    lost = []
    if refined:
        for stage in stages("displacement", shape, affine, order, rate=rate, nodes=nodes):
            assert stage.nodes is not None  # a field has nodes
            values, grid = spread(values, grid, stage.nodes), stage.nodes
            level, image = level_of(pair, np.eye(len(affine)), stage, penalties, 1.0)
            plan = Plan(
                "displacement", losses.mse, tuple(penalties), False, 0, stage.steps, image, grid
            )
            values, found = optimise(values, level, plan)
            lost.append(found)
    warp = warp_of("displacement", values, grid, shape, affine)
    if initial is not None:
        warp = compose(initial, warp)
    gone = jnp.concatenate(lost) if lost else jnp.zeros(0)
    return Registered(warp, gone, folds(warp, Space(shape, affine)))


def _as_it_is(image: Array) -> Array:
    return image


def _on_one_grid(pair: Pair, initial: Warp | None) -> Pair:
    """The moving image on the fixed one's grid, where an initial warp puts it."""
    start = affine_warp(np.eye(len(pair.fixed_affine))) if initial is None else initial
    begin, pair = begun(start, pair)
    overlapping(pair, begin)
    if start.kind != "affine":
        return pair
    whole = inverse_of(pair.moving_affine) @ begin @ pair.fixed_affine
    at = ops.affine_grid(jnp.asarray(whole, jnp.float32), pair.fixed.shape[:-1])
    moved = (
        None if image is None else ops.resample(image, at, mode="nearest")
        for image in (pair.moving, pair.moving_where)
    )
    moving, where = moved
    assert moving is not None
    return pair._replace(moving=moving, moving_where=where, moving_affine=pair.fixed_affine)


def _described(image: Array, where: Array | None, describe: Callable[[Array], Array]) -> Array:
    """Features of an image, in which what does not count is the mean of what does."""
    if where is not None:
        counts = where > 0.5
        axes = tuple(range(image.ndim - 1))
        number = jnp.maximum(counts.sum(axes), 1)
        image = jnp.where(counts, image, jnp.where(counts, image, 0).sum(axes) / number)
    return describe(image[None])[0]


@partial(jax.jit, static_argnames=("reach", "consistent"))
def _searched(
    fixed: Array,
    moving: Array,
    counts: tuple[Array | None, Array | None],
    *,
    reach: int,
    consistent: bool,
) -> Array:
    """The offset of each cell, in cells, ``(*grid, rank)``."""
    ahead = _coupled(fixed, moving, counts[0], reach)
    if not consistent:
        return ahead
    back = _coupled(moving, fixed, counts[1], reach)

    def nearer(_: int, both: tuple[Array, Array]) -> tuple[Array, Array]:
        a, b = both
        return (
            0.5 * (a - ops.warp(b, a, mode="nearest")),
            0.5 * (b - ops.warp(a, b, mode="nearest")),
        )

    return jax.lax.fori_loop(0, _ROUNDS, nearer, (ahead, back))[0]


def _coupled(fixed: Array, moving: Array, counts: Array | None, reach: int) -> Array:
    shape = fixed.shape[:-1]
    offsets = np.array([*itertools.product(range(-reach, reach + 1), repeat=len(shape))])
    padded = jnp.pad(moving, [*((reach, reach),) * len(shape), (0, 0)], mode="edge")

    def cost(offset: Array) -> Array:
        start = [*(offset + reach), 0]
        there = jax.lax.dynamic_slice(padded, start, fixed.shape)
        apart = ((fixed - there) ** 2).mean(-1, keepdims=True)
        return _mean(apart if counts is None else apart * counts)[..., 0]

    costs = jax.lax.map(cost, jnp.asarray(offsets))
    mean = costs.mean()
    costs = costs / jnp.where(mean > 0, mean, 1)
    lengths = jnp.asarray(offsets, costs.dtype)

    def cheapest(weight: float, near: Array) -> Array:
        # Offset by offset: quicker than an argmin over the first axis, and of less memory.
        axes = jnp.moveaxis(near, -1, 0)

        def one(best: tuple[Array, Array], given: tuple[Any, ...]) -> tuple[Any, None]:
            price, offset, number = given
            price = price + weight * sum((o - n) ** 2 for o, n in zip(offset, axes, strict=True))
            better = price < best[0]
            return (jnp.where(better, price, best[0]), jnp.where(better, number, best[1])), None

        start = (jnp.full(shape, jnp.inf, costs.dtype), jnp.zeros(shape, jnp.int32))
        each = (costs, tuple(lengths.T), jnp.arange(len(lengths)))
        return lengths[jax.lax.scan(one, start, each)[0][1]]

    found = _mean(cheapest(0.0, jnp.zeros((*shape, len(shape)), costs.dtype)))
    for weight in _COUPLING:
        found = _mean(_mean(cheapest(weight, found)))
    return found


def _mean(field: Array) -> Array:
    """The mean of each cell and its neighbours, ``(*grid, channels)``."""
    number = ops.window_sum(np.ones((1, *field.shape[:-1], 1), np.float32), 3)
    return (ops.window_sum(field[None], 3) / number)[0]
