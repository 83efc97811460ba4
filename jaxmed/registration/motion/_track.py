"""A cine's frames, each found from the reference frame, as one compiled program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.motion._frames import frames_of, in_order
from jaxmed.registration.pairs import _transforms as transforms
from jaxmed.registration.pairs._grids import coarser, spread
from jaxmed.registration.pairs._inputs import Pair, on_grid
from jaxmed.registration.pairs._level import Level, Plan, optimise
from jaxmed.registration.pairs._similarity import VARYING, Loss, Similarity, loss_of
from jaxmed.registration.pairs._stages import level_of, numbered, positive, stages, warp_of, weighed
from jaxmed.registration.warps._jacobian import folds
from jaxmed.registration.warps._warp import Warp, compose

How = Literal["direct", "chained"]
Field = Literal["bspline", "displacement", "velocity"]


class Tracked(NamedTuple):
    """How a cine moves.

    Attributes:
        warps: one a frame, from points of the reference frame to where the same tissue is in that
            frame, in millimetres; the reference frame's own is the identity.
        losses: (frames, steps) similarity and penalty together before each step, level after level;
            0 for the reference frame.
        folds: (frames,) share of voxels where the warp folds.
    """

    warps: tuple[Warp, ...]
    losses: Array
    folds: Array


def track(
    cine: Scan | Sequence[Scan] | Any,
    *,
    reference: int = 0,
    how: How = "direct",
    cyclic: bool = False,
    transform: Field = "velocity",
    similarity: Similarity | Loss = "lncc",
    penalty: Mapping[str, float] | None = None,
    levels: int | Sequence[int] = 2,
    steps: int | Sequence[int] = 40,
    rate: float | None = None,
    nodes: float | None = None,
    where: Any = None,
    squarings: int = 6,
    affine: Any = None,
) -> Tracked:
    """Follow tissue through a cine: the warp from a reference frame to every other.

    Frames are gone through away from the reference frame, one after the other in one compiled
    program, each by Adam from coarse to fine as :func:`register` does. A pure function of arrays.

    Args:
        cine: a scan whose frames lie along its last axis, as :func:`jaxmed.data.read_image` reads a
            file of four axes; scans of one grid, one a frame (end-diastole and end-systole, say);
            or an array ``(frames, *spatial, channels)``. Two axes or three.
        reference: the frame at rest, such as that of end-diastole.
        how: ``"direct"``: every frame is compared with the reference frame, beginning with the
            warp of its neighbour, and errors do not add up. ``"chained"``: each frame is compared
            with its neighbour, and the warps are composed: for tissue whose brightness changes.
        cyclic: whether the last frame is followed by the first, as in a cine of one heart beat: the
            later half is then reached from the other end.
        transform: ``"velocity"``, ``"displacement"`` or ``"bspline"``.
        similarity: as in :func:`register`, of images.
        penalty: as in :func:`register`.
        levels: likewise.
        steps: of Adam, for every level or for each, of each frame.
        rate: as in :func:`register`.
        nodes: likewise.
        where: which voxels count, ``(*spatial,)`` on the grid, or None for all.
        squarings: by which a velocity is integrated.
        affine: of an array, on the host; by default a voxel is a millimetre.

    Returns:
        The warps in millimetres, the losses and the share of voxels that fold. Chained warps are
        displacements.

    Raises:
        ValueError: if frames lie on different grids, a frame is constant and the similarity
            undefined, values are not finite, an axis has one voxel, or an option is unknown.

    Examples:
        >>> from jaxmed.registration import warp_points
        >>> at = np.indices((16, 16)) - 7.0
        >>> ball = np.exp(-((at / 4) ** 2).sum(0))[..., None]
        >>> cine = np.stack([ball, np.roll(ball, 1, 0), np.roll(ball, 2, 0)])
        >>> found = track(cine, similarity="mse", levels=1, steps=20)
        >>> [warp_points(w, jnp.array([7.0, 7.0])).round().tolist() for w in found.warps]
        [[7.0, 7.0], [8.0, 7.0], [9.0, 7.0]]
    """
    loss = loss_of(similarity)
    if similarity == "dice":
        raise ValueError("similarity='dice' is of masks; a cine is of images")
    if transforms.checked(transform) in transforms.LINEAR:
        raise ValueError(f"transform={transform!r}: tissue moves by a field, not as one body")
    if how not in ("direct", "chained"):
        raise ValueError(f"how={how!r}; expected 'direct' or 'chained'")
    penalties = weighed(transform, penalty)
    order = numbered(levels, steps)
    positive(rate=rate, nodes=nodes)
    if squarings < 0:
        raise ValueError(f"squarings={squarings} is negative")
    frames, place = frames_of(cine, affine, varying=similarity in VARYING)
    if not -len(frames) <= reference < len(frames):
        raise ValueError(f"reference={reference} of {len(frames)} frames")
    reference %= len(frames)
    if similarity == "mse":  # as in `register`
        size = frames[reference].std(tuple(range(frames.ndim - 2)))
        frames = frames / jnp.where(size > 0, size, 1)
    shape = frames.shape[1:-1]
    counts = on_grid(where, shape, "voxels that count")
    still = Pair(frames[reference], frames[reference], None, None, counts, None, place, place)
    course = stages(transform, shape, place, order, rate=rate, nodes=nodes)
    given, plans, stacks = [], [], []
    for stage in course:
        level, image = level_of(still, np.eye(len(place)), stage, penalties, 1.0)
        given.append(level)
        plans.append(
            Plan(
                transform, loss, tuple(penalties), False, squarings, stage.steps, image, stage.nodes
            )
        )
        stacks.append(jax.vmap(lambda x, by=stage.factors: coarser(x, by)[0])(frames))
    path = in_order(len(frames), reference, cyclic=cyclic)
    values, losses = _followed(
        tuple(stacks), tuple(given), plans=tuple(plans), path=path, chained=how == "chained"
    )
    last = plans[-1].nodes
    warps = [warp_of(transform, v, last, shape, place) for v in values]
    if how == "chained":
        for frame, before in path:
            warps[frame] = compose(warps[frame], warps[before])
        warps[reference] = compose(warps[reference], warps[reference])
    space = Space(shape, place)
    return Tracked(tuple(warps), losses, jnp.stack([folds(w, space) for w in warps]))


@partial(jax.jit, static_argnames=("plans", "path", "chained"))
def _followed(
    stacks: tuple[Array, ...],
    levels: tuple[Level, ...],
    *,
    plans: tuple[Plan, ...],
    path: tuple[tuple[int, int], ...],
    chained: bool,
) -> tuple[Array, Array]:
    """Go from frame to frame.

    Args:
        stacks: of each level, the frames ``(frames, *spatial, channels)``.
        levels: of each, the reference frame and the grids.
        plans: of each.
        path: each frame with the one before it.
        chained: whether a frame is compared with the one before.

    Returns:
        Parameters on the last level's nodes, ``(frames, *nodes, rank)``, and losses.
    """
    grid = plans[-1].nodes
    assert grid is not None  # a field has nodes
    rank, count = len(grid.shape), len(stacks[0])

    def one(found: Array, pair: Array) -> tuple[Array, Array]:
        frame, before = pair
        values = jnp.zeros_like(found[0]) if chained else found[before]
        along, losses = grid, []
        for stack, level, plan in zip(stacks, levels, plans, strict=True):
            level = level._replace(moving=stack[frame])
            if chained:
                level = level._replace(fixed=stack[before])
            assert plan.nodes is not None
            values, along = spread(values, along, plan.nodes), plan.nodes
            values, lost = optimise(values, level, plan)
            losses.append(lost)
        return found.at[frame].set(values), jnp.concatenate(losses)

    start = jnp.zeros((count, *grid.shape, rank))
    found, lost = jax.lax.scan(one, start, jnp.asarray(path))
    losses = jnp.zeros((count, lost.shape[-1])).at[jnp.asarray(path)[:, 0]].set(lost)
    return found, losses
