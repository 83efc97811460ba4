"""The mean of many images, in shape and in brightness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import ops
from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.pairs import _transforms as transforms
from jaxmed.registration.pairs._grids import Grid, coarser, spread
from jaxmed.registration.pairs._inputs import Pair, checked
from jaxmed.registration.pairs._level import Level, Plan, ahead, optimise
from jaxmed.registration.pairs._similarity import VARYING, Loss, Similarity, loss_of
from jaxmed.registration.pairs._stages import level_of, numbered, positive, stages, warp_of, weighed
from jaxmed.registration.warps._scan import warp_scan
from jaxmed.registration.warps._warp import Warp, affine_warp, compose, inverse_of


class Template(NamedTuple):
    """A mean image, and how each scan lies upon it.

    Attributes:
        mean: the average of the moved scans, on the template's grid.
        warps: one a scan, from points of the template's space to the scan's, in millimetres.
        losses: (scans, steps) similarity and penalty together before each step, round after round.
            The mean changes between rounds, so only losses of one round compare.
    """

    mean: Scan
    warps: tuple[Warp, ...]
    losses: Array


def template(
    scans: Sequence[Scan],
    *,
    space: Space | Scan | None = None,
    transform: Literal["rigid", "affine", "velocity"] = "velocity",
    similarity: Similarity | Loss = "ncc",
    penalty: Mapping[str, float] | None = None,
    levels: int | Sequence[int] = 2,
    rounds: int = 3,
    steps: int | Sequence[int] = 20,
    rate: float | None = None,
    nodes: float | None = None,
    squarings: int = 6,
    initial: Sequence[Warp] | None = None,
) -> Template:
    """Find the mean of images, each moved onto it, that none of them is nearer to by choice.

    In turn all scans are registered with the mean of the moved ones, and the mean is taken anew.
    Parameters of the maps are their logarithms (velocities, generators of linear maps), and their
    mean is taken off after every round: so the maps have the identity for their mean, and the
    template has the mean shape. The order of the scans changes nothing but rounding.

    Args:
        scans: two or more, of as many axes and channels; their grids may differ.
        space: the template's grid; by default the first scan's.
        transform: ``"velocity"``, or a linear map; for both, give the warps of the linear template
            as ``initial``.
        similarity: as in :func:`register`, of images.
        penalty: as in :func:`register`.
        levels: likewise.
        rounds: at each level, after each of which the mean is taken anew.
        steps: of Adam in a round, for every level or for each.
        rate: as in :func:`register`.
        nodes: likewise.
        squarings: by which a velocity is integrated.
        initial: a warp a scan to begin with, from the template's space to the scan's; the result
            has it in it, and is a displacement or affine.

    Returns:
        The mean, the warps and the losses.

    Raises:
        ValueError: if there are fewer than two scans, their axes or channels differ, a scan is
            constant, values are not finite, or an option is unknown.

    Examples:
        >>> from jaxmed.registration import warp_points
        >>> at = np.indices((20, 20)) - 9.0
        >>> ball = np.exp(-((at / 4) ** 2).sum(0))[..., None].astype(np.float32)
        >>> space = Space((20, 20), np.eye(3))
        >>> scans = [Scan(np.roll(ball, k, 0), np.eye(3), space) for k in (-2, 2)]
        >>> found = template(scans, transform="rigid", similarity="mse", levels=1)
        >>> [warp_points(w, jnp.array([9.0, 9.0])).round().tolist() for w in found.warps]
        [[7.0, 9.0], [11.0, 9.0]]

    References:
        Joshi et al., Unbiased diffeomorphic atlas construction for computational anatomy,
        NeuroImage 2004.
    """
    loss = loss_of(similarity)
    if similarity == "dice":
        raise ValueError("similarity='dice' is of masks; a template is of images")
    if transforms.checked(transform) not in transforms.INVERTIBLE:
        known = ", ".join(transforms.INVERTIBLE)
        raise ValueError(f"transform={transform!r} has no logarithm to average; take {known}")
    if rounds < 1:
        raise ValueError(f"rounds={rounds}: one or more")
    penalties = weighed(transform, penalty)
    order = numbered(levels, steps)
    positive(rate=rate, nodes=nodes)
    if squarings < 0:
        raise ValueError(f"squarings={squarings} is negative")
    grid, moved, begin = _begun(scans, space, initial, varying=similarity in VARYING)
    if similarity == "mse":  # as in `register`
        size = moved.std(tuple(range(moved.ndim - 1)))
        moved = moved / jnp.where(size > 0, size, 1)
    shape, affine = tuple(grid.shape), np.asarray(grid.affine, float)
    every = Grid(shape, (1.0,) * len(shape), (0.0,) * len(shape))
    values, nodes_now, found = None, None, []
    mean = moved.mean(0)
    for stage in stages(transform, shape, affine, order, rate=rate, nodes=nodes):
        if values is None:
            start = transforms.parameters(transform, len(shape), stage.nodes)
            values = jnp.zeros((len(moved), *start.shape))
        elif nodes_now is not None and stage.nodes is not None:
            between = partial(spread, grid=nodes_now, onto=stage.nodes)
            values = jax.vmap(between)(values)
        nodes_now = stage.nodes
        small = jax.vmap(lambda x, by=stage.factors: coarser(x, by)[0])(moved)
        for _ in range(rounds):
            pair = Pair(mean, mean, None, None, None, None, affine, affine)
            level, image = level_of(pair, np.eye(len(affine)), stage, penalties, 1.0)
            plan = Plan(
                transform, loss, tuple(penalties), False, squarings, stage.steps, image, nodes_now
            )
            values, lost = _round(values, small, level, plan)
            found.append(lost)
            whole = level._replace(
                fixed=mean, fixed_affine=affine, to_moving=inverse_of(affine).astype(np.float32)
            )
            mean = _moved(values, moved, whole, plan._replace(image=every))
    assert values is not None  # there is a level
    warps = [warp_of(transform, v, nodes_now, shape, affine) for v in values]
    if initial is not None:
        warps = [compose(first, warp) for first, warp in zip(begin, warps, strict=True)]
    arrays = [warp_scan(w, scan, grid).array for w, scan in zip(warps, scans, strict=True)]
    image = Scan(np.asarray(np.mean(arrays, 0), np.float32), affine, grid)
    return Template(image, tuple(warps), jnp.concatenate(found, -1))


def _begun(
    scans: Sequence[Scan],
    space: Space | Scan | None,
    initial: Sequence[Warp] | None,
    *,
    varying: bool,
) -> tuple[Space, Array, list[Warp]]:
    """The template's grid, the scans on it as their initial warps move them, and those warps."""
    scans = list(scans)
    if len(scans) < 2:
        raise ValueError(f"a template is of two scans or more, got {len(scans)}")
    rank, channels = len(scans[0].affine) - 1, np.shape(scans[0].array)[-1]
    for i, scan in enumerate(scans):
        checked(f"scan {i}", scan.array, len(scan.affine) - 1, masks=False, varying=varying)
        if len(scan.affine) - 1 != rank or np.shape(scan.array)[-1] != channels:
            raise ValueError(
                f"scan {i} has shape {np.shape(scan.array)}, scan 0 {np.shape(scans[0].array)}: "
                "they need as many axes and as many channels"
            )
    if initial is not None and len(initial) != len(scans):
        raise ValueError(f"initial has {len(initial)} warps for {len(scans)} scans")
    given = scans[0] if space is None else space
    grid = Space(given.array.shape[:-1], given.affine) if isinstance(given, Scan) else given
    begin = list(initial or [affine_warp(np.eye(rank + 1))] * len(scans))
    moved = [warp_scan(w, scan, grid).array for w, scan in zip(begin, scans, strict=True)]
    return grid, jnp.stack([jnp.asarray(m, jnp.float32) for m in moved]), begin


@partial(jax.jit, static_argnames="plan")
def _round(values: Array, images: Array, level: Level, plan: Plan) -> tuple[Array, Array]:
    """Register every image with the mean, and take the mean of their maps off."""

    def one(given: tuple[Array, Array]) -> tuple[Array, Array]:
        own, image = given
        return optimise(own, level._replace(moving=image), plan)

    values, lost = jax.lax.map(one, (values, images))
    return values - values.mean(0), lost


@partial(jax.jit, static_argnames="plan")
def _moved(values: Array, images: Array, level: Level, plan: Plan) -> Array:
    """The mean of images, each moved by its map; beyond their border they go on as they end."""

    def one(given: tuple[Array, Array]) -> Array:
        own, image = given
        return ops.resample(image, ahead(own, level, plan)[0], mode="nearest")

    return jax.lax.map(one, (values, images)).mean(0)
