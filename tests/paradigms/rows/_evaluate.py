"""Evaluating an objective by itself, on networks whose outputs one can write down."""

from __future__ import annotations

import jax

from jaxmed.core import from_functions, stateless
from rows._keys import quick_key

KEY = quick_key(3)

# What is learned from labels, where that is not the question: nothing.
NOTHING = stateless(lambda network, params, state, batch, key: (jax.numpy.zeros(()), (state, {})))

# A head that gives what it reads.
IDENTITY = from_functions(lambda key, x: {}, lambda params, x: x)


def plain(output: str = "logits"):
    """A network whose endpoint ``output`` is its input."""
    return from_functions(lambda key, x: {}, lambda params, x: {output: x})


def shift(by):
    """A view that adds a constant."""
    return lambda key, batch: {**batch, "image": batch["image"] + by}


def begin(objective, network, batch, inputs="image"):
    """Parameters and state, as a learner has them; one program."""

    @jax.jit
    def make(batch):
        net_params, net_state = network.init(KEY, batch[inputs])
        own_params, own_state = objective.init(KEY, network, net_params, net_state, batch)
        return {"net": net_params, "obj": own_params}, {"net": net_state, "obj": own_state}

    return make(batch)


def evaluate(objective, network, batch, *, key=KEY, params=None, state=None):
    """``loss, state after, metrics``, from the beginning unless said otherwise; one program."""

    @jax.jit
    def whole(batch, params, state):
        first = begin(objective, network, batch)
        params, state = params or first[0], state or first[1]
        value, (state, metrics) = objective.loss(network, params, state, batch, key)
        return value, state, metrics

    return whole(batch, params, state)


def refused(objective, network, batch):
    """Trace ``evaluate`` alone: what an objective refuses, it refuses by shapes and names."""
    jax.eval_shape(lambda batch: evaluate(objective, network, batch), batch)
