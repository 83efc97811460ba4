"""The uncertainty-aware mean teacher: consistency where the teacher is sure."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, Variables, network_inputs, pick, stream
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._consistency import check_ramp, ramp
from jaxmed.paradigms.base._ema import check_ema_decay, ema_copy, ema_decay, ema_update
from jaxmed.paradigms.base._schedules import Scheduled, advance, check_weight, counter
from jaxmed.paradigms.base._views import (
    View,
    apply_view,
    deinterleave,
    interleave,
    row_weights,
    same_geometry,
)


def uncertainty_aware_teacher(
    objective: Objective,
    *,
    passes: int = 8,
    decay: Scheduled = 0.99,
    weight: float = 1.0,
    ramp_steps: int = 0,
    student_view: View | None = None,
    teacher_view: View | None = None,
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    r"""Add consistency with a mean teacher where the teacher's Monte-Carlo passes agree.

    The teacher sees ``passes`` views under dropout; of their mean prediction :math:`\bar p`, the
    entropy :math:`u = -\sum_c \bar p_c \log \bar p_c` decides which examples, or voxels, count:

    .. math:: \frac{\sum_v 1[u_v < H]\, |p_v - \bar p_v|^2}{\sum_v 1[u_v < H]}, \qquad
        H = (\tfrac34 + \tfrac14 r)\, \log C

    with the ramp r of the weight, over C classes. The teacher is that of
    :func:`~jaxmed.paradigms.mean_teacher`. The published method compares with one more pass of the
    teacher; the mean of all passes costs nothing more and varies less.

    Args:
        objective: what is learned from labels.
        passes: of the teacher, at least 2; they go through the network as one batch.
        decay: the moving average's, in [0, 1), or a function of the step.
        weight: of the consistency, once ramped up.
        ramp_steps: steps over which weight and H rise.
        student_view: what the student sees of the unlabelled images. For a segmenter views must
            leave the geometry alone.
        teacher_view: what the teacher sees, drawn anew for each pass. Without one the passes differ
            by the network's dropout alone.
        output: the endpoint compared, logits over classes on the last axis.
        inputs: the batch's unlabelled images.

    Returns:
        The objective, with metrics ``consistency``, ``consistency_weight`` and ``certain`` (the
        fraction that counted).

    Raises:
        ValueError: if the weight is negative or not finite; if ``passes`` is below 2, ``decay``
            outside [0, 1) or ``ramp_steps`` negative; when traced, if a view moves the voxels of a
            segmenter's image.

    References:
        Yu et al. (2019), Uncertainty-aware self-ensembling model for semi-supervised 3D left atrium
        segmentation, MICCAI.
    """
    check_weight(weight)
    if passes < 2:
        raise ValueError(f"passes must be at least 2 to tell how sure a teacher is, got {passes}")
    check_ema_decay(decay)
    check_ramp(ramp_steps)

    def init(key, network, params, state, batch):
        return {}, {"teacher": ema_copy(params, state), **counter()}

    def loss(network, params, state, batch, key):
        own, teacher = state["obj"], state["obj"]["teacher"]
        key = stream(key, "uncertainty_aware")
        images = network_inputs(batch, inputs)

        def predicted(net_params, net_state, shown, role):
            endpoints, net_state = network.apply(
                net_params, net_state, shown, key=stream(key, role), train=True
            )
            logits = pick(endpoints, output, "network").astype(jnp.float32)
            same_geometry(logits, output, student_view, teacher_view)
            return jax.nn.softmax(logits, axis=-1), net_state

        shown = apply_view(student_view, stream(key, "student", "view"), images)
        student, net = predicted(params["net"], state["net"], shown, "student")
        repeated = interleave(*[images] * passes)
        shown = apply_view(teacher_view, stream(key, "teacher", "view"), repeated)
        several, teacher_state = predicted(teacher["params"], teacher["state"], shown, "teacher")
        mean = jax.lax.stop_gradient(jnp.asarray(sum(deinterleave(several, passes))) / passes)
        uncertainty = -(mean * jnp.log(jnp.maximum(mean, 1e-12))).sum(-1)
        ramped = ramp(own["step"], ramp_steps)
        certain = uncertainty < (0.75 + 0.25 * ramped) * math.log(mean.shape[-1])
        count = row_weights(batch, inputs)
        if count is None:
            count = jnp.ones(len(images))
        count = jnp.broadcast_to(count.reshape(-1, *[1] * (certain.ndim - 1)), certain.shape)
        used = (certain & (count > 0)) * count
        distance = jnp.where(used > 0, jnp.square(student - mean).sum(-1), 0)
        consistency = (used * distance).sum() / jnp.maximum(used.sum(), 1)
        metrics = {
            "consistency": consistency,
            "consistency_weight": weight * ramped,
            "certain": used.sum() / jnp.maximum(count.sum(), 1),
        }
        own = {**own, "teacher": {**teacher, "state": teacher_state}}
        return weight * ramped * consistency, ({"net": net, "obj": own}, metrics)

    def post_step(params, state):
        own = state["obj"]
        teacher = ema_update(own["teacher"], params["net"], ema_decay(decay, own["step"]))
        return advance(state, teacher=teacher)

    def predictors(params, state):
        return {"teacher": Variables(**state["obj"]["teacher"])}

    return added(objective, Objective(init, loss, post_step, predictors))
