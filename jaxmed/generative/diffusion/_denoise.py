"""One call of a denoising network: what it is given, and the image that it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.errors
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, PyTree, pick
from jaxmed.generative.diffusion._process import Process


def predicted(
    network: Network,
    params: PyTree,
    state: PyTree,
    given: Mapping[str, Any],
    output: str,
    *,
    key: Key | None = None,
    train: bool = False,
) -> tuple[Array, PyTree]:
    """What the network predicts, float32 and of the images' shape, and its state.

    Raises:
        KeyError: if the network has no such endpoint.
        ValueError: if the prediction has another shape than the images, or the network was
            initialised by other inputs than it is given.
    """
    try:
        endpoints, state = network.apply(params, state, given, key=key, train=train)
    except flax.errors.ScopeParamShapeError as error:
        told = ", ".join(f"{name} {jnp.shape(value)}" for name, value in given.items())
        raise ValueError(
            f"the network is given {told}, and was initialised by other inputs: name all that it "
            "is told, with a map learner(..., inputs=('image', 'map'))"
        ) from error
    found = pick(endpoints, output, "network")
    wanted = jnp.shape(given["image"])
    if getattr(found, "shape", None) != wanted:
        raise ValueError(
            f"the network's {output!r} must have the shape {wanted} of the images, not "
            f"{getattr(found, 'shape', type(found).__name__)}"
        )
    return found.astype(jnp.float32), state


def denoiser_given(
    process: Process, noisy: Array, t: Array, condition: Mapping[str, Array]
) -> dict[str, Array]:
    """What a network is given of noisy images at times ``(n,)``."""
    image = noisy * per_image(process.input_scale(t), noisy)
    return {"image": image, "time": process.told_time(t), **condition}


def image_of(process: Process, noisy: Array, prediction: Array, t: Array) -> Array:
    """The image that a prediction means."""
    skip, gain = (per_image(part, noisy) for part in process.parts(t))
    return skip * noisy + gain * prediction


def per_image(values: Array, images: Array) -> Array:
    """Numbers ``(n,)`` as ``(n, 1, ..., 1)``, to be multiplied with images."""
    return values.reshape(values.shape + (1,) * (images.ndim - 1))
