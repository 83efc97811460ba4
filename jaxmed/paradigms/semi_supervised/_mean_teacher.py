"""Mean teacher: consistency with a moving average of oneself."""

from __future__ import annotations

import jax

from jaxmed.core import (
    Endpoints,
    Learner,
    LearnerState,
    Network,
    Objective,
    PyTree,
    Variables,
    network_inputs,
    pick,
    stream,
    weighted_mean,
)
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._consistency import (
    Activation,
    check_activation,
    check_ramp,
    predictions,
    ramp,
    squared_distance,
)
from jaxmed.paradigms.base._ema import check_ema_decay, ema_copy, ema_decay, ema_update
from jaxmed.paradigms.base._schedules import Scheduled, advance, check_weight, counter
from jaxmed.paradigms.base._views import View, apply_view, row_weights, same_geometry


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
        ValueError: if the weight is negative or not finite; if ``decay`` is outside [0, 1),
            ``ramp_steps`` negative or ``activation`` unknown; when traced, if a view moves the
            voxels of a segmenter's image.

    References:
        Tarvainen and Valpola (2017), Mean teachers are better role models, NeurIPS.
    """
    check_weight(weight)
    check_ema_decay(decay)
    check_ramp(ramp_steps)
    check_activation(activation)

    def init(key, network, params, state, batch):
        return {}, {"teacher": ema_copy(params, state), **counter()}

    def loss(network, params, state, batch, key):
        teacher = state["obj"]["teacher"]
        key = stream(key, "mean_teacher")
        images = network_inputs(batch, inputs)

        def predicted(net_params, net_state, view, role):
            endpoints, net_state = network.apply(
                net_params,
                net_state,
                apply_view(view, stream(key, role, "view"), images),
                key=stream(key, role),
                train=True,
            )
            outputs = pick(endpoints, output, "network")
            same_geometry(outputs, output, student_view, teacher_view)
            return predictions(outputs, activation), net_state

        student, net = predicted(params["net"], state["net"], student_view, "student")
        taught, teacher_state = predicted(
            teacher["params"], teacher["state"], teacher_view, "teacher"
        )
        distance = squared_distance(student, jax.lax.stop_gradient(taught))
        consistency = weighted_mean(distance, row_weights(batch, inputs))
        ramped = weight * ramp(state["obj"]["step"], ramp_steps)
        own = {**state["obj"], "teacher": {**teacher, "state": teacher_state}}
        metrics = {"consistency": consistency, "consistency_weight": ramped}
        return ramped * consistency, ({"net": net, "obj": own}, metrics)

    def post_step(params, state):
        own = state["obj"]
        teacher = ema_update(own["teacher"], params["net"], ema_decay(decay, own["step"]))
        return advance(state, teacher=teacher)

    def predictors(params, state):
        return {"teacher": Variables(**state["obj"]["teacher"])}

    return added(objective, Objective(init, loss, post_step, predictors))


def predict_with_teacher(
    learner: Learner, network: Network | None = None, *, teacher: str = "teacher"
) -> Learner:
    """The learner whose ``predict`` uses an averaged teacher instead of the student.

    The teacher is found however deep other paradigms have put it, in a single learner, in every
    member of an ensemble, or in the player that predicts.

    Args:
        learner: one whose objective keeps a teacher: :func:`mean_teacher`,
            :func:`uncertainty_aware_teacher`, :func:`byol`, :func:`moco`, :func:`dino`, under any
            other paradigms.
        network: no longer needed; the learner knows its network.
        teacher: the name of the teacher, or its last part. Of stacked teachers the outermost is
            ``"teacher"``, the one below it ``"objective/teacher"``; in :func:`weighted` a part's
            is ``"part/teacher"``. A cross-taught ``"twin"`` may be named too.

    Returns:
        The learner; ``init`` and ``step`` are the same.

    Raises:
        ValueError: at ``predict``, if the learner keeps no teacher of that name, or several; names
            those that it keeps.
    """
    del network
    predicting = learner.predicting

    def taught(state: LearnerState) -> Variables:
        found = predicting.others(state)
        if teacher in found:
            return found[teacher]
        inside = [name for name in found if name.endswith(f"/{teacher}")]
        if len(inside) != 1:
            raise ValueError(
                f"the learner keeps {'several' if inside else 'no'} predictors called {teacher!r}; "
                f"name one of {sorted(found)} by teacher=. A paradigm of one's own that makes a "
                f"new Objective hands on those that it wraps: inner._replace(init=..., loss=...)"
            )
        return found[inside[0]]

    def predict(state: LearnerState, inputs: PyTree) -> Endpoints:
        return learner.predict(predicting.set(state, taught(state)), inputs)

    return learner._replace(predict=predict)
