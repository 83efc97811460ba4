"""Spectral normalisation: a network whose layers stretch nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, as_network, stream
from jaxmed.core._made import made_by
from jaxmed.paradigms.transfer._pretrained import divide, join

_AT_START = 15  # steps of the power iteration before the first pass


def spectral_norm(
    network: Network, *, only: str = "(kernel|table)$", iterations: int = 1
) -> Network:
    r"""The network with each kernel divided by its largest singular value.

    A kernel ``(*window, in, out)`` is the matrix W of ``window * in`` rows and ``out`` columns. Its
    largest singular value is followed by power iteration, in training alone:

    .. math:: v \leftarrow \frac{W u}{\lVert W u \rVert}, \quad
        u \leftarrow \frac{W^\top v}{\lVert W^\top v \rVert}, \quad \sigma = v^\top W u

    Gradients flow through :math:`\sigma`, and neither through u nor v.

    Args:
        network: any network, such as a critic.
        only: a regular expression: the parameters to normalise, of two axes or more.
        iterations: steps of the power iteration in each training pass.

    Returns:
        The network, with the same parameters, and ``{"network": ..., "u": ...}`` as state.

    Raises:
        ValueError: for no iteration; at ``init``, if no parameter matches, or one has one axis.

    References:
        Miyato et al. (2018), Spectral normalization for generative adversarial networks, ICLR.

    >>> import flax.linen as nn
    >>> from jaxmed.core import from_linen
    >>> net = spectral_norm(from_linen(nn.Dense(3, use_bias=False)))
    >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> rows = net.apply(params, state, jnp.eye(4))[0]["logits"]
    >>> round(float(jnp.linalg.norm(rows, 2)), 3)
    1.0
    """
    if iterations < 1:
        raise ValueError(f"power iteration makes at least one step, got {iterations}")
    network = as_network(network)

    @jax.jit
    def init(key, inputs):
        params, state = network.init(key, inputs)
        chosen, _ = _chosen(params, only)
        paths = jax.tree.map_with_path(
            lambda path, leaf: (jax.tree_util.keystr(path), leaf), chosen
        )

        def start(named):
            name, kernel = named
            if kernel.ndim < 2:
                raise ValueError(
                    f"{name} has one axis, and no singular values: narrow only={only!r}"
                )
            u = jax.random.normal(stream(key, "spectral_norm", name), kernel.shape[-1:])
            for _ in range(_AT_START):
                u, _ = _iterate(kernel, u)
            return u

        vectors = jax.tree.map(start, paths, is_leaf=lambda node: isinstance(node, tuple))
        return params, {"network": state, "u": vectors}

    def apply(params, state, inputs, *, key=None, train=False):
        chosen, rest = _chosen(params, only)
        vectors = state["u"]
        for _ in range(iterations if train else 0):
            vectors = jax.tree.map(lambda kernel, u: _iterate(kernel, u)[0], chosen, vectors)
        scaled = jax.tree.map(_scaled, chosen, vectors)
        endpoints, after = network.apply(
            join(rest, scaled), state["network"], inputs, key=key, train=train
        )
        return endpoints, {"network": after, "u": vectors}

    return made_by(
        Network(init, apply), "spectral_norm", network=network, only=only, iterations=iterations
    )


def _chosen(params: PyTree, only: str) -> tuple[PyTree, PyTree]:
    rest, chosen = divide(params, only)
    return chosen, rest


def _matrix(kernel: Array) -> Array:
    return kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)


def _unit(vector: Array) -> Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)


def _iterate(kernel: Array, u: Array) -> tuple[Array, Array]:
    """The two singular vectors one step on: of columns, and of rows."""
    matrix = jax.lax.stop_gradient(_matrix(kernel))
    v = _unit(matrix @ u)
    return _unit(v @ matrix), v


def _scaled(kernel: Array, u: Array) -> Array:
    u = jax.lax.stop_gradient(u)
    v = _unit(jax.lax.stop_gradient(_matrix(kernel)) @ u)
    sigma = v @ _matrix(kernel) @ u
    # A kernel of zeros stays one.
    return (kernel / jnp.where(sigma > 0, sigma, 1.0)).astype(kernel.dtype)
