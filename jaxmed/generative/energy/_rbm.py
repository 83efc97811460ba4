"""The restricted Boltzmann machine: its energy, its conditional distributions, its network."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, PyTree, from_functions, stream
from jaxmed.core._made import made_by

Visible = Literal["bernoulli", "gaussian"]
_NAMES = {"kernel", "visible_bias", "hidden_bias"}
_LOG_SCALE = "visible_log_scale"


def whole(*numbers: float) -> bool:
    """Whether all are whole numbers from 1 on, of units, steps or chains."""
    return all(number >= 1 and float(number).is_integer() for number in numbers)


def rbm(hidden: int, *, visible: Visible = "bernoulli") -> Network:
    r"""A restricted Boltzmann machine: binary hidden units, each joined to every pixel.

    .. math:: E(v, h) = -b^\top v - c^\top h - v^\top W h, \qquad p(v, h) = e^{-E(v, h)} / Z

    for pixels that are 0 or 1. Pixels that are real numbers have a Gaussian distribution given the
    hidden units, of a mean and a standard deviation :math:`\sigma` for each pixel:

    .. math:: E(v, h) = \sum_i \frac{(v_i - b_i)^2}{2 \sigma_i^2} - c^\top h
        - \sum_{ij} \frac{v_i}{\sigma_i^2} W_{ij} h_j

    Its parameters are ``kernel`` (pixels, hidden), ``visible_bias``, ``hidden_bias``, and for
    Gaussian pixels ``visible_log_scale``, the logarithm of :math:`\sigma`, 0 at the start: give
    such images a standard deviation near 1. Train it by
    :func:`~jaxmed.generative.contrastive_divergence`.

    Args:
        hidden: number of hidden units.
        visible: distribution of a pixel given the hidden units.

    Returns:
        The network, from images of any shape ``(batch, ...)`` to ``features`` (batch, hidden), the
        probabilities :math:`P(h_j = 1 \mid v)`, and ``free_energy`` (batch,),
        :math:`F(v) = -\log \sum_h e^{-E(v, h)}`, so that :math:`\log p(v) = -F(v) - \log Z`.

    Raises:
        ValueError: for no hidden unit or another distribution; when traced, if images have another
            number of pixels than those it was initialised with.

    References:
        Smolensky (1986), Information processing in dynamical systems: foundations of harmony
        theory. Cho, Ilin and Raiko (2011), Improved learning of Gaussian-Bernoulli restricted
        Boltzmann machines, ICANN.

    >>> network = rbm(5)
    >>> params, state = network.init(jax.random.key(0), jnp.ones((2, 3, 3, 1)))
    >>> endpoints, _ = network.apply(params, state, jnp.ones((2, 3, 3, 1)))
    >>> endpoints["features"].shape, endpoints["free_energy"].shape
    ((2, 5), (2,))
    """
    if not whole(hidden):
        raise ValueError(f"an RBM has at least one hidden unit, a whole number; got {hidden}")
    if visible not in ("bernoulli", "gaussian"):
        raise ValueError(f"visible is 'bernoulli' or 'gaussian', got {visible!r}")

    def init(key, inputs):
        pixels = math.prod(jnp.shape(inputs)[1:])
        params = {
            "kernel": 0.01 * jax.random.normal(stream(key, "kernel"), (pixels, hidden)),
            "visible_bias": jnp.zeros(pixels),
            "hidden_bias": jnp.zeros(hidden),
        }
        return {**params, _LOG_SCALE: jnp.zeros(pixels)} if visible == "gaussian" else params

    def apply(params, inputs):
        v = flat(inputs)
        return {
            "features": jax.nn.sigmoid(hidden_field(params, v)),
            "free_energy": free_energy(params, v),
        }

    return made_by(from_functions(init, apply), "rbm", hidden=hidden, visible=visible)


def free_energy(params: Mapping[str, Array], visible: Array) -> Array:
    r"""The free energy :math:`F(v) = -\log \sum_h e^{-E(v, h)}` of each row.

    Args:
        params: of an :func:`rbm`.
        visible: (n, ...) as many pixels a row as the machine has.

    Returns:
        (n,), in nats.

    Raises:
        ValueError: for parameters that are not an RBM's, or another number of pixels.
    """
    v, bias = flat(visible), params["visible_bias"]
    soft = jax.nn.softplus(hidden_field(params, v)).sum(-1)
    if is_gaussian(params):
        return 0.5 * (jnp.square(v - bias) * precision(params)).sum(-1) - soft
    return -v @ bias - soft


def hidden_field(params: Mapping[str, Array], visible: Array) -> Array:
    """What a hidden unit's probability is the sigmoid of, (n, hidden)."""
    checked(params, visible)
    scaled = visible * precision(params) if is_gaussian(params) else visible
    return params["hidden_bias"] + scaled @ params["kernel"]


def visible_mean(params: Mapping[str, Array], hidden: Array) -> Array:
    """The mean of the pixels given hidden units, (n, pixels)."""
    field = params["visible_bias"] + hidden @ params["kernel"].T
    return field if is_gaussian(params) else jax.nn.sigmoid(field)


def draw_hidden(key: Key, params: Mapping[str, Array], visible: Array) -> Array:
    """Draw hidden units given pixels, (n, hidden) of 0 and 1."""
    return bernoulli(key, jax.nn.sigmoid(hidden_field(params, visible)))


