"""Autoencoders: plain, denoising, sparse; and inpainting."""

from __future__ import annotations

import jax.numpy as jnp

from jaxmed.core import Array, Objective, network_inputs, stream, weighted_mean
from jaxmed.losses import mse
from jaxmed.networks import Decoder
from jaxmed.paradigms.base._consistency import per_example
from jaxmed.paradigms.base._supervised import Loss
from jaxmed.paradigms.base._views import View, apply_view, one_map, row_weights, same_geometry
from jaxmed.paradigms.self_supervised._embedding import Embedding, Head, embedding
from jaxmed.paradigms.self_supervised._masks import boxes


def autoencoder(
    view: View | None = None,
    *,
    sparsity: float = 0.0,
    decoder: Head | None = None,
    loss: Loss = mse,
    output: str = "pyramid",
    level: int = -1,
    inputs: str = "image",
) -> Objective:
    r"""Give the image back, from what the network makes of it or of a damaged view.

    .. math:: \ell = L(d(f(\mathrm{view}(x))), x) + \gamma\, \overline{|f|}

    Without a view a plain autoencoder; with noise or cut-outs a denoising one; with a ``sparsity``
    a sparse one, whose code f is mostly near zero.

    Args:
        view: what the network sees; it must leave the geometry alone.
        sparsity: gamma, of the mean absolute code.
        decoder: what makes an image of the code, a parameter of the objective; by default
            ``networks.Decoder`` to the image's shape.
        loss: ``(outputs, targets) -> (batch,)``, as in :mod:`jaxmed.losses`.
        output: the endpoint that is the code: a map, a tuple of maps, or one vector per example.
        level: which of a tuple; the coarsest by default. The finest of a U-Net has seen the image
            through its skips, and learns to copy.
        inputs: the batch's images.

    Returns:
        The objective, with metrics ``reconstruction`` and ``code`` (the mean absolute code).

    Raises:
        ValueError: if ``sparsity`` is negative; when traced, if the decoder gives another shape
            than the images', or the view moves voxels.

    References:
        Hinton and Salakhutdinov (2006), Reducing the dimensionality of data with neural networks,
        Science 313. Vincent et al. (2008), Extracting and composing robust features with denoising
        autoencoders, ICML.
    """
    if sparsity < 0:
        raise ValueError(f"sparsity must not be negative, got {sparsity}")

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        return decoding(decoder, images, output, level).init(key, network, params, state, images)

    def evaluate(network, params, state, batch, key):
        key, images = stream(key, "autoencoder"), network_inputs(batch, inputs)
        shown, weight = apply_view(view, stream(key, "view"), images), row_weights(batch, inputs)
        decode = decoding(decoder, images, output, level)
        outputs, state = decode.apply(network, params, state, shown, stream(key, "network"))
        same_geometry(outputs["decoder"], "decoder", view)
        error = weighted_mean(loss(like(outputs["decoder"], images), images), weight)
        code = weighted_mean(per_example(jnp.abs(outputs["endpoint"])), weight)
        total = error + sparsity * code if sparsity else error
        return total, (state, {"reconstruction": error, "code": code})

    return Objective(init, evaluate)


def inpainting(
    *,
    holes: int = 1,
    size: tuple[float, float] = (0.25, 0.5),
    decoder: Head | None = None,
    loss: Loss = mse,
    output: str = "pyramid",
    level: int = -1,
    inputs: str = "image",
) -> Objective:
    """Fill in boxes cut out of the image, from what is round them.

    In the boxes the network sees each channel's mean over the image; the loss is over the boxes
    alone.

    Args:
        holes: boxes in each image.
        size: least and most edge of a box, as a share of the axis.
        decoder: as in :func:`~jaxmed.paradigms.autoencoder`.
        loss: ``(outputs, targets, *, where) -> (batch,)``, as in :mod:`jaxmed.losses`.
        output: the endpoint decoded: a map, a tuple of maps, or one vector per example.
        level: which of a tuple, finest first. To train a U-Net whole, 0.
        inputs: the batch's images, ``(batch, *spatial, channels)``.

    Returns:
        The objective, with metrics ``reconstruction`` and ``hidden`` (the share of voxels).

    Raises:
        ValueError: if there is no hole or ``size`` is not within (0, 1]; when traced, if the
            decoder gives another shape than the images'.

    References:
        Pathak et al. (2016), Context encoders: feature learning by inpainting, CVPR. Zhou et al.
        (2021), Models Genesis, Medical Image Analysis 67.
    """
    if holes < 1 or not 0 < size[0] <= size[1] <= 1:
        raise ValueError(
            f"inpainting needs at least 1 hole and 0 < least <= most <= 1, got {holes}, {size}"
        )

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        return decoding(decoder, images, output, level).init(key, network, params, state, images)

    def evaluate(network, params, state, batch, key):
        key, images = stream(key, "inpainting"), network_inputs(batch, inputs)
        spatial = images.shape[1:-1]
        hidden = boxes(stream(key, "holes"), len(images), spatial, size, holes)
        mean = images.mean(tuple(range(1, images.ndim - 1)), keepdims=True)
        shown = jnp.where(hidden, mean, images)
        decode = decoding(decoder, images, output, level)
        outputs, state = decode.apply(network, params, state, shown, stream(key, "network"))
        where = jnp.broadcast_to(hidden, images.shape)
        values = loss(like(outputs["decoder"], images), images, where=where)
        weight = row_weights(batch, inputs)
        value = weighted_mean(values, weight)
        share = weighted_mean(per_example(hidden.astype(jnp.float32)), weight)
        return value, (state, {"reconstruction": value, "hidden": share})

    return Objective(init, evaluate)


def decoding(decoder: Head | None, images: Array, output: str, level: int) -> Embedding:
    """A decoder behind one map of an endpoint."""
    if decoder is None:
        decoder = Decoder(images.shape[-1], images.shape[1:-1])
    return embedding(
        {"decoder": decoder}, output, read=lambda ends, output: one_map(ends, output, level)
    )


def like(decoded: Array, images: Array) -> Array:
    """What was decoded, if it has the images' shape."""
    if decoded.shape != images.shape:
        raise ValueError(f"the decoder gives {decoded.shape} for images {images.shape}")
    return decoded
