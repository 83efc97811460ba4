"""Entropy minimisation: be decided about unlabelled images."""

from __future__ import annotations

import jax.numpy as jnp

from jaxmed.core import Objective, network_inputs, pick, stateless, stream, weighted_mean
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._consistency import entropy, per_example
from jaxmed.paradigms.base._schedules import check_weight
from jaxmed.paradigms.base._views import View, apply_view, row_weights


def entropy_minimisation(
    objective: Objective,
    *,
    view: View | None = None,
    weight: float = 0.1,
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    """Add the mean entropy of the predictions on unlabelled images, in nats.

    Args:
        objective: what is learned from labels.
        view: what the network sees of the images; the images themselves by default.
        weight: of the entropy. :func:`~jaxmed.paradigms.weighted` can ramp it up.
        output: the endpoint, logits over classes on the last axis.
        inputs: the batch's unlabelled images.

    Returns:
        The objective, with the metric ``entropy``.

    Raises:
        ValueError: if the weight is negative or not finite; when traced, for an endpoint of one
            class.

    References:
        Grandvalet and Bengio (2004), Semi-supervised learning by entropy minimization, NeurIPS.
    """
    check_weight(weight)

    def loss(network, params, state, batch, key):
        key, images = stream(key, "entropy"), network_inputs(batch, inputs)
        endpoints, net = network.apply(
            params["net"],
            state["net"],
            apply_view(view, stream(key, "view"), images),
            key=stream(key, "network"),
            train=True,
        )
        logits = pick(endpoints, output, "network").astype(jnp.float32)
        value = weighted_mean(per_example(entropy(logits)), row_weights(batch, inputs))
        return weight * value, ({**state, "net": net}, {"entropy": value})

    return added(objective, stateless(loss))
