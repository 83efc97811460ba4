"""The Pi-model: two passes of one image agree."""

from __future__ import annotations

from jaxmed.core import Objective, network_inputs, pick, stream, weighted_mean
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._consistency import (
    Activation,
    check_activation,
    check_ramp,
    predictions,
    ramp,
    squared_distance,
)
from jaxmed.paradigms.base._schedules import advance, check_weight, counter
from jaxmed.paradigms.base._views import (
    View,
    apply_view,
    deinterleave,
    interleave,
    row_weights,
    same_geometry,
)


def pi_model(
    objective: Objective,
    *,
    view: View | None = None,
    weight: float = 1.0,
    ramp_steps: int = 0,
    activation: Activation = "softmax",
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    """Add the squared distance between predictions on two views of the unlabelled images.

    ``mean |p(view 1) - p(view 2)|^2``, per example, or per voxel where the output has spatial
    axes. The views differ by their draws and by the network's dropout; both go through the
    network as one batch, and both learn.

    Args:
        objective: what is learned from labels.
        view: drawn twice; without one dropout alone makes the difference. For a segmenter it must
            leave the geometry alone.
        weight: of the distance, once ramped up.
        ramp_steps: steps over which the weight rises as ``exp(-5 (1 - t)^2)``.
        activation: what makes predictions of the output: ``"softmax"`` for classes, ``"sigmoid"``
            for yes/no questions, ``None`` for regression.
        output: the endpoint compared.
        inputs: the batch's unlabelled images.

    Returns:
        The objective, with metrics ``consistency`` and ``consistency_weight``.

    Raises:
        ValueError: if the weight is negative or not finite; if ``ramp_steps`` is negative or
            ``activation`` unknown; when traced, if the view moves the voxels of a segmenter's
            image.

    References:
        Laine and Aila (2017), Temporal ensembling for semi-supervised learning, ICLR.
    """
    check_weight(weight)
    check_ramp(ramp_steps)
    check_activation(activation)

    def init(key, network, params, state, batch):
        return {}, counter()

    def loss(network, params, state, batch, key):
        key, images = stream(key, "pi_model"), network_inputs(batch, inputs)
        pair = interleave(*[apply_view(view, stream(key, "view", i), images) for i in range(2)])
        endpoints, net = network.apply(
            params["net"], state["net"], pair, key=stream(key, "network"), train=True
        )
        outputs = pick(endpoints, output, "network")
        same_geometry(outputs, output, view)
        distance = squared_distance(*deinterleave(predictions(outputs, activation), 2))
        consistency = weighted_mean(distance, row_weights(batch, inputs))
        ramped = weight * ramp(state["obj"]["step"], ramp_steps)
        metrics = {"consistency": consistency, "consistency_weight": ramped}
        return ramped * consistency, ({**state, "net": net}, metrics)

    term = Objective(init, loss, lambda params, state: advance(state))
    return added(objective, term)
