"""Gradient TD: values of one policy, learned from another, without divergence."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Inputs, Objective, network_inputs, pick
from jaxmed.reinforcement.objectives._td import one_value
from jaxmed.reinforcement.objectives._transitions import (
    check_unit,
    discounted,
    measured,
    next_of,
    reduced,
)


def gradient_td(
    *,
    discount: float,
    method: Literal["tdc", "gtd2"] = "tdc",
    ratio: float = 1.0,
    output: str = "logits",
    inputs: Inputs = "observation",
) -> Objective:
    r"""Learn what states are worth by the gradient of the projected Bellman error: TDC or GTD2.

    :func:`td` follows no gradient, and may diverge with transitions of another policy; this does
    not. Beside the parameters :math:`\theta` of the value V it learns a direction w among them, in
    whose units the error :math:`\delta` is predicted as :math:`\nabla V \cdot w`; with
    :math:`\rho` the ``importance`` of a transition

    .. math::
        w & \mathrel{+}= \beta \rho (\delta - \nabla V \cdot w) \nabla V \\
        \theta & \mathrel{+}= \alpha \rho
        (\delta \nabla V - \gamma \nabla V' (\nabla V \cdot w) - h) \quad \text{(TDC)} \\
        \theta & \mathrel{+}= \alpha \rho
        ((\nabla V - \gamma \nabla V') (\nabla V \cdot w) - h) \quad \text{(GTD2)}

    where :math:`h = (\delta - \nabla V \cdot w) \nabla^2 V w` is 0 for a linear value. The batch is
    as :func:`td` takes single transitions.

    Args:
        discount: of a step.
        method: ``"tdc"`` or ``"gtd2"``.
        ratio: of the step sizes, :math:`\beta / \alpha`, under plain gradient descent.
        output: the endpoint that is the value, ``(batch,)`` or ``(batch, 1)``.
        inputs: the batch's array that the network is given, or several; those of the next state
            begin with ``next_``.

    Returns:
        The objective, with the metrics ``td_error`` and ``value``. Its own parameters are the
        direction. Its loss has these gradients, and says nothing by itself.

    Raises:
        ValueError: if ``discount`` is outside [0, 1], ``ratio`` not positive or ``method`` unknown;
            when traced, for shapes that do not belong together.

    References:
        Sutton et al. (2009), Fast gradient-descent methods for temporal-difference learning with
        linear function approximation, ICML.
        Maei et al. (2009), Convergent temporal-difference learning with arbitrary smooth function
        approximation, NeurIPS.
    """
    check_unit(discount, "discount")
    if method not in ("tdc", "gtd2"):
        raise ValueError(f"method must be 'tdc' or 'gtd2', got {method!r}")
    if ratio <= 0:
        raise ValueError(f"ratio must be positive, got {ratio}")

    def init(key, network, params, state, batch):
        return {"direction": jax.tree.map(jnp.zeros_like, params)}, {}

    def loss(network, params, state, batch, key):
        stop = jax.lax.stop_gradient
        given = network_inputs(batch, inputs)
        direction = params["obj"]["direction"]

        def value_at(variables):
            endpoints, net = network.apply(variables, state["net"], given, key=key, train=True)
            return one_value(pick(endpoints, output, "network"), output), net

        value, curved, net = jax.jvp(value_at, (params["net"],), (stop(direction),), has_aux=True)
        _, predicted, _ = jax.jvp(value_at, (stop(params["net"]),), (direction,), has_aux=True)
        endpoints, _ = network.apply(
            params["net"], state["net"], network_inputs(batch, next_of(inputs))
        )
        later = one_value(pick(endpoints, output, "network"), output)
        reward, factor = discounted(batch, discount, value)
        error, w = stop(reward + factor * later - value), stop(predicted)
        if method == "tdc":
            main = error * value - factor * w * later
        else:
            main = (value - factor * later) * w
        descent = -main + (error - w) * curved - ratio * (error - w) * predicted
        return reduced(descent, batch), ({**state, "net": net}, measured(error, value, batch))

    return Objective(init, loss)
