"""Prediction by the statistics of the images at hand."""

from __future__ import annotations

import jax

from jaxmed.core import Network, stream
from jaxmed.core._made import made_by


def batch_statistics(network: Network) -> Network:
    """The network that normalises by the batch it is given, in prediction as in training.

    Images of another scanner or stain have other means and variances in every layer, and running
    statistics of the training set are wrong for them. What is predicted for an image then depends
    on those beside it: give batches of many images, in which classes are mixed as usual. A single
    example has no statistics of its own where a layer sees one number a channel.

    Args:
        network: one with BatchNorm. Build it without dropout, which has no parameters: it would be
            drawn here, once and for all batches alike.

    Returns:
        The network; its parameters and state are the same, and prediction does not change them.

    References:
        Schneider et al. (2020), Improving robustness against common corruptions by covariate shift
        adaptation, NeurIPS.

    >>> import flax.linen as nn, jax.numpy as jnp, jaxmed as jm
    >>> class Normed(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, *, train=False):
    ...         return nn.BatchNorm(use_running_average=not train)(x)
    >>> network = batch_statistics(jm.from_linen(Normed()))
    >>> shifted = jnp.array([[9.0], [11.0]])
    >>> variables = network.init(jax.random.key(0), shifted)
    >>> network.apply(*variables, shifted)[0]["logits"].round(2).ravel().tolist()
    [-1.0, 1.0]
    """

    def apply(params, state, inputs, *, key=None, train=False):
        if train:
            return network.apply(params, state, inputs, key=key, train=True)
        key = stream(jax.random.key(0), "batch_statistics") if key is None else key
        return network.apply(params, state, inputs, key=key, train=True)[0], state

    return made_by(network._replace(apply=apply), "batch_statistics", network=network)