def draw_visible(key: Key, params: Mapping[str, Array], hidden: Array) -> Array:
    """Draw pixels given hidden units, (n, pixels)."""
    mean = visible_mean(params, hidden)
    if is_gaussian(params):
        return mean + jnp.exp(params[_LOG_SCALE]) * jax.random.normal(key, mean.shape)
    return bernoulli(key, mean)


def gibbs(key: Key, params: Mapping[str, Array], visible: Array, *, steps: int = 1) -> Array:
    """Move chains by alternating Gibbs sampling: all hidden units, then all pixels.

    Args:
        key: random key.
        params: of an :func:`rbm`.
        visible: (n, ...) where the chains are; of binary pixels 0 and 1.
        steps: how often both are drawn.

    Returns:
        (n, pixels) where the chains are then.

    Raises:
        ValueError: for parameters that are not an RBM's, another number of pixels or fewer than
            no step.
    """
    if steps < 0:
        raise ValueError(f"chains make 0 steps or more, got {steps}")
    visible = flat(visible)
    checked(params, visible)
    return _moved(key, params, visible, steps)


@functools.partial(jax.jit, static_argnames="steps")
def _moved(key: Key, params: Mapping[str, Array], visible: Array, steps: int) -> Array:
    def move(step, v):
        now = stream(key, step)
        h = draw_hidden(stream(now, "hidden"), params, v)
        return draw_visible(stream(now, "visible"), params, h)

    # A step or two without a loop: XLA runs a loop's products on a CPU in one thread.
    return move(0, visible) if steps == 1 else jax.lax.fori_loop(0, steps, move, visible)


def start_chains(key: Key, params: Mapping[str, Array], n: int) -> Array:
    """Chains that know nothing yet: fair coins, or the pixels' Gaussians without hidden units."""
    like = jnp.broadcast_to(params["visible_bias"], (n, params["visible_bias"].size))
    if is_gaussian(params):
        return like + jnp.exp(params[_LOG_SCALE]) * jax.random.normal(key, like.shape)
    return bernoulli(key, jnp.full(like.shape, 0.5, like.dtype))


def sample(
    key: Key,
    params: Mapping[str, Array],
    n: int,
    *,
    steps: int = 1000,
    start: Array | None = None,
    means: bool = True,
) -> Array:
    """Draw images from an RBM by chains of Gibbs sampling.

    Args:
        key: random key.
        params: of an :func:`rbm`.
        n: number of images, each by a chain of its own.
        steps: how long each chain is. Chains from noise need hundreds, and more for a machine that
            has learned well: look whether further steps change what is seen.
        start: (n, ...) where the chains begin, such as the objective's persistent chains; noise by
            default.
        means: whether the images are the pixels' means given the last hidden units, as pictures
            usually show them, or draws of the pixels.

    Returns:
        (n, pixels).

    Raises:
        ValueError: for parameters that are not an RBM's, no image, no step, or a start of another
            shape.
    """
    if n < 1 or steps < 1:
        raise ValueError(f"sample needs at least one image and one step, got {n} and {steps}")
    checked(params)
    v = start_chains(stream(key, "start"), params, n) if start is None else flat(start)
    if v.shape[0] != n:
        raise ValueError(f"{n} images need {n} chains to start from, got {v.shape[0]}")
    v = gibbs(stream(key, "gibbs"), params, v, steps=steps - 1)
    h = draw_hidden(stream(key, "hidden"), params, v)
    return visible_mean(params, h) if means else draw_visible(stream(key, "pixels"), params, h)


def is_gaussian(params: Mapping[str, Array]) -> bool:
    """Whether the pixels are Gaussian: such a machine has a scale for each."""
    return _LOG_SCALE in params


def precision(params: Mapping[str, Array]) -> Array:
    """One over the variance of each Gaussian pixel."""
    return jnp.exp(-2 * params[_LOG_SCALE])


def log_scale(params: Mapping[str, Array]) -> Array:
    """The logarithm of the standard deviation of each Gaussian pixel."""
    return params[_LOG_SCALE]


def bernoulli(key: Key, probability: Array) -> Array:
    """Draws of 0 and 1 as floats."""
    return (jax.random.uniform(key, probability.shape) < probability).astype(probability.dtype)


def flat(images: Any) -> Array:
    """Images as rows of float32."""
    rows = jnp.asarray(images)
    if rows.ndim < 2:
        raise ValueError(f"images are (batch, ...), got the shape {rows.shape}")
    return rows.reshape(len(rows), -1).astype(jnp.float32)


def checked(params: PyTree, visible: Array | None = None) -> None:
    """Refuse what is no RBM's parameters, or rows of another number of pixels.

    Raises:
        ValueError: says what there is.
    """
    names = set(params) if isinstance(params, Mapping) else set()
    if not names >= _NAMES or names - _NAMES - {_LOG_SCALE}:
        found = sorted(names) or type(params).__name__
        raise ValueError(
            f"these are the parameters of no rbm, which has {sorted(_NAMES)}: {found}. Give what "
            f"rbm(...).init returned, or params['net'] of a learner's state"
        )
    pixels = params["visible_bias"].size
    if visible is not None and visible.shape[-1] != pixels:
        raise ValueError(f"the RBM has {pixels} pixels, the images have {visible.shape[-1]}")
