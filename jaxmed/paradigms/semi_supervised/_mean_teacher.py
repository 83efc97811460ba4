"""Mean teacher: consistency with a moving average of oneself."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Learner, Objective, stream, weighted_mean
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._consistency import (
    Activation,
    check_activation,
    check_ramp,
    predictions,
    ramp,
    squared_distance,
)
from jaxmed.paradigms.base._momentum import check_teaching, followed, follower, teaching
from jaxmed.paradigms.base._schedules import Scheduled
from jaxmed.paradigms.base._supervised import named
from jaxmed.paradigms.base._views import View, counts, same_geometry, seen


def mean_teacher(
    objective: Objective,
    *,
    decay: Scheduled = 0.99,
    weight: float = 1.0,
    ramp_steps: int = 0,
    student_view: View | None = None,
    teacher_view: View | None = None,
    activation: Activation = "softmax",
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    """Add consistency with an exponential moving average of the network.

    On unlabelled images the student's predictions are drawn to the teacher's,
    ``mean |softmax(student) - softmax(teacher)|^2``, per example, or per voxel where the output
    has spatial axes. After each step ``teacher = d * teacher + (1 - d) * student`` with
    ``d = min(decay, (step + 1) / (step + 10))``, so that a young teacher forgets its start.

    Args:
        objective: what is learned from labels.
        decay: the moving average's, in [0, 1); or a function of the step, used as it is: that of
            the published code is ``lambda step: jnp.minimum(1 - 1 / (step + 1), 0.99)``.
        weight: of the consistency, once ramped up.
        ramp_steps: steps over which the weight rises as ``exp(-5 (1 - t)^2)``.
        student_view: what the student sees of the unlabelled images. For a segmenter views must
            leave the geometry alone: intensities, noise, blur.
        teacher_view: what the teacher sees.
        activation: what makes predictions of the output: ``"softmax"`` for classes, ``"sigmoid"``
            for yes/no questions, ``None`` for regression.
        output: the endpoint compared.
        inputs: the batch's unlabelled images; ``weight_unlabelled``, where there is one, is 0 for
            their padding rows.

    Returns:
        The objective, with the teacher in its state, and metrics ``consistency`` and
        ``consistency_weight``.

    Raises:
        ValueError: if ``decay`` is outside [0, 1), ``ramp_steps`` negative or ``activation``
            unknown; when traced, if a view moves the voxels of a segmenter's image.

    References:
        Tarvainen and Valpola (2017), Mean teachers are better role models, NeurIPS.
    """
    check_teaching(decay)
    check_ramp(ramp_steps)
    check_activation(activation)

    def init(key, network, params, state, batch):
        return {}, {"teacher": follower(params, state), "step": jnp.zeros((), jnp.int32)}

    def loss(network, params, state, batch, key):
        teacher = state["obj"]["teacher"]
        key = stream(key, "mean_teacher")
        images = named(batch, inputs, "batch")

        def predicted(net_params, net_state, view, role):
            endpoints, net_state = network.apply(
                net_params,
                net_state,
                seen(view, stream(key, role, "view"), images),
                key=stream(key, role),
                train=True,
            )
            outputs = named(endpoints, output, "network")
            same_geometry(outputs, output, student_view, teacher_view)
            return predictions(outputs, activation), net_state

        student, net = predicted(params["net"], state["net"], student_view, "student")
        taught, teacher_state = predicted(
            teacher["params"], teacher["state"], teacher_view, "teacher"
        )
        distance = squared_distance(student, jax.lax.stop_gradient(taught))
        consistency = weighted_mean(distance, counts(batch, inputs))
        ramped = weight * ramp(state["obj"]["step"], ramp_steps)
        own = {**state["obj"], "teacher": {**teacher, "state": teacher_state}}
        metrics = {"consistency": consistency, "consistency_weight": ramped}
        return ramped * consistency, ({"net": net, "obj": own}, metrics)

    def after(params, state):
        own = state["obj"]
        teacher = followed(own["teacher"], params["net"], teaching(decay, own["step"]))
        return {**state, "obj": {**own, "teacher": teacher, "step": own["step"] + 1}}

    return added(objective, Objective(init, loss, after))


def predict_with_teacher(learner: Learner, network) -> Learner:
    """The learner whose ``predict`` uses the mean teacher instead of the student.

    Args:
        learner: one whose objective is :func:`mean_teacher`.
        network: its network.

    Returns:
        The learner; ``init`` and ``step`` are the same.
    """

    def predict(state, inputs):
        teacher = state.state["obj"]["teacher"]
        return network.apply(teacher["params"], teacher["state"], inputs)[0]

    return learner._replace(predict=predict)
