"""Binary morphology by shifted masks."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmed.core import Array
from jaxmed.ops._components import connected_components
from jaxmed.ops._neighbours import Offsets, neighbourhood, shifted


def binary_erode(
    mask: Array,
    *,
    connectivity: int = 1,
    structure: np.ndarray | None = None,
    iterations: int = 1,
    border_value: bool = False,
) -> Array:
    """Keep the voxels whose whole neighbourhood is inside: ``y[p] = all_s x[p + s]``.

    Args:
        mask: ``(*spatial)``, non-zero inside. Use ``jax.vmap`` for batches.
        connectivity: neighbourhood that differs by 1 along at most this many axes.
        structure: a neighbourhood of your own, a concrete array of odd edge lengths.
        iterations: how often.
        border_value: what lies outside the image.

    Returns:
        Boolean mask of the same shape, equal to ``scipy.ndimage.binary_erosion``.

    Raises:
        ValueError: if the neighbourhood does not fit the mask.

    Examples:
        >>> import jax.numpy as jnp
        >>> binary_erode(jnp.array([0, 1, 1, 1, 0])).astype(int).tolist()
        [0, 0, 1, 0, 0]
    """
    mask = jnp.asarray(mask)
    offsets = _offsets(mask, connectivity, structure)

    def erode(x):
        y = x
        for n, offset in enumerate(offsets):
            moved = shifted(x, offset, bool(border_value))
            y = moved if n == 0 else y & moved
        return y

    return _repeat(erode, mask != 0, iterations)


def binary_dilate(
    mask: Array,
    *,
    connectivity: int = 1,
    structure: np.ndarray | None = None,
    iterations: int = 1,
    border_value: bool = False,
) -> Array:
    """Add the voxels with a neighbour inside: ``y[p] = any_s x[p - s]``.

    Args:
        mask: ``(*spatial)``, non-zero inside. Use ``jax.vmap`` for batches.
        connectivity: neighbourhood that differs by 1 along at most this many axes.
        structure: a neighbourhood of your own, a concrete array of odd edge lengths.
        iterations: how often.
        border_value: what lies outside the image.

    Returns:
        Boolean mask of the same shape, equal to ``scipy.ndimage.binary_dilation``.

    Raises:
        ValueError: if the neighbourhood does not fit the mask.

    Examples:
        >>> import jax.numpy as jnp
        >>> binary_dilate(jnp.array([0, 0, 1, 0, 0])).astype(int).tolist()
        [0, 1, 1, 1, 0]
    """
    mask = jnp.asarray(mask)
    offsets = _offsets(mask, connectivity, structure)

    def dilate(x):
        y = x
        for n, offset in enumerate(offsets):
            moved = shifted(x, tuple(-o for o in offset), bool(border_value))
            y = moved if n == 0 else y | moved
        return y

    return _repeat(dilate, mask != 0, iterations)


def binary_open(
    mask: Array,
    *,
    connectivity: int = 1,
    structure: np.ndarray | None = None,
    iterations: int = 1,
) -> Array:
    """Erode, then dilate: removes structures smaller than the neighbourhood.

    Arguments and errors as for :func:`binary_erode`; equal to ``scipy.ndimage.binary_opening``.

    Examples:
        >>> import jax.numpy as jnp
        >>> binary_open(jnp.array([0, 1, 0, 1, 1, 1, 0])).astype(int).tolist()
        [0, 0, 0, 1, 1, 1, 0]
    """
    options = {"connectivity": connectivity, "structure": structure, "iterations": iterations}
    return binary_dilate(binary_erode(mask, **options), **options)


def binary_close(
    mask: Array,
    *,
    connectivity: int = 1,
    structure: np.ndarray | None = None,
    iterations: int = 1,
) -> Array:
    """Dilate, then erode: closes gaps smaller than the neighbourhood.

    Arguments and errors as for :func:`binary_erode`; equal to ``scipy.ndimage.binary_closing``,
    which treats everything beyond the border as outside.

    Examples:
        >>> import jax.numpy as jnp
        >>> binary_close(jnp.array([0, 1, 1, 0, 1, 1, 0])).astype(int).tolist()
        [0, 1, 1, 1, 1, 1, 0]
    """
    options = {"connectivity": connectivity, "structure": structure, "iterations": iterations}
    return binary_erode(binary_dilate(mask, **options), **options)


def binary_fill_holes(mask: Array, *, connectivity: int = 1) -> Array:
    """Fill holes: background that is not connected to the border of the image.

    Args:
        mask: ``(*spatial)``, non-zero inside. Use ``jax.vmap`` for batches.
        connectivity: how the background is connected, as for :func:`connected_components`.

    Returns:
        Boolean mask of the same shape, equal to ``scipy.ndimage.binary_fill_holes``.

    Raises:
        ValueError: if ``connectivity`` does not fit the number of axes.

    Examples:
        >>> import jax.numpy as jnp
        >>> binary_fill_holes(jnp.array([0, 1, 0, 0, 1, 0])).astype(int).tolist()
        [0, 1, 1, 1, 1, 0]
    """
    inside = jnp.asarray(mask) != 0
    # A frame of background connects all that reaches the border. Its first voxel is component 1; in
    # 1D its two ends are not connected, and the last voxel belongs to the other component.
    labels, _ = connected_components(
        jnp.pad(~inside, 1, constant_values=True), connectivity=connectivity
    )
    filled = labels[(slice(1, -1),) * inside.ndim]
    return (filled != 1) & (filled != labels.ravel()[-1])


def _offsets(mask: Array, connectivity: int, structure: np.ndarray | None) -> Offsets:
    if structure is None:
        return neighbourhood(mask.ndim, connectivity, shape=mask.shape)
    kept = np.asarray(structure) != 0
    if kept.ndim != mask.ndim or any(n % 2 == 0 for n in kept.shape):
        raise ValueError(
            f"structure has shape {kept.shape}; for a mask of shape {mask.shape} it needs "
            f"{mask.ndim} axes of odd length"
        )
    if not kept.any():
        raise ValueError("structure is empty")
    middle = np.array(kept.shape) // 2
    return tuple(tuple(int(v) for v in row - middle) for row in np.argwhere(kept))


def _repeat(step: Callable[[Array], Array], mask: Array, iterations: int) -> Array:
    if iterations < 0:
        raise ValueError(f"iterations={iterations!r} must not be negative")
    if iterations == 1:
        return step(mask)
    return lax.fori_loop(0, iterations, lambda _, x: step(x), mask)
