"""LoRA: kernels that change by matrices of low rank."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxmed.core import Network, PyTree, flatten_paths, stream
from jaxmed.core._made import made_by
from jaxmed.paradigms.transfer._pretrained import divide, join


def lora(
    network: Network,
    *,
    rank: int = 4,
    only: str = "kernel$",
    learns: str | None = None,
    alpha: float | None = None,
) -> Network:
    r"""The network with its parameters frozen and, beside each kernel, a change of low rank.

    .. math:: W + \frac{\alpha}{r} A B

    A kernel `(*window, in, out)` is taken as a matrix of `window * in` rows, so that dense layers
    and convolutions of any rank and any library are treated alike. B begins at 0: at first the
    network is what it was.

    Args:
        network: any network; usually a :func:`pretrained` one.
        rank: r, of the change.
        only: a regular expression: which parameters get one; those it finds have two axes or more.
        learns: a regular expression: parameters that learn freely, as a fresh head (``"^head"``).
        alpha: the scale; r by default, so that the factor is 1.

    Returns:
        The network. Parameters: ``{"low_rank": {path: {"a": ..., "b": ...}}, "learns": ...}``;
        state: ``{"frozen": ..., "network": ...}``.

    Raises:
        ValueError: if the rank is not positive; at ``init``, if ``only`` or ``learns`` finds no
            parameter, or ``only`` one that is no kernel.

    References:
        Hu et al. (2022), LoRA: low-rank adaptation of large language models, ICLR.

    >>> import flax.linen as nn, jaxmed as jm
    >>> network = lora(jm.from_linen(nn.Dense(6)), rank=2)
    >>> params, state = network.init(jax.random.key(0), jnp.ones((1, 8)))
    >>> jax.tree.map(jnp.shape, params["low_rank"])
    {'kernel': {'a': (8, 2), 'b': (2, 6)}}
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    scale = 1.0 if alpha is None else alpha / rank

    def init(key, inputs):
        params, state = network.init(stream(key, "network"), inputs)
        free, kept = ({}, params) if learns is None else divide(params, learns)[::-1]
        kernels = flatten_paths(divide(kept, only)[1])
        if flat := [path for path, leaf in kernels.items() if leaf.ndim < 2]:
            raise ValueError(f"only={only!r} finds {flat}, which have fewer than two axes")
        low = {}
        for path, kernel in kernels.items():
            rows, columns = math.prod(kernel.shape[:-1]), kernel.shape[-1]
            r = min(rank, rows, columns)
            a = jax.random.normal(stream(key, "low_rank", path), (rows, r), kernel.dtype)
            zeros = jnp.zeros((r, columns), kernel.dtype)
            low[path] = {"a": a / math.sqrt(rows), "b": zeros}
        return {"low_rank": low, "learns": free}, {"frozen": kept, "network": state}

    def apply(params, state, inputs, *, key=None, train=False):
        own = None if key is None else stream(key, "network")
        whole = merge_lora(params, state, scale=scale)
        endpoints, after = network.apply(whole, state["network"], inputs, key=own, train=train)
        return endpoints, {**state, "network": after}

    return made_by(
        Network(init, apply), "lora",
        network=network, rank=rank, only=only, learns=learns, alpha=alpha,
    )  # fmt: skip


def merge_lora(params: PyTree, state: PyTree, *, scale: float = 1.0) -> PyTree:
    """The wrapped network's own parameters, each change added to its kernel: to deploy it.

    Args:
        params: of a :func:`lora` network.
        state: its state; ``state["network"]`` is the wrapped network's.
        scale: ``alpha / rank`` where ``alpha`` was given.

    Returns:
        The parameters.
    """
    low = params["low_rank"]

    def changed(path, kernel):
        at = jax.tree_util.keystr(path, simple=True, separator="/")
        if at not in low:
            return kernel
        return kernel + scale * (low[at]["a"] @ low[at]["b"]).reshape(kernel.shape)

    kept = jax.lax.stop_gradient(state["frozen"])
    return join(params["learns"], jax.tree.map_with_path(changed, kept))
