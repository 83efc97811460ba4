"""What views of a batch have in common: one pass for several, and geometry that must agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Key, View, pick, stream


def apply_view(view: View | None, key: Key, images: Any) -> Any:
    """The images as a view shows them; ``None`` shows them as they are.

    Of what a network is given as a dict, such as bags with their mask, the ``image`` is shown so.
    """
    if view is None:
        return images
    if isinstance(images, Mapping):
        return {**images, "image": view(key, {"image": images["image"]})["image"]}
    return view(key, {"image": images})["image"]


def interleave(*batches: Any) -> Any:
    """Several batches, arrays or dicts of them, as one, their rows interleaved: ``a0 b0 a1 ...``.

    Interleaved, not concatenated: each device of a sharded batch keeps its own examples.

    Raises:
        ValueError: if their shapes differ.
    """

    def joined(*arrays: Array) -> Array:
        if len({array.shape for array in arrays}) > 1:
            shapes = [array.shape for array in arrays]
            raise ValueError(
                f"views that go through the network as one batch have one shape: {shapes}"
            )
        stacked = jnp.stack(arrays, axis=1)
        return stacked.reshape(-1, *stacked.shape[2:])

    return jax.tree.map(joined, *batches)


def two_views(view: View, second_view: View | None, key: Key, images: Array) -> tuple[Array, Array]:
    """Two draws of a view, or one of each of two."""
    views = (view, second_view or view)
    first, other = (apply_view(one, stream(key, "view", i), images) for i, one in enumerate(views))
    return first, other


def deinterleave(array: Array, n: int) -> tuple[Array, ...]:
    """The batches that :func:`interleave` made one."""
    split = array.reshape(-1, n, *array.shape[1:])
    return tuple(split[:, i] for i in range(n))


def row_weights(batch: Batch, inputs: str) -> Array | None:
    """The weights of the rows of ``inputs``: ``weight`` for images, ``weight_{inputs}`` else."""
    return batch.get("weight" if inputs == "image" else f"weight_{inputs}")


def same_geometry(outputs: Array, name: str, *views: View | None) -> None:
    """Refuse views that move voxels where outputs are compared voxel by voxel.

    Raises:
        ValueError: if ``outputs`` has spatial axes and a view is known to move voxels.
    """
    if outputs.ndim <= 2:
        return
    moving = [
        getattr(step, "name", type(step).__name__)
        for view in views
        for step in getattr(view, "steps", ())
        if hasattr(step, "coordinates")
    ]
    if moving:
        raise ValueError(
            f"{name!r} has the shape {outputs.shape}, voxel for voxel, so views must leave the "
            f"geometry alone, and {moving} move voxels: keep to intensities, noise, blur and "
            f"cut-outs, and move images before, with augmented(...)"
        )


def vectors(endpoints, output: str) -> Array:
    """An endpoint of one vector per example.

    Raises:
        KeyError: if the network has no such endpoint.
        ValueError: if it is not ``(batch, features)``.
    """
    outputs = pick(endpoints, output, "network")
    if getattr(outputs, "ndim", None) != 2:
        shape = getattr(outputs, "shape", type(outputs).__name__)
        raise ValueError(f"{output!r} must be (batch, features), one vector per example: {shape}")
    return outputs.astype(jnp.float32)


def one_map(endpoints, output: str, level: int) -> Array:
    """An endpoint, or of a tuple of them the one at ``level`` (finest first), as float32.

    Raises:
        KeyError: if the network has no such endpoint.
        ValueError: if the tuple has no such level.
    """
    outputs = pick(endpoints, output, "network")
    if isinstance(outputs, tuple | list):
        if not -len(outputs) <= level < len(outputs):
            raise ValueError(f"{output!r} has {len(outputs)} levels, so none at {level}")
        outputs = outputs[level]
    return outputs.astype(jnp.float32)
