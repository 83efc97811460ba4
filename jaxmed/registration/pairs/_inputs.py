"""The two images of a registration: read from what is given, and checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed import ops
from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.warps._warp import (
    Warp,
    inverse_of,
    known_matrix,
    nodes,
    transformed,
    warp_points,
)


class Pair(NamedTuple):
    """Two images and their labels, one channel a class, with their affines on the host."""

    fixed: Array
    moving: Array
    fixed_labels: Array | None
    moving_labels: Array | None
    fixed_where: Array | None
    moving_where: Array | None
    fixed_affine: np.ndarray
    moving_affine: np.ndarray


def pair_of(
    fixed: Any,
    moving: Any,
    labels: tuple[Any, Any] | None,
    where: tuple[Any, Any] | None,
    affines: tuple[Any, Any] | None,
    *,
    masks: bool,
    varying: bool,
    divide: bool,
) -> Pair:
    """Check a pair of images.

    Args:
        fixed: a scan, or an array.
        moving: likewise.
        labels: of both, if there are any.
        where: which voxels of each count.
        affines: of arrays.
        masks: whether they are masks, to be compared as classes.
        varying: whether a constant image cannot be compared.
        divide: whether brightness is to be divided by the fixed image's standard deviation.
    """
    arrays, places = [], []
    for i, (name, given) in enumerate((("fixed", fixed), ("moving", moving))):
        if isinstance(given, Scan):
            if affines is not None:
                raise ValueError("affines are those of arrays; scans have their own")
            array, affine = given.array, given.affine
        else:
            array = arrayed(name, given)
            rank = np.ndim(array) - (0 if masks else 1)
            affine = np.eye(rank + 1) if affines is None else affines[i]
        affine = known_matrix(affine, f"the affine of {name}")
        arrays.append(checked(name, array, len(affine) - 1, masks=masks, varying=varying))
        places.append(affine)
    a, b = arrays
    if len(places[0]) != len(places[1]) or (not masks and a.shape[-1] != b.shape[-1]):
        raise ValueError(
            f"fixed has shape {a.shape} and moving {b.shape}: they need as many axes and as many "
            "channels"
        )
    if masks:
        a, b = _classes(a, b, "fixed and moving")
    elif divide:
        middle = a.mean(tuple(range(a.ndim - 1)))
        size = a.std(tuple(range(a.ndim - 1)))
        size = jnp.where(size > 0, size, 1)
        a, b = (a - middle) / size, (b - middle) / size
    own: tuple[Any, Any] = (None, None)
    if labels is not None:
        one, two = (
            _lying_on(mask, image.shape[:-1], f"labels of {name}")
            for name, mask, image in zip(("fixed", "moving"), labels, (a, b), strict=True)
        )
        own = _classes(one, two, "labels")
    counts = [
        on_grid(mask, image.shape[:-1], f"voxels that count of {name}")
        for name, mask, image in zip(
            ("fixed", "moving"), where or (None, None), (a, b), strict=True
        )
    ]
    return Pair(a, b, own[0], own[1], counts[0], counts[1], places[0], places[1])


def arrayed(name: str, given: Any) -> Any:
    """Refuse what is no array of real numbers."""
    array = given if isinstance(given, jax.Array) else np.asarray(given)
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"{name} is a {type(given).__name__} of {array.dtype}; it is a scan, as "
            "`jaxmed.data.read_image` reads a file, or an array of real numbers"
        )
    return array


def overlapping(pair: Pair, begin: np.ndarray) -> None:
    """Refuse images that have no voxel in common, of which no similarity has a slope."""
    fixed = Space(pair.fixed.shape[:-1], pair.fixed_affine)
    moving = Space(pair.moving.shape[:-1], inverse_of(begin) @ pair.moving_affine)
    if not moving.reaches(fixed).any() and not fixed.reaches(moving).any():
        middles = [
            (s.affine @ [*((n - 1) / 2 for n in s.shape), 1.0])[:-1].round(1).tolist()
            for s in (fixed, moving)
        ]
        raise ValueError(
            f"moving lies wholly outside of fixed: their middles are at {middles[1]} and "
            f"{middles[0]} mm. Begin with initial=centre_warp(fixed, moving) (--centre)"
        )


def on_grid(mask: Any, shape: tuple[int, ...], what: str) -> Array | None:
    """How far each voxel of an image counts, ``(*spatial, 1)``; None if all do."""
    if mask is None:
        return None
    array = _lying_on(mask, shape, what)
    if not isinstance(array, Tracer) and not np.any(np.asarray(array)):
        raise ValueError(f"the {what} are none: there is nothing to compare")
    return jnp.asarray(array, jnp.float32)[..., None]


def _lying_on(mask: Any, shape: tuple[int, ...], what: str) -> Any:
    """A mask as an array of the shape of its image."""
    array = mask.array if isinstance(mask, Scan) else mask
    if np.shape(array) != shape:
        raise ValueError(
            f"the {what} have shape {np.shape(array)}, the image {shape}: they lie on one grid"
        )
    return array


def _same_rank(initial: Warp, rank: int) -> None:
    if initial.rank != rank:
        raise ValueError(f"initial is a warp of {initial.rank} axes, the images have {rank}")


def taken_at(initial: Any, grid: Any, affine: np.ndarray) -> Array:
    """Take a velocity at the nodes of a grid along an image of an affine, to begin with it."""
    _same_rank(initial, len(affine) - 1)
    points = nodes(grid.affine(affine), grid.shape)
    at = transformed(inverse_of(initial.affine), points)
    return ops.resample(initial.values, at, mode="nearest")


def begun(initial: Warp, pair: Pair) -> tuple[np.ndarray, Pair]:
    """Begin with a warp: its matrix, or the moving image as it moves it onto the fixed grid."""
    _same_rank(initial, pair.fixed.ndim - 1)
    if initial.kind == "affine":
        return known_matrix(initial.values, "initial"), pair
    points = warp_points(initial, nodes(pair.fixed_affine, pair.fixed.shape[:-1]))
    at = transformed(inverse_of(pair.moving_affine), points)
    moved = [
        None if image is None else ops.resample(image, at, mode="nearest")
        for image in (pair.moving, pair.moving_labels, pair.moving_where)
    ]
    pair = pair._replace(
        moving=moved[0],
        moving_labels=moved[1],
        moving_where=moved[2],
        moving_affine=pair.fixed_affine,
    )
    return np.eye(initial.rank + 1), pair


def checked(name: str, array: Any, rank: int, *, masks: bool, varying: bool) -> Array:
    wanted = rank if masks else rank + 1
    if np.ndim(array) != wanted or 0 in np.shape(array):
        layout = "(*spatial,)" if masks else "(*spatial, channels)"
        raise ValueError(
            f"{name} has shape {np.shape(array)}; of {rank} axes it is {layout}, and not empty"
        )
    if masks:
        if not np.issubdtype(array.dtype, np.integer) and array.dtype != bool:
            raise ValueError(f"{name} is compared by classes: a mask of whole numbers")
        return array
    image = jnp.asarray(array, jnp.float32)
    if not isinstance(image, Tracer):
        seen = np.asarray(image)
        if not np.isfinite(seen).all():
            raise ValueError(f"{name} has values that are not finite")
        flat = seen.reshape(-1, seen.shape[-1])
        if varying and (flat == flat[0]).all(0).any():
            raise ValueError(
                f"{name} is constant (in a channel): correlation and mutual information are "
                "undefined; take similarity='mse' (--similarity mse), or another image"
            )
    return image


def _classes(a: Any, b: Any, name: str) -> tuple[Array, Array]:
    """Each class of two masks as a channel, without the background."""
    if any(isinstance(x, Tracer) for x in (a, b)):
        raise ValueError(f"{name}: masks inside jit or vmap have no classes that are known")
    a, b = np.asarray(a), np.asarray(b)
    found = np.union1d(np.unique(a), np.unique(b))
    found = found[found != 0]
    if not len(found):
        raise ValueError(f"{name}: both masks are empty")
    one, two = (jnp.asarray(m[..., None] == found, jnp.float32) for m in (a, b))
    return one, two
