"""One set of boxes out of several: of the members of an ensemble, of mirrored images."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.detection.finding._candidates import best, padded, picked
from jaxmed.detection.finding._detections import Detections
from jaxmed.ops._boxes import box_iou


def weighted_fusion(
    boxes: jax.typing.ArrayLike,
    scores: jax.typing.ArrayLike,
    labels: jax.typing.ArrayLike | None = None,
    mask: jax.typing.ArrayLike | None = None,
    *,
    members: int,
    iou: float = 0.55,
    count: int = 100,
    candidates: int = 1000,
) -> Detections:
    """Fuse boxes of several detectors: their mean by score, not the surest alone.

    Boxes are taken by falling score. Each joins the cluster of its class whose fused box it
    overlaps most, if by more than ``iou``, or begins one. A cluster's box is the mean of its boxes
    weighted by score, and its score the sum of theirs over the number of detectors (no more than
    their mean): what one detector of several finds counts less.

    Args:
        boxes: ``(n, 2 * rank)`` of all detectors, such as members of an ensemble, or one network on
            mirrored images, whose boxes were mirrored back.
        scores: ``(n,)`` from 0 to 1.
        labels: ``(n,)`` classes; one by default.
        mask: ``(n,)``, False for padding.
        members: number of detectors.
        iou: of boxes that are fused.
        count: boxes returned, at most.
        candidates: boxes of the highest scores that are looked at, at most.

    Returns:
        The fused boxes, the surest first.

    Raises:
        ValueError: shapes that do not fit, or no member.

    References:
        Solovyev, Wang and Gabruseva, Weighted boxes fusion, Image and Vision Computing 107, 2021.

    Examples:
        >>> boxes = jnp.array([[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]])
        >>> found = weighted_fusion(boxes, jnp.array([0.6, 0.6, 0.8]), members=2, count=2)
        >>> found.boxes[0].tolist(), [round(s, 3) for s in found.scores.tolist()]
        ([0.0, 0.0, 4.0, 4.5], [0.6, 0.4])
    """
    if members < 1 or count < 1:
        raise ValueError(f"members and count are at least 1, got {members} and {count}")
    b, s, kinds, there = padded(boxes, scores, labels, mask)
    b, s, kinds = best(b, jnp.where(there & (s > 0), s, -jnp.inf), kinds, candidates)
    n = len(b)
    empty = (jnp.zeros(n), jnp.zeros_like(b), jnp.zeros(n), jnp.full(n, -2, jnp.int32))

    def join(clusters: tuple[Array, ...], row: tuple[Array, ...]) -> tuple[tuple[Array, ...], None]:
        total, summed, size, kind = clusters
        box, score, own = row
        fused = summed / jnp.where(total > 0, total, 1)[:, None]
        overlap = jnp.where((kind == own) & (size > 0), box_iou(fused, box), -1)
        new = (size > 0).sum()
        at = jnp.where(overlap.max() > iou, overlap.argmax(), new)
        weight = jnp.where(jnp.isfinite(score), score, 0)
        counts = jnp.isfinite(score).astype(size.dtype)
        return (
            total.at[at].add(weight),
            summed.at[at].add(weight * box),
            size.at[at].add(counts),
            kind.at[at].set(jnp.where(counts > 0, own, kind[at])),
        ), None

    (total, summed, size, kind), _ = jax.lax.scan(join, empty, (b, s, kinds))
    fused = summed / jnp.where(total > 0, total, 1)[:, None]
    score = total / jnp.maximum(size, members)
    found = best(fused, jnp.where(size > 0, score, -jnp.inf), kind, n)
    return picked(*(_to_length(x, count) for x in found))


def _to_length(x: Array, count: int) -> Array:
    """The first of an array, or it and -inf (-1 of whole numbers) behind."""
    behind = max(0, count - len(x))
    fill = -1 if jnp.issubdtype(x.dtype, jnp.integer) else -jnp.inf
    pad = [(0, behind), *[(0, 0)] * (x.ndim - 1)]
    return jnp.pad(x[:count], pad, constant_values=fill)
