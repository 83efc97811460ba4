"""Monte Carlo dropout: dropout stays active in prediction, all else is in evaluation mode."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.bayes.posteriors._posterior import Posterior, make_posterior
from jaxmed.core import Network, PyTree, stream


def mc_dropout(
    network: Network, params: PyTree, state: PyTree, inputs: Any, *, default: int = 30
) -> Posterior:
    """Return the posterior whose samples are dropout masks.

    In a Linen network each ``nn.Dropout`` draws while everything else is in evaluation mode:
    BatchNorm uses its running statistics, which do not change. Any other network is run in training
    mode, which is equivalent only without BatchNorm and similar layers; with them it is refused.

    Args:
        network: a network with dropout layers of a rate above 0.
        params: trained parameters.
        state: state of the network.
        inputs: an example batch, used to check that there is dropout at all.
        default: default number of samples.

    Returns:
        A posterior. Its ``sample`` returns the same parameters every time: the randomness is in
        which of them a forward pass uses.

    Raises:
        ValueError: if predictions do not depend on the key (no dropout, or a rate of 0), or for
            running statistics in a network that is not a Linen module.

    References:
        Gal and Ghahramani (2016), Dropout as a Bayesian approximation, ICML.
    """
    rates: list[float] = []

    def look(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout) and context.method_name == "__call__":
            rates.append(float(context.module.rate))
        return call(*args, **kwargs)

    x = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:1], inputs)
    with nn.intercept_methods(look):
        jax.eval_shape(lambda p, s: network.apply(p, s, x)[0], params, state)
    if rates and max(rates) <= 0:
        raise ValueError("every dropout layer of the network has a rate of 0")

    def passes(params, state, inputs, key):
        if rates:
            with nn.intercept_methods(_dropping(key)):
                return network.apply(params, state, inputs)[0]
        return network.apply(params, state, inputs, key=key, train=True)[0]

    if not rates:
        _check_other(network, params, state, x)

    def predict(content, drawn, inputs, key):
        del drawn
        params, state = content
        return passes(params, state, inputs, key)

    content = jax.tree.map(jnp.asarray, (params, state))
    return make_posterior(
        network, content, lambda content, key, i: content, default=default, predict=predict
    )


def _dropping(key):
    """Make dropout layers draw from streams named by their path and call count."""
    calls: dict[str, int] = {}

    def drop(call, args, kwargs, context):
        module = context.module
        if not isinstance(module, nn.Dropout) or context.method_name != "__call__":
            return call(*args, **kwargs)
        x, rate = args[0], module.rate
        if rate <= 0:
            return x
        path = "/".join(module.path)
        calls[path] = calls.get(path, 0) + 1
        shape = [1 if i in module.broadcast_dims else d for i, d in enumerate(x.shape)]
        own = stream(key, path or "dropout", calls[path])
        kept = jax.random.bernoulli(own, 1 - rate, shape)
        return jnp.where(kept, x / (1 - rate), jnp.zeros_like(x)) if rate < 1 else jnp.zeros_like(x)

    return drop


def _check_other(network, params, state, x):
    changes = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree.flatten_with_path(state)[0]
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]
    if changes:
        raise ValueError(
            f"the network keeps running statistics ({changes[0]}) and is not of Linen modules: "
            "dropout cannot be turned on alone"
        )
    one, two = (
        network.apply(params, state, x, key=jax.random.key(seed), train=True)[0] for seed in (0, 1)
    )
    same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), one, two)
    if all(jax.tree.leaves(same)):
        raise ValueError("the network has no dropout: its predictions do not depend on the key")
