"""One image moved onto another, by optimisation from coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.pairs import _transforms as transforms
from jaxmed.registration.pairs._grids import Grid, along, coarser, factors, spread
from jaxmed.registration.pairs._inputs import Pair, begun, pair_of, taken_at
from jaxmed.registration.pairs._level import PENALTIES, Level, Plan, optimise
from jaxmed.registration.pairs._similarity import VARYING, Loss, Similarity, loss_of
from jaxmed.registration.pairs._transforms import Transform
from jaxmed.registration.warps._jacobian import folds
from jaxmed.registration.warps._warp import (
    Warp,
    affine_warp,
    compose,
    displacement_warp,
    inverse_of,
    velocity_warp,
)

_PENALTY: dict[str, dict[str, float]] = {
    "bspline": {"bending": 1.0},
    "displacement": {"diffusion": 0.2},
    "velocity": {"diffusion": 0.2},
}
# Voxels of a level that a parameter may move in a step.
_RATES = {"rigid": 0.5, "affine": 0.5, "bspline": 0.3, "displacement": 0.3, "velocity": 0.3}


class Registered(NamedTuple):
    """What a registration found.

    Attributes:
        warp: from points of the fixed image's space to the moving one's.
        losses: (steps,) similarity and penalty together before each step, level after level. Levels
            are of different images: only losses of one level compare.
        folds: share of the fixed image's voxels where the warp folds.
    """

    warp: Warp
    losses: Array
    folds: Array


def register(
    fixed: Scan | Any,
    moving: Scan | Any,
    *,
    transform: Transform = "velocity",
    similarity: Similarity | Loss = "lncc",
    penalty: Mapping[str, float] | None = None,
    levels: int | Sequence[int] = 3,
    steps: int | Sequence[int] = 60,
    rate: float | None = None,
    nodes: float | None = None,
    initial: Warp | None = None,
    labels: tuple[Any, Any] | None = None,
    label_weight: float = 1.0,
    where: tuple[Any, Any] | None = None,
    symmetric: bool = False,
    squarings: int = 6,
    affines: tuple[Any, Any] | None = None,
) -> Registered:
    """Find the warp that moves one image onto another.

    Minimises ``similarity(moved, fixed) + penalty(field)`` by Adam, level after level from coarse
    to fine. A pure function: ``jax.vmap`` over arrays registers a batch of pairs, ``jax.jit`` makes
    it one program; without either each level is one.

    Args:
        fixed: the image whose grid the moved image gets: a scan, or an array
            ``(*spatial, channels)``. A mask for ``similarity="dice"``: a scan or array
            ``(*spatial,)`` of whole numbers.
        moving: the image to be moved, of as many axes and channels; its grid may be any other.
        transform: ``"rigid"`` or ``"affine"``; ``"bspline"``: cubic B-splines of nodes some voxels
            apart; ``"displacement"``: vectors that are interpolated linearly; ``"velocity"``:
            a stationary velocity, whose map hardly folds and has an inverse.
        similarity: ``"mse"`` (of images that are divided by the fixed one's standard deviation),
            ``"ncc"``, ``"lncc"`` (windows of 7), ``"mind"``, ``"mutual_information"``, ``"dice"``,
            or a loss ``(moved, fixed) -> (batch,)`` such as ``partial(losses.lncc, window=5)``.
        penalty: weights of ``"diffusion"``, ``"bending"`` and ``"jacobian"``; by default .2 of
            diffusion for vectors and 1 of bending (in one over squared millimetres) for B-splines.
            Linear maps have none.
        levels: how many, each twice as coarse as the next; or which, such as ``(2, 1)`` where 0 is
            the image itself. Thick slices are made coarser later than thin ones.
        steps: of Adam, for every level or for each.
        rate: how many of a level's voxels a parameter moves in a step at first; it falls as a
            cosine.
        nodes: voxels of a level between the nodes of a field; 4 for B-splines, 2 for others.
        initial: a warp to begin with, from the fixed image's space to the moving one's; the result
            has it in it, and is then a displacement or affine. A velocity, of ``"velocity"``, is
            where the parameters themselves begin: the result is a velocity, and the penalty is of
            all of it. So is refined what a network predicted (:func:`predict_warp`).
        labels: masks of the fixed and moving image, on their grids, whose Dice loss is added.
        label_weight: weight of that.
        where: which voxels of the fixed and of the moving image count, ``(*spatial,)`` on their
            grids, or None for all; those of the moving image matter where it is ``symmetric``. The
            similarity is then called with ``where=``.
        symmetric: whether the inverse also moves the fixed image onto the moving one; for rigid and
            affine maps and velocities. Of images on one grid, exchanged images then give the
            inverse warp.
        squarings: by which a velocity is integrated.
        affines: of arrays, fixed and moving, on the host; by default a voxel is a millimetre.

    Returns:
        The warp in millimetres, the losses and the share of voxels that fold.

    Raises:
        ValueError: if the images do not fit, an image is constant and the similarity undefined,
            values are not finite, or an option is unknown.

    Examples:
        >>> from jaxmed.registration import warp_points
        >>> at = np.indices((20, 20)) - 9.0
        >>> image = np.exp(-((at / 4) ** 2).sum(0))[..., None]
        >>> moving = np.roll(image, 2, 0)
        >>> found = register(image, moving, transform="rigid", similarity="mse", levels=1)
        >>> warp_points(found.warp, jnp.array([[9.0, 9.0]])).round().tolist()
        [[11.0, 9.0]]

    References:
        Rueckert et al., Nonrigid registration using free-form deformations, IEEE Transactions on
        Medical Imaging 1999; Ashburner, A fast diffeomorphic image registration algorithm,
        NeuroImage 2007.
    """
    loss = loss_of(similarity)
    if transform not in transforms.TRANSFORMS:
        known = ", ".join(transforms.TRANSFORMS)
        raise ValueError(f"transform={transform!r}; expected one of {known}")
    if symmetric and transform not in transforms.INVERTIBLE:
        raise ValueError(
            f"symmetric: the inverse of transform={transform!r} has no closed form; take "
            "'velocity', 'affine' or 'rigid'"
        )
    terms = _terms(transform, penalty)
    order = tuple(range(levels))[::-1] if isinstance(levels, int) else tuple(levels)
    counts = tuple(steps) if isinstance(steps, Sequence) else (steps,) * len(order)
    if not order or len(counts) != len(order) or min(order) < 0 or min(counts) < 1:
        raise ValueError(f"levels={levels!r}, steps={steps!r}: one level or more, with steps each")
    pair = pair_of(
        fixed,
        moving,
        labels,
        where,
        affines,
        masks=similarity == "dice",
        varying=similarity in VARYING,
        divide=similarity == "mse",
    )
    shape, affine = pair.fixed.shape[:-1], pair.fixed_affine
    begin = np.eye(len(affine))
    goes_on = initial is not None and initial.kind == transform == "velocity"
    if initial is not None and not goes_on:
        begin, pair = begun(initial, pair)
    speed = _RATES[transform] if rate is None else rate
    apart = transforms.NODES.get(transform, 1.0) if nodes is None else float(nodes)
    body = transforms.body(shape, affine)
    spacing = np.linalg.norm(affine[:-1, :-1], axis=0)
    values, grid, found = None, None, []
    for number, count in zip(order, counts, strict=True):
        step = factors(shape, spacing, number)
        before = grid
        if transform not in transforms.LINEAR:
            grid = along(shape, [s * apart for s in step], cover=True)
        if values is None:
            values = transforms.parameters(transform, len(shape), grid)
            if goes_on:
                values = taken_at(initial, grid, affine)
        elif grid is not None and before is not None:
            values = spread(values, before, grid)
        level, image = _level(pair, begin, step, number, grid, body)
        level = level._replace(rate=np.float32(speed * (spacing * step).min()))
        plan = Plan(transform, loss, terms, label_weight, symmetric, squarings, count, image, grid)
        values, lost = optimise(values, level, plan)
        found.append(lost)
    assert values is not None  # there is a level
    warp = _found(transform, values, grid, body, shape, affine)
    if initial is not None and not goes_on:
        warp = compose(initial, warp)
    return Registered(warp, jnp.concatenate(found), folds(warp, Space(shape, affine)))


def _terms(transform: str, penalty: Mapping[str, float] | None) -> tuple[tuple[str, float], ...]:
    if transform in transforms.LINEAR:
        if penalty:
            raise ValueError(f"penalty={penalty!r}: transform={transform!r} has no field")
        return ()
    chosen = _PENALTY[transform] if penalty is None else penalty
    for name in chosen:
        if name not in PENALTIES:
            raise ValueError(f"penalty {name!r}; expected {', '.join(sorted(PENALTIES))}")
    return tuple(sorted((name, float(weight)) for name, weight in chosen.items()))


def _level(
    pair: Pair,
    begin: np.ndarray,
    step: Sequence[float],
    number: int,
    grid: Grid | None,
    body: transforms.Body,
) -> tuple[Level, Grid]:
    """The images of a level, and the grid of the fixed one along the original."""
    other = factors(
        pair.moving.shape[:-1], np.linalg.norm(pair.moving_affine[:-1, :-1], axis=0), number
    )
    fixed, image = coarser(pair.fixed, step)
    moving, its = coarser(pair.moving, other)
    others = [
        None if mask is None else coarser(mask, by)[0]
        for mask, by in (
            (pair.fixed_labels, step),
            (pair.moving_labels, other),
            (pair.fixed_where, step),
            (pair.moving_where, other),
        )
    ]
    fixed_affine, moving_affine = image.affine(pair.fixed_affine), its.affine(pair.moving_affine)
    node_affine = np.eye(len(fixed_affine)) if grid is None else grid.affine(pair.fixed_affine)
    level = Level(
        fixed,
        moving,
        *others,
        fixed_affine=fixed_affine,
        node_affine=node_affine,
        to_moving=inverse_of(moving_affine) @ begin,
        from_moving=inverse_of(begin) @ moving_affine,
        to_fixed=inverse_of(fixed_affine),
        body=body,
        apart=np.linalg.norm(node_affine[:-1, :-1], axis=0),
        rate=np.float32(0),
    )
    return level, image


def _found(
    transform: str,
    values: Array,
    grid: Grid | None,
    body: transforms.Body,
    shape: tuple[int, ...],
    affine: np.ndarray,
) -> Warp:
    if grid is None:
        return affine_warp(transforms.matrix(transform, values, body))
    if transform == "bspline":
        every = Grid(shape, (1.0,) * len(shape), (0.0,) * len(shape))
        return displacement_warp(transforms.field_on(transform, values, grid, every), affine)
    make = velocity_warp if transform == "velocity" else displacement_warp
    return make(values, grid.affine(affine))
