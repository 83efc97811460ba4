"""Stochastic approximation: deep Boltzmann machines by mean field and persistent chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Inputs, Objective, pick, stream, weighted_mean
from jaxmed.generative.energy._centring import mean_rows, moved
from jaxmed.generative.energy._deep_boltzmann import as_rbm, energy
from jaxmed.generative.energy._pixels import Binarise, visible_rows
from jaxmed.generative.energy._rbm import free_energy, gibbs, start_chains, whole
from jaxmed.paradigms.base._schedules import advance, counter
from jaxmed.paradigms.multi_task._task_gradients import with_gradient


def stochastic_approximation(
    *,
    steps: int = 5,
    chains: int = 100,
    centre: bool = True,
    offset_rate: float = 0.01,
    sparsity: float = 0.0,
    activity: float = 0.1,
    binarise: Binarise = "draw",
    inputs: Inputs = "image",
) -> Objective:
    r"""Raise the variational bound of a deep Boltzmann machine, all layers at once.

    .. math:: \ell = \overline{\mathbb{E}_\mu[E(v, h)]} - \overline{F(\tilde x)}

    with the mean field :math:`\mu` of each image, held constant as its bound is at its highest
    there, and persistent chains :math:`\tilde x` of the layers of even place, the others summed
    out. The value itself says little. Units are centred, so that no layer has to be trained before:
    their moving means are subtracted, and the gradient is the step of the centred machine.

    Args:
        steps: Gibbs steps of the chains after each optimizer's step.
        chains: number of chains.
        centre: whether units are centred. Without it the layers need weights that were trained one
            by one, or the upper ones stay unused.
        offset_rate: of the moving means that are subtracted.
        sparsity: weight of the summed squared differences between ``activity`` and each hidden
            unit's mean probability.
        activity: see ``sparsity``.
        binarise: how grey values become binary pixels, see
            :func:`~jaxmed.generative.binarised`.
        inputs: the batch's images.

    Returns:
        The objective, for a :func:`~jaxmed.generative.deep_boltzmann`, with metrics ``energy_gap``
        (of the bound and the chains) and ``activity`` (of all hidden units).

    Raises:
        ValueError: for no step, no chain, a rate outside [0, 1], a negative sparsity or an activity
            outside (0, 1); when traced, if the network is another.

    References:
        Salakhutdinov and Hinton (2009), Deep Boltzmann machines, AISTATS. Montavon and Müller
        (2012), Deep Boltzmann machines and the centering trick, Neural Networks: Tricks of the
        Trade. Melchior, Fischer and Wiskott (2016), How to center deep Boltzmann machines, JMLR 17.
    """
    if not whole(steps, chains):
        raise ValueError(f"needs at least one step and one chain, got {steps} and {chains}")
    if not 0 <= offset_rate <= 1:
        raise ValueError(f"offset_rate is in [0, 1], got {offset_rate}")
    if sparsity < 0 or not 0 < activity < 1:
        raise ValueError(
            f"sparsity is not negative and activity in (0, 1), got {sparsity} and {activity}"
        )

    def init(key, network, params, state, batch):
        fresh = start_chains(stream(key, "chains"), as_rbm(params), chains)
        own: dict[str, Any] = {"chains": fresh, "key": stream(key, "gibbs"), **counter()}
        if centre:
            rows, weight = visible_rows(stream(key, "binarise"), batch, inputs, binarise)
            own["offsets"] = {
                name: jnp.full_like(bias, 0.5) for name, bias in params["biases"].items()
            } | {"0": mean_rows(rows, weight)}
        return {}, own

    def loss(network, params, state, batch, key):
        net, own = jax.lax.stop_gradient(params["net"]), dict(state["obj"])
        key = stream(key, "stochastic_approximation")
        rows, weight = visible_rows(stream(key, "binarise"), batch, inputs, binarise)

        def gap(net_params):
            ends, net_state = network.apply(net_params, state["net"], rows, key=key, train=True)
            free, seen = (pick(ends, name, "network") for name in ("free_energy_bound", "layers"))
            # As if mu were constant: the bound's own slope along it is zero where it is solved.
            layers = [rows, *jax.lax.stop_gradient(list(seen))]
            bound = energy(net_params, layers)
            bound += jax.lax.stop_gradient(free - bound)
            value = weighted_mean(bound, weight)
            value -= free_energy(as_rbm(net_params), own["chains"]).mean()
            means = {str(i): mean_rows(x, weight) for i, x in enumerate(layers)}
            total = value
            if sparsity:  # Its slope goes back through the mean field; a weight of 0 would too.
                hidden = [mean_rows(x, weight) for x in seen]
                total += sparsity * sum(jnp.square(activity - x).sum() for x in hidden)
            return total, (net_state, value, means)

        if centre:
            (value, rest), gradient = jax.value_and_grad(gap, has_aux=True)(net)
            own["offsets"] = {
                name: moved(offset, rest[2][name], offset_rate, weight)
                for name, offset in own["offsets"].items()
            }
            value = with_gradient(value, params["net"], _centred(gradient, own["offsets"]))
        else:
            value, rest = gap(params["net"])
        net_state, energy_gap, means = jax.lax.stop_gradient(rest)
        hidden = jnp.concatenate([mean for name, mean in means.items() if name != "0"])
        metrics = {"energy_gap": energy_gap, "activity": hidden.mean()}
        return value, ({"net": net_state, "obj": own}, metrics)

    def post_step(params, state):
        own = state["obj"]
        key = stream(own["key"], own["step"])
        return advance(state, chains=gibbs(key, as_rbm(params["net"]), own["chains"], steps=steps))

    return Objective(init, loss, post_step)


def _centred(gradient: Mapping[str, Any], offsets: Mapping[str, Array]) -> dict[str, Any]:
    """The step of the centred machine, in the ordinary one's parameters: as an RBM's, by layer."""
    by_unit = gradient["biases"]
    kernels, biases = {}, dict(by_unit)
    for i in range(len(gradient["kernels"])):
        low, high = str(i), str(i + 1)
        kernels[low] = (
            gradient["kernels"][low]
            - jnp.outer(by_unit[low], offsets[high])
            - jnp.outer(offsets[low], by_unit[high])
        )
        biases[low] = biases[low] - kernels[low] @ offsets[high]
        biases[high] = biases[high] - kernels[low].T @ offsets[low]
    return {"kernels": kernels, "biases": biases}
