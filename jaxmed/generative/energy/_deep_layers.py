"""The layers of a deep Boltzmann machine, trained one by one before all learn together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from jaxmed.core import Array, Learner, learner
from jaxmed.generative.energy._copies import Copies, copied
from jaxmed.generative.energy._divergence import contrastive_divergence
from jaxmed.generative.energy._rbm import checked, flat, is_gaussian, rbm, whole


def deep_layers(
    hidden: Sequence[int], optimizer: optax.GradientTransformation, **options: Any
) -> tuple[Learner, ...]:
    r"""Learners of a deep Boltzmann machine's layers, each a restricted machine of its own.

    In the deep machine a layer has its input from below and from above, trained alone from one side
    only. So the lowest machine has two copies of the pixels, the uppermost two of its hidden
    units, which share weights:

    .. math:: P(h_1 \mid v) = \sigma(c + 2 v W_1), \quad P(v \mid h_1) = \sigma(b + h_1 W_1^\top)

    and machines between them are ordinary ones, of whose weights :func:`deep_from_rbms` takes half.
    Train them by :func:`~jaxmed.generative.fit_layers`.

    Args:
        hidden: number of units of each hidden layer, lowest first.
        optimizer: of each layer.
        **options: of :func:`~jaxmed.generative.contrastive_divergence`, but for ``copies``.

    Returns:
        The learners, lowest first. Their ``features`` are the probabilities of the hidden units,
        in the lowest by both copies of the pixels.

    Raises:
        ValueError: for no layer, one without units, and what the objective raises.

    References:
        Salakhutdinov and Hinton (2009), Deep Boltzmann machines, AISTATS.
    """
    hidden = tuple(hidden)
    if not hidden or not whole(*hidden):
        raise ValueError(f"a deep machine has layers of at least one unit, got {hidden}")
    layers = []
    for i, units in enumerate(hidden):
        copies = _copies(i, len(hidden))
        objective = contrastive_divergence(copies=copies, **options)
        one = learner(rbm(units), objective, optimizer)
        layers.append(_seeing_all(one, copies[0]) if copies[0] > 1 else one)
    return tuple(layers)


def deep_from_rbms(layers: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    r"""Make a :func:`~jaxmed.generative.deep_boltzmann`'s parameters of its :func:`deep_layers`'.

    Each machine gives a hidden layer that it shares with another half of what it knows of it. The
    deep machine's hidden layers have the distribution

    .. math:: p(h_1, \dots, h_{L-1}) \propto \sqrt{p_1(h_1)\, p_2(h_1, h_2) \cdots p_L(h_{L-1})}

    of the single machines', copies and the uppermost units summed out: the weights at both ends
    are taken as they are, those between them halved, and a bias of a shared layer is the mean of
    its two machines'. (The authors' published program adds these two.)

    Args:
        layers: parameters of the machines, lowest first; each has as many pixels as the one below
            it has hidden units.

    Returns:
        The parameters. One layer alone is its machine.

    Raises:
        ValueError: for no layer, parameters that are no RBM's, Gaussian pixels, or sizes that do
            not fit.

    References:
        Salakhutdinov and Hinton (2009), Deep Boltzmann machines, AISTATS. Hinton and Salakhutdinov
        (2012), A better way to pretrain deep Boltzmann machines, NIPS.
    """
    if not layers:
        raise ValueError("a deep machine has at least one layer")
    for i, params in enumerate(layers):
        checked(params)
        if is_gaussian(params):
            raise ValueError(f"layer {i} has Gaussian pixels, a deep machine has binary ones")
        if i and params["visible_bias"].size != layers[i - 1]["hidden_bias"].size:
            raise ValueError(
                f"layer {i} has {params['visible_bias'].size} pixels, the one below it "
                f"{layers[i - 1]['hidden_bias'].size} hidden units"
            )
    top = len(layers) - 1
    kernels = {
        str(i): (1.0 if i in (0, top) else 0.5) * jnp.asarray(params["kernel"])
        for i, params in enumerate(layers)
    }
    biases = {"0": jnp.asarray(layers[0]["visible_bias"])}
    for i in range(top):
        biases[str(i + 1)] = 0.5 * (layers[i]["hidden_bias"] + layers[i + 1]["visible_bias"])
    biases[str(top + 1)] = jnp.asarray(layers[top]["hidden_bias"])
    return {"kernels": kernels, "biases": biases}


def _copies(place: int, layers: int) -> Copies:
    if layers == 1:
        return 1, 1
    return (2 if place == 0 else 1), (2 if place == layers - 1 else 1)


def _seeing_all(one: Learner, visible: int) -> Learner:
    """The learner, whose prediction is its machine's with an image in each copy of the pixels."""

    def predict(state, images):
        wide = copied(state.params["net"], (visible, 1))
        state = state._replace(params={**state.params, "net": wide})
        return one.predict(state, jnp.tile(flat(images), (1, visible)))

    return one._replace(predict=predict)
