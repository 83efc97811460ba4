"""Cox's partial likelihood of a batch as an objective."""

from __future__ import annotations

import jax.numpy as jnp

from jaxmed.core import Inputs, Objective, network_inputs, pick, stateless, weighted_mean
from jaxmed.losses import cox


def proportional_hazards(
    *, output: str = "logits", target: str = "survival", inputs: Inputs = "image"
) -> Objective:
    """Minimise Cox's negative log partial likelihood of each batch (:func:`jaxmed.losses.cox`).

    What ``supervised(losses.cox)`` is, with padding rows in no risk set. The likelihood is one of
    the batch, divided by its examples: give all cases as one batch where they fit, and expect
    weaker gradients of small ones, in which few outlive an event. For survival at times make the
    baseline hazard with :func:`jaxmed.stats.breslow`.

    Args:
        output: the network's endpoint of log hazards, ``(batch, 1)``.
        target: the batch's array ``(batch, 2)`` of times and events.
        inputs: what the network is given, as :func:`supervised` takes it.

    Returns:
        The objective. Of the batch's ``weight``, where there is one, only 0 (padding) or not
        matters in a risk set; it weights the events.

    Raises:
        KeyError: when traced, if the network or the batch lacks a name; says which it has.
        ValueError: when traced, if shapes do not fit.

    References:
        Katzman et al. (2018), DeepSurv, BMC Medical Research Methodology 18:24.

    >>> import jax, flax.linen as nn, jaxmed as jm
    >>> network = jm.from_linen(nn.Dense(1))
    >>> batch = {"image": jnp.eye(3), "survival": jnp.array([[1.0, 1], [2, 0], [3, 1]])}
    >>> params, state = network.init(jax.random.key(0), batch["image"])
    >>> wrap = lambda tree: {"net": tree, "obj": {}}
    >>> loss, _ = proportional_hazards().loss(
    ...     network, wrap(params), wrap(state), batch, jax.random.key(1)
    ... )
    >>> loss.shape
    ()
    """

    def evaluate(network, params, state, batch, key):
        endpoints, net = network.apply(
            params["net"], state["net"], network_inputs(batch, inputs), key=key, train=True
        )
        outputs, targets = pick(endpoints, output, "network"), pick(batch, target, "batch")
        weight = batch.get("weight")
        where = jnp.ones(len(outputs)) if weight is None else weight
        values = cox(outputs, targets, where=where > 0)
        return weighted_mean(values, weight), ({**state, "net": net}, {})

    return stateless(evaluate)
