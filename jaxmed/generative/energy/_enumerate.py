"""All states of a small machine."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from jaxmed.core import Array, Key, stream
from jaxmed.generative.energy._rbm import (
    checked,
    draw_visible,
    is_gaussian,
    log_scale,
    precision,
)

MOST = 25
"""Units whose states can be enumerated: 2 ** 25 numbers are 128 MiB."""
_LOW = 10  # Units whose states are one block of the sum.


def enumerable(params: Mapping[str, Array]) -> int:
    """How many units the smaller side has, whose states decide about the rest."""
    hidden, pixels = params["hidden_bias"].size, params["visible_bias"].size
    return hidden if is_gaussian(params) else min(hidden, pixels)


def log_weights(params: Mapping[str, Array]) -> np.ndarray:
    """The unnormalised log probability of each state of the smaller side, (2 ** units,).

    The state of unit j is bit j of the place. Gaussian pixels are never the side that is
    enumerated.

    Raises:
        ValueError: for more than 25 units.
    """
    checked(params)
    units = enumerable(params)
    if units > MOST:
        raise ValueError(
            f"the smaller side has {units} units, whose 2 ** {units} states are too many: up to "
            f"{MOST} are enumerated; take method='ais'"
        )
    with jax.default_matmul_precision("highest"):
        return np.asarray(_all_states(params), np.float64)


@jax.jit
def _all_states(params: Mapping[str, Array]) -> Array:
    w, b, c = params["kernel"], params["visible_bias"], params["hidden_bias"]
    of_hidden = is_gaussian(params) or c.size <= b.size
    # The side whose states are enumerated, and the fields that they make on the other.
    own, other, w = (c, b, w.T) if of_hidden else (b, c, w)

    def summed(field):
        if is_gaussian(params):
            half = 0.5 * (jnp.square(field) - jnp.square(b)) * precision(params)
            return (half + 0.5 * jnp.log(2 * jnp.pi) + log_scale(params)).sum(-1)
        return jax.nn.softplus(field).sum(-1)

    # Low bits by a table, high ones a row at a time: a field is a sum of two, not a product.
    low = min(own.size, _LOW)
    below = _bits(jnp.arange(2**low), low)
    fields, biases = other + below @ w[:low], below @ own[:low]

    def block(high):
        above = _bits(high, own.size - low)
        return above @ own[low:] + biases + summed(above @ w[low:] + fields)

    return jax.lax.map(block, jnp.arange(2 ** (own.size - low))).ravel()


def _bits(number: Array, count: int) -> Array:
    return ((number[..., None] >> jnp.arange(count)) & 1).astype(jnp.float32)


def exact_log_partition(params: Mapping[str, Array]) -> float:
    """The logarithm of the sum over all states, added up in float64."""
    return float(logsumexp(log_weights(params)))


def exact_draws(key: Key, params: Mapping[str, Array], n: int) -> Array:
    """Independent draws of the pixels, (n, pixels)."""
    weights = log_weights(params)
    share = np.cumsum(np.exp(weights - logsumexp(weights)))
    uniform = np.asarray(jax.random.uniform(stream(key, "state"), (n,)), np.float64)
    chosen = np.minimum(np.searchsorted(share, uniform), len(share) - 1)
    rows = _bits(jnp.asarray(chosen), enumerable(params))
    by_hidden = is_gaussian(params) or params["hidden_bias"].size <= params["visible_bias"].size
    if not by_hidden:
        return rows
    return draw_visible(stream(key, "pixels"), params, rows)
