"""Running statistics of a batch that is padded."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core._types import Array, Batch, PyTree


def real_share(batch: Batch) -> Array | None:
    """The share of a batch's rows that are no padding; ``None`` where nothing says so."""
    weight = batch.get("weight")
    return None if weight is None else (weight > 0).mean(dtype=jnp.float32)


def share_of_change(old: PyTree, new: PyTree, share: Array | None) -> PyTree:
    """The state of which running statistics have changed by a share alone.

    A batch with one real row has a variance of 0, for its padding repeats that row, and an update
    as strong as a full batch's would draw the running variance halfway there. Moved by the share of
    real rows, a running statistic weighs each example alike. A full batch changes it to the bit
    as without this.

    Args:
        old: ``{"net": ..., "obj": ...}`` before a forward pass.
        new: the same after it.
        share: of real rows; ``None`` for all.

    Returns:
        ``new``, in which the floats of ``net``, and those of ``obj`` that belong to a
        ``batch_stats`` collection (of heads and teachers), are at ``old + share * (new - old)``.
    """
    if share is None or jax.tree.structure(old) != jax.tree.structure(new):
        return new  # Another structure is the step's own error to raise.

    def moved(path, before, after):
        names = [str(getattr(part, "key", part)) for part in path]
        statistic = names[:1] == ["net"] or "batch_stats" in names
        if before is after or not statistic or not jnp.issubdtype(after.dtype, jnp.inexact):
            return after
        part = before + (share * (after - before)).astype(after.dtype)
        return jnp.where(share < 1, part, after)

    return jax.tree.map_with_path(moved, old, new)
