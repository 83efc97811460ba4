"""Mean teacher: consistency with a moving average of oneself."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Array, Key, Learner, Objective, stream, weighted_mean, within
from jaxmed.paradigms._supervised import named

View = Callable[[Key, dict[str, Array]], dict[str, Array]]
"""``(key, batch) -> batch``, as in :mod:`jaxmed.augment`."""


def mean_teacher(
    objective: Objective,
    *,
    decay: float = 0.99,
    weight: float = 1.0,
    ramp_steps: int = 0,
    student_view: View | None = None,
    teacher_view: View | None = None,
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    """Add consistency with an exponential moving average of the network.

    On unlabelled images the student's probabilities are drawn to the teacher's,
    ``mean |softmax(student) - softmax(teacher)|^2``, per example, or per voxel where the output
    has spatial axes. After each step ``teacher = d * teacher + (1 - d) * student`` with
    ``d = min(decay, (step + 1) / (step + 10))``, so that a young teacher forgets its start.

    Args:
        objective: what is learned from labels.
        decay: the moving average's, in [0, 1).
        weight: of the consistency, once ramped up.
        ramp_steps: steps over which the weight rises as ``exp(-5 (1 - t)^2)``.
        student_view: what the student sees of the unlabelled images. For a segmenter views must
            leave the geometry alone: intensities, noise, blur.
        teacher_view: what the teacher sees.
        output: the endpoint compared.
        inputs: the batch's unlabelled images; ``weight_unlabelled``, where there is one, is 0 for
            their padding rows.

    Returns:
        The objective, with the teacher in its state, and metrics ``consistency`` and
        ``consistency_weight``.

    Raises:
        ValueError: if ``decay`` is outside [0, 1) or ``ramp_steps`` negative.

    References:
        Tarvainen and Valpola (2017), Mean teachers are better role models, NeurIPS.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1), got {decay}")
    if ramp_steps < 0:
        raise ValueError(f"ramp_steps must not be negative, got {ramp_steps}")
    inner = within(objective, "objective")

    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        # Copies: a teacher that shares its buffers with the student could not be donated.
        teacher = jax.tree.map(jnp.copy, {"params": params, "state": state})
        own_state = {"objective": own_state, "teacher": teacher, "step": jnp.zeros((), jnp.int32)}
        return {"objective": own_params}, own_state

    def loss(network, params, state, batch, key):
        value, (state, metrics) = inner.loss(network, params, state, batch, key)
        teacher = state["obj"]["teacher"]
        key = stream(key, "mean_teacher")
        images = named(batch, inputs, "batch")

        def probabilities(net_params, net_state, view, role):
            seen = images
            if view is not None:
                seen = view(stream(key, role, "view"), {"image": images})["image"]
            endpoints, net_state = network.apply(
                net_params, net_state, seen, key=stream(key, role), train=True
            )
            outputs = named(endpoints, output, "network")
            return jax.nn.softmax(outputs.astype(jnp.float32), axis=-1), net_state

        student, net = probabilities(params["net"], state["net"], student_view, "student")
        taught, teacher_state = probabilities(
            teacher["params"], teacher["state"], teacher_view, "teacher"
        )
        distance = jnp.square(student - jax.lax.stop_gradient(taught)).sum(-1)
        per_example = distance.reshape(distance.shape[0], -1).mean(1)
        consistency = weighted_mean(per_example, batch.get(f"weight_{inputs}"))
        ramped = weight * _ramp(state["obj"]["step"], ramp_steps)
        own = {**state["obj"], "teacher": {**teacher, "state": teacher_state}}
        metrics = {**metrics, "consistency": consistency, "consistency_weight": ramped}
        return value + ramped * consistency, ({"net": net, "obj": own}, metrics)

    def after(params, state):
        state = inner.after(params, state)
        own = state["obj"]
        step = own["step"].astype(jnp.float32)
        rate = jnp.minimum(decay, (step + 1) / (step + 10))
        averaged = optax.incremental_update(params["net"], own["teacher"]["params"], 1 - rate)
        teacher = {**own["teacher"], "params": averaged}
        return {**state, "obj": {**own, "teacher": teacher, "step": own["step"] + 1}}

    return Objective(init, loss, after)


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


def _ramp(step: Array, length: int) -> Array:
    if length == 0:
        return jnp.ones(())
    return jnp.exp(-5 * jnp.square(1 - jnp.minimum(step / length, 1.0)))
