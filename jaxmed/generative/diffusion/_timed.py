"""Any image network made one that is told time, class and map: by further channels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network
from jaxmed.core._made import made_by
from jaxmed.networks.vision._denoiser import (
    denoiser_inputs,
    image_and_map,
    time_features,
)

_FEATURES = 8


def timed(network: Network, *, classes: int = 0) -> Network:
    """Make a network of images one that is told the time, for :func:`denoising`.

    Time and class become further channels of the image: eight sines and cosines of the time, and a
    one-hot class. They have their value at every other voxel, like a checkerboard, and 0 between:
    instance normalisation removes what is the same everywhere. The map follows as it is, with a
    channel that says whether it is known.

    Args:
        network: any network from images to an endpoint of the images' shape, such as a
            :func:`jaxmed.networks.unet` of as many classes as the images have channels.
        classes: number of classes; 0 if there are none.

    Returns:
        The network, from what :class:`jaxmed.networks.DenoiserUNet` takes.

    Raises:
        ValueError: for fewer than no class.
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise ValueError(f"classes is a whole number of at least 0, got {classes!r}")

    def channels(inputs) -> Array:
        given = denoiser_inputs(inputs, classes)
        told = time_features(given.time, _FEATURES)
        if classes:
            # A class that is not known has none of the ones.
            told = jnp.concatenate([told, jax.nn.one_hot(given.label, classes)], axis=1)
        spatial = given.image.shape[1:-1]
        board = jnp.asarray((np.indices(spatial).sum(0) + 1) % 2, jnp.float32)
        board = board[None, ..., None]
        told = board * jnp.expand_dims(told, tuple(range(1, 1 + len(spatial))))
        return jnp.concatenate([image_and_map(given), told.astype(given.image.dtype)], axis=-1)

    def init(key, inputs):
        return network.init(key, channels(inputs))

    def apply(params, state, inputs, *, key=None, train=False):
        return network.apply(params, state, channels(inputs), key=key, train=train)

    return made_by(Network(init, apply), "timed", network=network, classes=classes)
