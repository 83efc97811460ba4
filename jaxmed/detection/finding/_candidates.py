"""Boxes with scores as suppression and fusion take and give them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.detection.finding._detections import Detections


def padded(
    boxes: jax.typing.ArrayLike,
    scores: jax.typing.ArrayLike,
    labels: jax.typing.ArrayLike | None,
    mask: jax.typing.ArrayLike | None,
) -> tuple[Array, Array, Array, Array]:
    """Boxes, scores, labels and mask as arrays that fit each other; NaN is not there.

    Raises:
        ValueError: shapes that do not fit.
    """
    b, s = jnp.asarray(boxes), jnp.asarray(scores)
    b, s = (x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in (b, s))
    if b.ndim != 2 or b.shape[1] % 2 or s.shape != b.shape[:1]:
        raise ValueError(
            f"boxes are (n, 2 * rank) and scores (n,), got {b.shape} and {s.shape}: vmap over a "
            "batch"
        )
    kinds = jnp.zeros(len(b), jnp.int32) if labels is None else jnp.asarray(labels)
    there = jnp.ones(len(b), bool) if mask is None else jnp.asarray(mask, bool)
    for name, value in (("labels", kinds), ("mask", there)):
        if value.shape != s.shape:
            raise ValueError(f"{name} is {s.shape} as the scores, got {value.shape}")
    there = there & ~jnp.isnan(s) & jnp.isfinite(b).all(1)
    return jnp.where(there[:, None], b, 0), s, kinds.astype(jnp.int32), there


def picked(boxes: Array, scores: Array, labels: Array) -> Detections:
    """Detections of boxes whose scores are -inf where there is none."""
    mask = jnp.isfinite(scores)
    return Detections(
        jnp.where(mask[:, None], boxes, 0),
        jnp.where(mask, scores, 0),
        jnp.where(mask, labels, -1),
        mask,
    )


def best(b: Array, s: Array, kinds: Array, most: int) -> tuple[Array, Array, Array]:
    """The boxes of the highest scores, in an order that is theirs alone."""
    if len(b) == 0:
        return jnp.zeros((1, b.shape[1])), jnp.full(1, -jnp.inf), jnp.full(1, -1, jnp.int32)
    if len(b) > most:
        s, at = jax.lax.top_k(s, most)
        b, kinds = b[at], kinds[at]
    order = jnp.lexsort((kinds, *b.T[::-1], -s))
    return b[order], s[order], kinds[order]
