"""A lower bound on the log-likelihood of images under a belief network."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, stream
from jaxmed.generative.energy._belief import cost, field, has_gaussian_pixels
from jaxmed.generative.energy._likelihood import check_plan, from_energies
from jaxmed.generative.energy._pixels import HOW, Binarise, binarised
from jaxmed.generative.energy._rbm import bernoulli, checked, free_energy, whole
from jaxmed.stats import Estimate


def belief_bound(
    key: Key,
    params: Mapping[str, Any],
    images: Array,
    log_z: Estimate,
    *,
    binarise: Binarise,
    draws: int = 10,
    weighted: bool = False,
    chunk: int = 1000,
    level: float = 0.95,
) -> Estimate:
    r"""Bound the mean log-likelihood of images under a belief network from below, in nats an image.

    Recognition q draws the hidden layers of an image, the top machine sums out its own units:

    .. math:: \log p(v) \ge \mathbb{E}_q\Big[\sum_{l<L} \log p(h_{l-1} \mid h_l)
        - \log q(h_l \mid h_{l-1}) - F(h_{L-1})\Big] - \log Z, \qquad h_0 = v

    with the top's free energy F and partition function Z. The bound is tight where q is what the
    layers are like given the image. The mean over draws is unbiased for it. ``weighted`` takes the
    mean of what is in the brackets within the logarithm, which is a bound on average too, never a
    looser one, and comes nearer the more is drawn.

    Args:
        key: random key, of pixels and of layers. The same key makes the same binary pixels as
            :func:`~jaxmed.generative.log_likelihood`'s.
        params: of a :func:`~jaxmed.generative.belief_network`.
        images: (n, ...) test images.
        log_z: of the top machine: of ``log_partition(key, params["top"])``.
        binarise: how grey values become binary pixels, see
            :func:`~jaxmed.generative.binarised`. A note says it.
        draws: of the hidden layers, for each image.
        weighted: whether draws are weighted by importance.
        chunk: images at a time; the draws are the same for any number.
        level: of the interval, which is that of :func:`~jaxmed.generative.log_likelihood`.

    Returns:
        The estimate, a lower bound. Where ``log_z`` is too low on average, as by annealed
        importance sampling, it is too high.

    Raises:
        TypeError: for a ``log_z`` that is no estimate.
        ValueError: for parameters that are no belief network's, fewer than two images or another
            number of pixels, no draw, a chunk of no image, a level outside (0, 1), grey values
            outside [0, 1], Gaussian pixels that are to be made binary, or a bound that is not
            finite.

    References:
        Hinton, Osindero and Teh (2006), A fast learning algorithm for deep belief nets, Neural
        Computation 18. Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief
        networks, ICML. Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders,
        ICLR.

    >>> from jaxmed import generative as gen
    >>> images = jnp.ones((4, 5))
    >>> params, _ = gen.belief_network((3, 2)).init(jax.random.key(0), images)
    >>> log_z = gen.log_partition(None, params["top"])
    >>> belief_bound(jax.random.key(1), params, images, log_z, binarise="none").name
    'log-likelihood, lower bound'
    """
    if has_gaussian_pixels(params, "belief_bound") and binarise != "none":
        raise ValueError(f"Gaussian pixels are no binary ones: binarise={binarise!r}")
    check_plan(log_z, chunk, level)
    if not whole(draws):
        raise ValueError(f"the bound is a mean of at least one draw, got {draws}")
    rows = np.asarray(images)
    if len(rows) < 2:
        raise ValueError(f"an interval needs at least two images, got {len(rows)}")
    visible = binarised(key, jnp.asarray(rows), binarise)
    if not params["up"]:
        checked(params["top"], visible)
    parts = []
    with jax.default_matmul_precision("highest"):
        keys = jax.vmap(lambda i: stream(key, "draws", i))(jnp.arange(len(rows)))
        for first in range(0, len(rows), chunk):
            some = slice(first, first + chunk)
            part = _bounds(keys[some], params, visible[some], draws, weighted)
            parts.append(np.asarray(part, np.float64))
    how = "importance-weighted draws" if weighted else "draws"
    return from_energies(
        -np.concatenate(parts),
        log_z,
        level,
        method=f"t interval of the mean of {draws} {how} of the hidden layers",
        notes=(HOW[binarise],),
        name="log-likelihood, lower bound",
    )


@functools.partial(jax.jit, static_argnames=("draws", "weighted"))
def _bounds(keys, params, rows, draws, weighted):
    """The bound of each row, which has a key of its own, up to log Z."""

    def drawn(i):
        return jax.vmap(lambda key, row: _log_weight(stream(key, i), params, row))(keys, rows)

    values = jax.lax.map(drawn, jnp.arange(draws))
    return jax.nn.logsumexp(values, axis=0) - jnp.log(draws) if weighted else values.mean(0)


def _log_weight(key: Key, params: Mapping[str, Any], row: Array) -> Array:
    """What is in the brackets, for one draw of the hidden layers of a row."""
    rows, total = row[None], jnp.zeros(())
    for i in range(len(params["up"])):
        up, down = params["up"][str(i)], params["down"][str(i)]
        drawn = bernoulli(stream(key, "up", i), jax.nn.sigmoid(field(up, rows)))
        total += (cost(up, rows, drawn) - cost(down, drawn, rows))[0]
        rows = drawn
    return total - free_energy(params["top"], rows)[0]
