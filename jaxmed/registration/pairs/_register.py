"""One image moved onto another, by optimisation from coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.pairs import _transforms as transforms
from jaxmed.registration.pairs._grids import spread
from jaxmed.registration.pairs._inputs import begun, overlapping, pair_of, taken_at
from jaxmed.registration.pairs._level import Plan, optimise
from jaxmed.registration.pairs._similarity import VARYING, Loss, Similarity, loss_of
from jaxmed.registration.pairs._stages import level_of, numbered, positive, stages, warp_of, weighed
from jaxmed.registration.pairs._transforms import Transform
from jaxmed.registration.warps._jacobian import folds
from jaxmed.registration.warps._warp import Warp, compose


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
        ValueError: if the images do not fit or do not overlap, an image is constant and the
            similarity undefined, values are not finite, or an option is unknown.

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
    transforms.checked(transform)
    if symmetric and transform not in transforms.INVERTIBLE:
        raise ValueError(
            f"symmetric: the inverse of transform={transform!r} has no closed form; take "
            "'velocity', 'affine' or 'rigid'"
        )
    penalties = weighed(transform, penalty)
    order = numbered(levels, steps)
    positive(rate=rate, nodes=nodes, label_weight=label_weight)
    if squarings < 0:
        raise ValueError(f"squarings={squarings} is negative")
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
    overlapping(pair, begin)
    course = stages(transform, shape, affine, order, rate=rate, nodes=nodes)
    values, grid, found = None, None, []
    for stage in course:
        if values is None:
            values = transforms.parameters(transform, len(shape), stage.nodes)
            if goes_on:
                values = taken_at(initial, stage.nodes, affine)
        elif grid is not None and stage.nodes is not None:
            values = spread(values, grid, stage.nodes)
        grid = stage.nodes
        level, image = level_of(pair, begin, stage, penalties, label_weight)
        plan = Plan(
            transform, loss, tuple(penalties), symmetric, squarings, stage.steps, image, grid
        )
        values, lost = optimise(values, level, plan)
        found.append(lost)
    assert values is not None  # there is a level
    warp = warp_of(transform, values, grid, shape, affine)
    if initial is not None and not goes_on:
        warp = compose(initial, warp)
    return Registered(warp, jnp.concatenate(found), folds(warp, Space(shape, affine)))
