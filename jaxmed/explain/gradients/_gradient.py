"""Gradients of a score in the input."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Key, Network, PyTree
from jaxmed.explain._target import Target, scores


def gradient(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: PyTree,
    target: Target,
) -> PyTree:
    """Gradient of the score in each voxel: the change of the score by a small change there.

    It says nothing of what a voxel contributes, and is noisy where the network is not smooth.

    Args:
        key: not used; part of the common signature.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``, or a tree of arrays; of integers the map is 0.
        target: a class, one a case, or a function of the endpoints.

    Returns:
        A signed map in the inputs' shape.

    References:
        Simonyan et al. (2014), Deep inside convolutional networks, ICLR workshop.

    Examples:
        >>> import jaxmed as jm
        >>> net = jm.core.from_functions(
        ...     lambda key, x: {}, lambda params, x: x.sum(1) @ jnp.array([[1.0, 2.0]])
        ... )
        >>> gradient(None, net, {}, {}, jnp.ones((1, 2, 1)), 1).ravel().tolist()
        [2.0, 2.0]
    """
    del key
    one = jax.tree.map(lambda x: jnp.asarray(x)[None], inputs)
    return jax.tree.map(lambda x: x[0], gradients(network, params, state, one, target))


def input_x_gradient(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: PyTree,
    target: Target,
) -> PyTree:
    """Input times gradient: what each voxel adds to the score's tangent at the image.

    The share of a voxel of value 0 is 0, so it depends on what the intensity 0 stands for.

    Args:
        key: not used; part of the common signature.
        network: as of :func:`gradient`.
        params: likewise.
        state: likewise.
        inputs: likewise.
        target: likewise.

    Returns:
        A signed map in the inputs' shape.

    References:
        Shrikumar et al. (2016), Not just a black box, arXiv:1605.01713.
    """
    slopes = gradient(key, network, params, state, inputs, target)
    return jax.tree.map(lambda x, g: x * g, inputs, slopes)


def gradients(
    network: Network, params: PyTree, state: PyTree, passes: PyTree, target: Target
) -> PyTree:
    """Gradients of several passes ``(passes, batch, ...)``, in their shape."""

    def total(passes):
        return scores(network, params, state, passes, target).astype(jnp.float32).sum()

    slopes = jax.grad(total, allow_int=True)(passes)
    return jax.tree.map(
        lambda x, g: jnp.zeros_like(x) if g.dtype == jax.dtypes.float0 else g, passes, slopes
    )
