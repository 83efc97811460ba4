"""Cross pseudo-supervision: two networks that teach each other."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from jaxmed.core import (
    Objective,
    Variables,
    merge_named,
    network_inputs,
    pick,
    stream,
    weighted_mean,
)
from jaxmed.paradigms.base._consistency import check_ramp, per_example, ramp
from jaxmed.paradigms.base._schedules import advance, check_weight, counter
from jaxmed.paradigms.base._views import View, apply_view, row_weights, same_geometry


def cross_pseudo(
    objective: Objective,
    *,
    weight: float = 1.0,
    ramp_steps: int = 0,
    view: View | None = None,
    twin_view: View | None = None,
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    """Train a twin of other initial weights beside the network; each learns the other's classes.

    On unlabelled images ``CE(logits, argmax twin) + CE(twin logits, argmax logits)``, per example
    or per voxel; on labels both minimise the objective. The twin is a parameter of the objective,
    ``params["obj"]["twin"]["net"]``: ``predict`` is the network's alone.

    Args:
        objective: what is learned from labels, by both; each has its own parameters and state
            of it.
        weight: of the cross-entropies on unlabelled images, once ramped up.
        ramp_steps: steps over which the weight rises as ``exp(-5 (1 - t)^2)``.
        view: what the network sees of the unlabelled images; for a segmenter views must leave the
            geometry alone.
        twin_view: what the twin sees.
        output: the endpoint, logits over classes on the last axis.
        inputs: the batch's unlabelled images.

    Returns:
        The objective. Its metrics are the network's own, and ``cross``, ``cross_weight`` and
        ``twin_loss``.

    Raises:
        ValueError: if the weight is negative or not finite; if ``ramp_steps`` is negative; when
            traced, if a view moves the voxels of a segmenter's image.

    References:
        Chen et al. (2021), Semi-supervised semantic segmentation with cross pseudo supervision,
        CVPR.
    """
    check_weight(weight)
    check_ramp(ramp_steps)

    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        key = stream(key, "twin")
        twin, twin_state = network.init(stream(key, "network"), network_inputs(batch, inputs))
        its_params, its_state = objective.init(key, network, twin, twin_state, batch)
        return (
            {"objective": own_params, "twin": {"net": twin, "obj": its_params}},
            {
                "objective": own_state,
                "twin": {"net": twin_state, "obj": its_state},
                **counter(),
            },
        )

    def both(tree):
        """The network's and the twin's trees, as the objective knows them."""
        return {"net": tree["net"], "obj": tree["obj"]["objective"]}, tree["obj"]["twin"]

    def joined(state, first, second):
        return {
            "net": first["net"],
            "obj": {**state["obj"], "objective": first["obj"], "twin": second},
        }

    def loss(network, params, state, batch, key):
        (mine, other), (state_mine, state_other) = both(params), both(state)
        images, keys = network_inputs(batch, inputs), (key, stream(key, "twin"))
        value, (state_mine, metrics) = objective.loss(network, mine, state_mine, batch, keys[0])
        twin, (state_other, _) = objective.loss(network, other, state_other, batch, keys[1])

        def logits(params, state, view, key):
            key = stream(key, "cross_pseudo")
            shown = apply_view(view, stream(key, "view"), images)
            endpoints, net = network.apply(params["net"], state["net"], shown, key=key, train=True)
            outputs = pick(endpoints, output, "network").astype(jnp.float32)
            same_geometry(outputs, output, view, twin_view)
            return outputs, {**state, "net": net}

        first, state_mine = logits(mine, state_mine, view, keys[0])
        second, state_other = logits(other, state_other, twin_view, keys[1])
        distance = optax.softmax_cross_entropy_with_integer_labels(
            first, second.argmax(-1)
        ) + optax.softmax_cross_entropy_with_integer_labels(second, first.argmax(-1))
        cross = weighted_mean(per_example(distance), row_weights(batch, inputs))
        ramped = weight * ramp(state["obj"]["step"], ramp_steps)
        own = {"cross": cross, "cross_weight": ramped, "twin_loss": twin}
        metrics = merge_named(metrics, own)
        return value + twin + ramped * cross, (joined(state, state_mine, state_other), metrics)

    def post_step(params, state):
        trees = zip(both(params), both(state), strict=True)
        return advance(joined(state, *[objective.post_step(*pair) for pair in trees]))

    def predictors(params, state):
        (mine, other), (state_mine, state_other) = both(params), both(state)
        theirs = {
            **objective.predictors(mine, state_mine),
            **{
                f"twin/{name}": variables
                for name, variables in objective.predictors(other, state_other).items()
            },
        }
        return merge_named(theirs, {"twin": Variables(other["net"], state_other["net"])})

    return Objective(init, loss, post_step, predictors)
