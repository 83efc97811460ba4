"""Contrastive divergence, with chains that begin at the data or go on from step to step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Inputs, Objective, pick, stream, weighted_mean
from jaxmed.generative.energy._centring import centred, mean_rows, moved
from jaxmed.generative.energy._copies import Copies, averaged, copied
from jaxmed.generative.energy._pixels import Binarise, visible_rows
from jaxmed.generative.energy._rbm import (
    checked,
    gibbs,
    is_gaussian,
    start_chains,
    visible_mean,
    whole,
)
from jaxmed.paradigms.base._schedules import advance, counter
from jaxmed.paradigms.multi_task._task_gradients import with_gradient


def contrastive_divergence(
    *,
    steps: int = 1,
    persistent: bool = True,
    chains: int = 100,
    centre: bool = True,
    offset_rate: float = 0.01,
    sparsity: float = 0.0,
    activity: float = 0.1,
    copies: Copies = (1, 1),
    binarise: Binarise | None = None,
    inputs: Inputs = "image",
) -> Objective:
    r"""Raise the probability of the images, lower that of what the machine itself draws.

    .. math:: \ell = \overline{F(v)} - \overline{F(\mathrm{stop\_gradient}(\tilde v))}

    over images v and chains :math:`\tilde v` of Gibbs sampling. Its gradient is that of the mean
    negative log-likelihood where the chains are draws from the machine; the value itself says
    little, and is not a likelihood.

    Persistent chains are the objective's state, and go on after each optimizer's step. They need a
    learning rate that falls. Otherwise chains begin at the images of each step, and ``steps`` of
    them bias the gradient towards the data.

    Centring subtracts moving means from pixels and hidden units. The gradient is then the step that
    gradient descent makes in the centred machine's parameters, which Melchior et al. find
    to learn higher likelihoods. It is meant for plain steps, with or without momentum: Adam
    rescales each parameter, and makes another direction of it.

    Args:
        steps: Gibbs steps between two gradients.
        persistent: whether chains go on from step to step.
        chains: number of persistent chains.
        centre: whether units are centred.
        offset_rate: of the moving means that are subtracted.
        sparsity: weight of :math:`\sum_j (\mathrm{activity} - \overline{P(h_j | v)})^2`.
        activity: the mean probability towards which ``sparsity`` draws each hidden unit.
        copies: how many copies of binary pixels, and of hidden units, the machine has while it
            learns. Copies share weights, which make a step by their copies' mean gradient; each is
            drawn by itself, and all copies of the pixels are given the image. Of two at one end
            :func:`~jaxmed.generative.deep_layers` makes the layers of a deep machine.
        binarise: how grey values become binary pixels, see
            :func:`~jaxmed.generative.binarised`; by default drawn anew at each step, and left as
            they are for Gaussian pixels.
        inputs: the batch's images.

    Returns:
        The objective, for an :func:`~jaxmed.generative.rbm`, with metrics ``energy_gap`` (the loss
        without sparsity), ``reconstruction`` (mean squared error of the pixels' means after one
        step up and down) and ``activity``.

    Raises:
        ValueError: for no step, no chain, no copy, a rate outside [0, 1], a negative sparsity or an
            activity outside (0, 1); when traced, if the network is no RBM, or Gaussian pixels are
            to be made binary or to be copied.

    References:
        Hinton (2002), Training products of experts by minimizing contrastive divergence, Neural
        Computation 14. Tieleman (2008), Training restricted Boltzmann machines using
        approximations to the likelihood gradient, ICML. Melchior, Fischer and Wiskott (2016), How
        to center deep Boltzmann machines, JMLR 17. Lee, Ekanadham and Ng (2008), Sparse deep belief
        net model for visual area V2, NIPS.
    """
    if not whole(steps, chains):
        raise ValueError(f"needs at least one step and one chain, got {steps} and {chains}")
    if not 0 <= offset_rate <= 1:
        raise ValueError(f"offset_rate is in [0, 1], got {offset_rate}")
    if len(copies) != 2 or not whole(*copies):
        raise ValueError(f"copies are two numbers of at least 1, got {copies}")
    if sparsity < 0 or not 0 < activity < 1:
        raise ValueError(
            f"sparsity is not negative and activity in (0, 1), got {sparsity} and {activity}"
        )

    alone = tuple(copies) == (1, 1)

    def machine(params):
        """The parameters of the machine with all its copies."""
        checked(params)
        if not alone and is_gaussian(params):
            raise ValueError(f"Gaussian pixels stand alone: copies={copies}")
        return params if alone else copied(params, copies)

    def rows_of(key, params, batch):
        if is_gaussian(params) and binarise not in (None, "none"):
            raise ValueError(f"Gaussian pixels are no binary ones: binarise={binarise!r}")
        how = binarise or ("none" if is_gaussian(params) else "draw")
        rows, weight = visible_rows(stream(key, "binarise"), batch, inputs, how)
        checked(params, rows)
        return (rows if alone else jnp.tile(rows, (1, copies[0]))), weight

    def init(key, network, params, state, batch):
        own: dict[str, Any] = {}
        net = machine(params)
        if persistent:
            fresh = start_chains(stream(key, "chains"), net, chains)
            own |= {"chains": fresh, "key": stream(key, "gibbs"), **counter()}
        if centre:
            rows, weight = rows_of(key, params, batch)
            half = jnp.full_like(net["hidden_bias"], 0.5)
            own["offsets"] = {"visible": mean_rows(rows, weight), "hidden": half}
        return {}, own

    def loss(network, params, state, batch, key):
        still, own = jax.lax.stop_gradient(params["net"]), dict(state["obj"])
        net = machine(still)
        key = stream(key, "contrastive_divergence")
        rows, weight = rows_of(key, still, batch)

        def gap(net_params):
            data, net_state = network.apply(net_params, state["net"], rows, key=key, train=True)
            if persistent:
                drawn, counts = own["chains"], None
            else:
                drawn, counts = gibbs(stream(key, "gibbs"), net, rows, steps=steps), weight
            drawn = jax.lax.stop_gradient(drawn)
            model, net_state = network.apply(net_params, net_state, drawn, key=key, train=True)
            value = weighted_mean(pick(data, "free_energy", "network"), weight)
            value -= weighted_mean(model["free_energy"], counts)
            mean = mean_rows(data["features"], weight)
            penalty = sparsity * jnp.square(activity - mean).sum() if sparsity else 0.0
            return value + penalty, (net_state, value, data["features"], mean)

        if centre or not alone:
            (value, rest), direction = jax.value_and_grad(gap, has_aux=True)(net)
            if centre:
                mean_hidden, old = rest[3], own["offsets"]
                own["offsets"] = {
                    "visible": moved(old["visible"], mean_rows(rows, weight), offset_rate, weight),
                    "hidden": moved(old["hidden"], mean_hidden, offset_rate, weight),
                }
                direction = centred(direction, net, **own["offsets"])
            direction = direction if alone else averaged(direction, copies)
            value = with_gradient(value, params["net"], direction)
        else:
            value, rest = gap(params["net"])
        net_state, energy_gap, features, mean_hidden = jax.lax.stop_gradient(rest)
        error = jnp.square(visible_mean(net, features) - rows).mean(-1)
        metrics = {
            "energy_gap": energy_gap,
            "reconstruction": weighted_mean(error, weight),
            "activity": mean_hidden.mean(),
        }
        return value, ({"net": net_state, "obj": own}, metrics)

    def post_step(params, state):
        if not persistent:
            return state
        own = state["obj"]
        key = stream(own["key"], own["step"])
        return advance(state, chains=gibbs(key, machine(params["net"]), own["chains"], steps=steps))

    return Objective(init, loss, post_step)
