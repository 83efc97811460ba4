"""Connected components of a mask, inside ``jit``."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import batching, mlir

from jaxmed.core import Array
from jaxmed.ops._neighbours import neighbourhood, shifted
from jaxmed.ops.convolution import _native as native
from jaxmed.ops.convolution._partition import needs_devices
from jaxmed.ops.convolution._primitive import divided

_components = jex.Primitive("jaxmed_components")
_components.multiple_results = True


def connected_components(mask: Array, *, connectivity: int = 1) -> tuple[Array, Array]:
    """Number the connected components of a mask.

    Equal to ``scipy.ndimage.label``: components are numbered in the order of their first voxel.

    On a CPU with the native extension, runs of voxels are joined by union-find. Elsewhere labels
    propagate along whole lines in both directions, then each label is hooked to the smallest
    label it met, followed by pointer jumping: about ten rounds even for a serpentine through
    the whole volume.

    Args:
        mask: ``(*spatial)``, non-zero inside. Use ``jax.vmap`` for batches.
        connectivity: voxels are neighbours if they differ by 1 along at most this many axes:
            1 (faces) up to the number of axes (corners too).

    Returns:
        ``(labels, count)``: int32 ``(*spatial)``, 0 outside, and the int32 number of components.

    Raises:
        ValueError: if ``connectivity`` does not fit the number of axes.

    References:
        Shiloach and Vishkin, An O(log n) parallel connectivity algorithm, J. Algorithms 3, 1982.

    Examples:
        >>> import jax.numpy as jnp
        >>> labels, count = connected_components(jnp.array([1, 1, 0, 1]))
        >>> labels.tolist(), int(count)
        ([1, 1, 0, 2], 2)
    """
    mask = jnp.asarray(mask)
    neighbourhood(mask.ndim, connectivity, name="mask", shape=mask.shape)
    if mask.size == 0:
        return jnp.zeros(mask.shape, jnp.int32), jnp.int32(0)
    labels, count = _components.bind(mask[None] != 0, connectivity=connectivity)
    return labels[0], count.reshape(())


def _pure(inside: Array, *, connectivity: int) -> tuple[Array, Array]:
    """Label the components of one mask in plain JAX."""
    mask = inside
    structure = neighbourhood(mask.ndim, connectivity)
    nowhere = jnp.int32(mask.size)
    own = jnp.arange(mask.size, dtype=jnp.int32).reshape(mask.shape)
    # Axis neighbours are covered by whole lines, so only the diagonal ones remain.
    diagonal = [offset for offset in structure if sum(map(abs, offset)) > 1]

    def one_round(carry):
        before, _ = carry
        labels = before
        for axis in reversed(range(mask.ndim)):
            labels = _along(labels, inside, axis, nowhere)
        if diagonal:
            least = labels
            for offset in diagonal:
                least = jnp.minimum(least, shifted(labels, offset, nowhere))
            labels = jnp.where(inside, least, nowhere)
        changed = (labels != before).any()
        flat = labels.ravel().at[before.ravel()].min(labels.ravel(), mode="drop")
        parents = flat
        for _ in range(2):
            followed = jnp.take(parents, flat, mode="clip")
            flat = jnp.where(inside.ravel(), followed, nowhere)
        return flat.reshape(mask.shape), changed

    # What loops begin with is computed from the mask: inside `shard_map` their values then vary
    # over the devices as those after a round do.
    start = jnp.where(inside, own, nowhere), inside.any() | True
    labels, _ = lax.while_loop(lambda carry: carry[1], one_round, start)
    rank = _running_count((inside & (labels == own)).ravel())
    numbered = jnp.where(inside, jnp.take(rank, labels.ravel(), mode="clip").reshape(mask.shape), 0)
    return numbered, rank[-1]


def _along(labels: Array, inside: Array, axis: int, nowhere: Array) -> Array:
    """Compute the smallest label of each unbroken run of a line."""
    rows, open_ = jnp.moveaxis(labels, axis, 0), jnp.moveaxis(inside, axis, 0)

    def carry_on(carry, row):
        label, here = row
        carry = jnp.where(here, jnp.minimum(label, carry), nowhere)
        return carry, carry

    start = jnp.maximum(rows[0], nowhere)  # no label is larger
    _, rows = lax.scan(carry_on, start, (rows, open_))
    _, rows = lax.scan(carry_on, start, (rows, open_), reverse=True)
    return jnp.moveaxis(rows, 0, axis)


def _running_count(flags: Array) -> Array:
    """Inclusive count of True, in two levels: XLA's own cumulative sum is slow on CPU."""
    width = max(int(flags.size**0.5), 1)
    padded = jnp.pad(flags, (0, -flags.size % width)).astype(jnp.int32).reshape(-1, width)
    _, inner = lax.scan(lambda c, x: (c + x, c + x), 0 * padded[:, 0], padded.T)
    before = jnp.cumsum(inner[-1]) - inner[-1]
    return (inner.T + before[:, None]).ravel()[: flags.size]


# One primitive on masks (batch, *spatial), so that the implementation is chosen when a program is
# lowered for a platform. Its counts are (batch, 1, ...): having the rank of the masks, they can
# reuse the masks' sharding type.


def _pure_batch(masks: Array, *, connectivity: int) -> tuple[Array, Array]:
    one = partial(_pure, connectivity=connectivity)
    if masks.shape[0] == 1:
        labels, count = one(masks[0])
        labels, count = labels[None], count[None]
    else:
        labels, count = jax.vmap(one)(masks)
    return labels, count.reshape((-1,) + (1,) * (masks.ndim - 1))


def _native_batch(masks: Array, *, connectivity: int) -> tuple[Array, Array]:
    shapes = [masks.shape, masks.shape[:1] + (1,) * (masks.ndim - 1)]
    call = jax.ffi.ffi_call(
        "jaxmed_components", [jax.ShapeDtypeStruct(s, jnp.int32) for s in shapes]
    )
    labels, count = call(masks, rank=np.int64(masks.ndim - 1), connectivity=np.int64(connectivity))
    return labels, count


def _abstract(masks: Any, *, connectivity: int) -> list[Any]:
    del connectivity
    shapes = [masks.shape, masks.shape[:1] + (1,) * (len(masks.shape) - 1)]
    return [masks.update(shape=s, dtype=np.dtype(np.int32), weak_type=False) for s in shapes]


def _batch(operands: Any, axes: Any, **params: Any) -> tuple[list[Array], tuple[int, int]]:
    (masks,), (axis,) = operands, axes
    masks = jnp.moveaxis(masks, axis, 0)
    front, inner = masks.shape[:2], masks.shape[2:]
    found = _components.bind(masks.reshape(front[0] * front[1], *inner), **params)
    return [v.reshape(*front, *v.shape[1:]) for v in found], (0, 0)


def _lower_cpu(context: mlir.LoweringRuleContext, masks: Any, **params: Any) -> Any:
    # XLA cannot partition a foreign call among devices, but it can partition plain JAX.
    missing = divided(context) or isinstance(native.library(), str)
    run = _pure_batch if missing else _native_batch
    return mlir.lower_fun(partial(run, **params), True)(context, masks)


_components.def_impl(jax.jit(_components.bind, static_argnames="connectivity"))
_components.def_abstract_eval(_abstract)
batching.primitive_batchers[_components] = _batch
mlir.register_lowering(_components, mlir.lower_fun(_pure_batch, True))
mlir.register_lowering(_components, _lower_cpu, platform="cpu")
needs_devices((_components,))
