"""Deep belief networks: directed layers under a restricted Boltzmann machine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Inputs,
    Key,
    Network,
    Objective,
    from_functions,
    stateless,
    stream,
    weighted_mean,
)
from jaxmed.core._made import made_by
from jaxmed.generative.energy._pixels import Binarise, visible_rows
from jaxmed.generative.energy._rbm import (
    Visible,
    bernoulli,
    checked,
    flat,
    free_energy,
    gibbs,
    hidden_field,
    is_gaussian,
    precision,
    rbm,
    sample,
    whole,
)

_LOG_SCALE = "log_scale"


def belief_network(hidden: Sequence[int], *, visible: Visible = "bernoulli") -> Network:
    r"""A deep belief network: an RBM on top, from whose units images are drawn layer by layer.

    .. math:: p(v, h_1, \dots, h_L)
        = p(v \mid h_1) \cdots p(h_{L-2} \mid h_{L-1})\, p_\mathrm{RBM}(h_{L-1}, h_L)

    Its parameters are ``down``, of these conditional distributions, ``up``, of the recognition that
    goes the other way, both by layer from ``"0"``, the lowest, with ``kernel`` and ``bias``; and
    ``top``, an :func:`~jaxmed.generative.rbm`'s. Train layers greedily
    (:func:`~jaxmed.generative.fit_layers`), make parameters of them by :func:`from_rbms`, and go on
    with :func:`wake_sleep`; or with plain :func:`~jaxmed.supervised` under a head:
    ``with_heads(pretrained(network, params), {"label": nn.Dense(10)})``.

    Args:
        hidden: number of units of each hidden layer, lowest first.
        visible: distribution of a pixel given the lowest hidden layer.

    Returns:
        The network, from images of any shape ``(batch, ...)`` to ``features``, the probabilities
        of the uppermost units by recognition, and ``layers``, a tuple of those of each layer.

    Raises:
        ValueError: for no layer or one without units.

    References:
        Hinton, Osindero and Teh (2006), A fast learning algorithm for deep belief nets, Neural
        Computation 18.

    >>> network = belief_network((6, 4))
    >>> params, state = network.init(jax.random.key(0), jnp.ones((2, 3, 3, 1)))
    >>> network.apply(params, state, jnp.ones((2, 3, 3, 1)))[0]["features"].shape
    (2, 4)
    """
    hidden = tuple(hidden)
    if not hidden or not whole(*hidden):
        raise ValueError(f"a belief network has layers of at least one unit, got {hidden}")

    def init(key, inputs):
        sizes = (math.prod(jnp.shape(inputs)[1:]), *hidden)
        layers = []
        for i, (below, above) in enumerate(itertools.pairwise(sizes)):
            unit = rbm(above, visible=visible if i == 0 else "bernoulli")
            layers.append(unit.init(stream(key, "layer", i), jnp.zeros((1, below)))[0])
        return from_rbms(layers)

    def apply(params, inputs):
        layers = recognise(params, flat(inputs))
        return {"features": layers[-1], "layers": tuple(layers)}

    return made_by(from_functions(init, apply), "belief_network", hidden=hidden, visible=visible)


def from_rbms(layers: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    """Make a :func:`belief_network`'s parameters of RBMs that were trained one on the other.

    Args:
        layers: parameters of the RBMs, lowest first; each has as many pixels as the one below it
            has hidden units.

    Returns:
        The parameters. Recognition and generation begin with the same kernels.

    Raises:
        ValueError: for no layer, parameters that are no RBM's, Gaussian pixels above the lowest
            layer, or sizes that do not fit.
    """
    if not layers:
        raise ValueError("a belief network has at least one layer")
    for i, params in enumerate(layers):
        checked(params)
        if i and is_gaussian(params):
            raise ValueError(f"layer {i} has Gaussian pixels, the units below it are binary")
        if i and params["visible_bias"].size != layers[i - 1]["hidden_bias"].size:
            raise ValueError(
                f"layer {i} has {params['visible_bias'].size} pixels, the one below it "
                f"{layers[i - 1]['hidden_bias'].size} hidden units"
            )
    up, down = {}, {}
    for i, params in enumerate(layers[:-1]):
        kernel = params["kernel"]
        scaled = kernel * precision(params)[:, None] if is_gaussian(params) else kernel
        up[str(i)] = {"kernel": scaled, "bias": params["hidden_bias"]}
        down[str(i)] = {"kernel": kernel.T, "bias": params["visible_bias"]}
        if is_gaussian(params):
            down[str(i)][_LOG_SCALE] = params["visible_log_scale"]
    return {"up": up, "down": down, "top": dict(layers[-1])}


def recognise(params: Mapping[str, Any], rows: Array, key: Key | None = None) -> list[Array]:
    """Probabilities of the units of each hidden layer, from below; with a key, draws of them."""
    layers = []
    for i in range(len(params["up"]) + 1):
        last = i == len(params["up"])
        own = hidden_field(params["top"], rows) if last else field(params["up"][str(i)], rows)
        rows = jax.nn.sigmoid(own)
        if key is not None:
            rows = bernoulli(stream(key, "up", i), rows)
        layers.append(rows)
    return layers


def generate(
    key: Key,
    params: Mapping[str, Any],
    n: int,
    *,
    steps: int = 1000,
    start: Array | None = None,
) -> Array:
    """Draw images from a belief network: Gibbs sampling of the top, then one pass down.

    Args:
        key: random key.
        params: of a :func:`belief_network`.
        n: number of images.
        steps: Gibbs steps of the top machine.
        start: (n, units) of the layer below the top, where its chains begin; noise by default.

    Returns:
        (n, pixels), the pixels' means given the lowest hidden layer.

    Raises:
        ValueError: for no image, no step or a start of another shape.
    """
    below = len(params["down"])
    rows = sample(stream(key, "top"), params["top"], n, steps=steps, start=start, means=not below)
    for i in reversed(range(below)):
        layer = params["down"][str(i)]
        rows = _mean(layer, rows) if i == 0 else _draw(stream(key, "down", i), layer, rows)
    return rows


def wake_sleep(
    *, steps: int = 1, binarise: Binarise | None = None, inputs: Inputs = "image"
) -> Objective:
    r"""Tune all layers of a belief network together, by the contrastive wake-sleep algorithm.

    Awake, recognition draws the layers of an image, and generation learns to give each back from
    the one above; the top machine learns by contrastive divergence from there. Asleep, generation
    goes down from where its chains are then, and recognition learns to find what was drawn. What is
    drawn is constant: each part of the loss is a negative log probability of it.

    Args:
        steps: Gibbs steps of the top machine between waking and sleep.
        binarise: how grey values become binary pixels, see
            :func:`~jaxmed.generative.binarised`; by default drawn anew at each step, and left as
            they are for Gaussian pixels.
        inputs: the batch's images.

    Returns:
        The objective, for a :func:`belief_network`, with metrics ``wake``, ``sleep`` (nats an
        image) and ``energy_gap`` of the top.

    Raises:
        ValueError: for no step; when traced, if the network is another, or Gaussian pixels are to
            be made binary.

    References:
        Hinton, Osindero and Teh (2006), A fast learning algorithm for deep belief nets, Neural
        Computation 18, appendix B. Hinton et al. (1995), The wake-sleep algorithm for unsupervised
        neural networks, Science 268.
    """
    if steps < 1:
        raise ValueError(f"the top machine makes at least one step, got {steps}")

    def loss(network, params, state, batch, key):
        net = params["net"]
        gaussian = has_gaussian_pixels(net, "wake_sleep")
        if gaussian and binarise not in (None, "none"):
            raise ValueError(f"Gaussian pixels are no binary ones: binarise={binarise!r}")
        key = stream(key, "wake_sleep")
        how = binarise or ("none" if gaussian else "draw")
        rows, weight = visible_rows(stream(key, "binarise"), batch, inputs, how)
        still, below = jax.lax.stop_gradient(net), range(len(net["down"]))

        awake = [rows, *recognise(still, rows, stream(key, "wake"))][:-1]
        wake = jnp.zeros(len(rows))
        for i in below:
            wake += cost(net["down"][str(i)], awake[i + 1], awake[i])
        dreamt = gibbs(stream(key, "gibbs"), still["top"], awake[-1], steps=steps)
        gap = free_energy(net["top"], awake[-1]) - free_energy(net["top"], dreamt)
        asleep = {len(net["down"]): dreamt}
        for i in reversed(below):
            asleep[i] = _draw(stream(key, "sleep", i), still["down"][str(i)], asleep[i + 1])
        sleep = jnp.zeros(len(rows))
        for i in below:
            sleep += cost(net["up"][str(i)], asleep[i], asleep[i + 1])
        parts = {"wake": wake, "sleep": sleep, "energy_gap": gap}
        values = {name: weighted_mean(value, weight) for name, value in parts.items()}
        return values["wake"] + values["sleep"] + values["energy_gap"], (state, values)

    return stateless(loss)


def has_gaussian_pixels(params: Mapping[str, Any], who: str) -> bool:
    """Whether a belief network's pixels are Gaussian.

    Raises:
        ValueError: for other parameters than a belief network's.
    """
    if not isinstance(params, Mapping) or set(params) != {"up", "down", "top"}:
        found = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        raise ValueError(f"{who} needs a belief_network's parameters, got {found}")
    return is_gaussian(params["top"]) or any(_LOG_SCALE in x for x in params["down"].values())


def field(layer: Mapping[str, Array], rows: Array) -> Array:
    """What a directed layer gives to the units that it draws: logits, or means of pixels."""
    if rows.shape[-1] != layer["kernel"].shape[0]:
        raise ValueError(f"the layer takes {layer['kernel'].shape[0]} units, not {rows.shape[-1]}")
    return layer["bias"] + rows @ layer["kernel"]


def _mean(layer: Mapping[str, Array], rows: Array) -> Array:
    mean = field(layer, rows)
    return mean if _LOG_SCALE in layer else jax.nn.sigmoid(mean)


def _draw(key: Key, layer: Mapping[str, Array], rows: Array) -> Array:
    mean = _mean(layer, rows)
    if _LOG_SCALE in layer:
        return mean + jnp.exp(layer[_LOG_SCALE]) * jax.random.normal(key, mean.shape)
    return bernoulli(key, mean)


def cost(layer: Mapping[str, Array], given: Array, drawn: Array) -> Array:
    """The negative log probability of what was drawn, (n,), by a layer that is given the rest."""
    mean = field(layer, given)
    if _LOG_SCALE in layer:
        scale = layer[_LOG_SCALE]
        deviation = (drawn - mean) * jnp.exp(-scale)
        return (0.5 * jnp.square(deviation) + scale + 0.5 * jnp.log(2 * jnp.pi)).sum(-1)
    return (jax.nn.softplus(mean) - drawn * mean).sum(-1)
