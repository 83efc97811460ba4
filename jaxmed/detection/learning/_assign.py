"""Which anchors stand for which object: adaptive training sample selection."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.ops._boxes import box_area, box_iou, corners


def assign(
    anchors: jax.typing.ArrayLike,
    boxes: jax.typing.ArrayLike,
    mask: jax.typing.ArrayLike,
    *,
    levels: Sequence[int] | None = None,
    nearest: int = 9,
) -> Array:
    r"""Say for each anchor which object it is to predict, if any (ATSS).

    Of each map the anchors nearest to an object's centre are its candidates. Those whose IoU is at
    least the candidates' mean plus their standard deviation, and whose centre lies in the object,
    are its own; an anchor that several objects claim goes to the one it overlaps most. An object
    that gets none so, such as one smaller than a stride, has the free candidate of the largest IoU,
    the nearest where none overlaps: the paper would never learn it.

    Args:
        anchors: ``(places, 2 * rank)``, map after map.
        boxes: ``(objects, 2 * rank)``, padded.
        mask: ``(objects,)``, False for padding.
        levels: number of anchors of each map; one map by default.
        nearest: candidates of each object on each map.

    Returns:
        ``(places,)`` int32: the object's position, -1 for background. Boxes without an area count
        as padding; without any object all is background.

    Raises:
        ValueError: shapes that do not fit.

    References:
        Zhang et al., Bridging the gap between anchor-based and anchor-free detection via adaptive
        training sample selection, CVPR 2020.

    Examples:
        >>> anchors = jnp.array([[0.0, 0, 4, 4], [0, 4, 4, 8], [0, 8, 4, 12]])
        >>> assign(anchors, jnp.array([[0.0, 3, 4, 8]]), jnp.array([True])).tolist()
        [-1, 0, -1]
    """
    a, b = jnp.asarray(anchors), jnp.asarray(boxes)
    mask = jnp.asarray(mask, bool)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or mask.shape != b.shape[:1]:
        raise ValueError(
            "anchors are (places, 2 * rank), boxes (objects, 2 * rank) and mask (objects,), got "
            f"{a.shape}, {b.shape} and {mask.shape}"
        )
    counts = (len(a),) if levels is None else tuple(levels)
    if sum(counts) != len(a) or nearest < 1:
        raise ValueError(f"levels {counts} with nearest={nearest} for {len(a)} anchors")
    if not len(b):
        return jnp.full(len(a), -1, jnp.int32)
    mask = mask & (box_area(b) > 0)
    (low, high), (low_a, high_a) = corners(b), corners(a)
    centre, middle = (low + high) / 2, (low_a + high_a) / 2
    distance = ((centre[:, None] - middle) ** 2).sum(-1)
    found, start = [], 0
    for count in counts:
        near = jax.lax.top_k(-distance[:, start : start + count], min(nearest, count))[1]
        found.append(near + start)
        start += count
    near = jnp.concatenate(found, axis=1)  # (objects, candidates)

    pick = jax.vmap(lambda values, at: values[at])
    overlap = box_iou(b[:, None], a[near])
    inside = ((middle[near] > low[:, None]) & (middle[near] < high[:, None])).all(-1)
    spread = overlap.std(1, ddof=1) if near.shape[1] > 1 else jnp.zeros(len(b))
    own = inside & (overlap >= (overlap.mean(1) + spread)[:, None]) & mask[:, None]

    claims = jnp.full((len(b), len(a)), -1.0, overlap.dtype)
    rows = jnp.arange(len(b))[:, None]
    claims = claims.at[rows, near].set(jnp.where(own, overlap, -1.0))
    best = claims.argmax(0)
    given = jnp.where(claims.max(0) >= 0, best, -1).astype(jnp.int32)

    # Objects left without an anchor take the best that is free: the smallest first, since two may
    # want one.
    far = pick(distance, near)
    order = overlap - far / (1 + far.max(1, keepdims=True)) * 1e-6
    holds = (given[None] == jnp.arange(len(b))[:, None]).any(1)

    def provide(given: Array, row: tuple[Array, ...]) -> tuple[Array, None]:
        number, at, rank_of, needs = row
        score = jnp.where(given[at] < 0, rank_of, -jnp.inf)
        choice = at[score.argmax()]
        free = needs & (score.max() > -jnp.inf)
        return given.at[choice].set(jnp.where(free, number, given[choice])), None

    turn = box_area(b).argsort().astype(jnp.int32)
    rows = (turn, near[turn], order[turn], (mask & ~holds)[turn])
    return jax.lax.scan(provide, given, rows)[0]
