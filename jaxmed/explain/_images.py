"""The images that are explained, and what stands for their absence."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, PyTree

Baseline = float | Array | np.ndarray


def one_image(inputs: PyTree, method: str) -> Array:
    """Images ``(batch, *spatial, channels)``, for a method that covers parts of them.

    Raises:
        ValueError: if the inputs are several arrays, integers, or have no spatial axis.
    """
    if isinstance(inputs, dict):
        raise ValueError(
            f"{method} covers parts of one array of images, and these inputs are {list(inputs)}: "
            f"wrap the network in one of the images alone, with `jaxmed.core.from_functions`"
        )
    inputs = jnp.asarray(inputs)
    if inputs.ndim < 3 or not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise ValueError(
            f"{method} takes images (batch, *spatial, channels) of floats, got "
            f"{inputs.dtype} {inputs.shape}"
        )
    return inputs


def absent(baseline: Baseline, images: Array) -> Array:
    """What stands for absence, in the shape of the images.

    Raises:
        ValueError: if it has another shape than one image, all images or a number a channel.
    """
    try:
        return jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
    except ValueError as error:
        raise ValueError(
            f"a baseline is a number, one a channel, an image or all of {images.shape}, got the "
            f"shape {np.shape(baseline)}"
        ) from error


def per_channel(values: Array, images: Array) -> Array:
    """A map without channels ``(batch, *spatial)``, each channel of the images an equal share."""
    channels = images.shape[-1]
    return jnp.broadcast_to(values[..., None] / channels, (*values.shape, channels))


def enlarged(coarse: Array, images: Array) -> Array:
    """A coarse map ``(batch, *grid)`` on the images' grid, each channel an equal share."""
    size = (len(images), *images.shape[1:-1])
    return per_channel(jax.image.resize(coarse, size, "linear"), images)


def each_axis(value: int | Sequence[int], spatial: tuple[int, ...], name: str) -> tuple[int, ...]:
    """A number of voxels or parts for each axis.

    Raises:
        ValueError: if it is not from 1 to the axis's size, or there are not as many as axes.
    """
    values = (value,) * len(spatial) if isinstance(value, int) else tuple(value)
    if len(values) != len(spatial) or any(
        not 1 <= v <= n for v, n in zip(values, spatial, strict=False)
    ):
        raise ValueError(
            f"{name} is from 1 to the size of the image, one number or one an axis of {spatial}; "
            f"got {value!r}"
        )
    return values
