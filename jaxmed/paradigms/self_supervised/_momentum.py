"""What paradigms with a momentum encoder share: it follows the parameters, and may predict."""

from __future__ import annotations

from collections.abc import Callable

from jaxmed.core import Objective, ObjectiveInit, ObjectiveLoss, PyTree, Variables
from jaxmed.paradigms.base._ema import ema_update
from jaxmed.paradigms.base._schedules import Scheduled, advance, value_at


def momentum_objective(
    init: ObjectiveInit,
    loss: ObjectiveLoss,
    decay: Scheduled,
    follows: Callable[[PyTree], PyTree] = lambda params: params,
) -> Objective:
    """An objective whose state holds a momentum encoder as ``teacher``.

    Args:
        init: puts ``teacher`` into the objective's own state (``ema_copy``).
        loss: of the objective.
        decay: of the teacher's moving average, a number or a function of the step.
        follows: ``params -> params`` that the teacher is an average of; all by default.
    """

    def post_step(params, state):
        own = state["obj"]
        teacher = ema_update(own["teacher"], follows(params), value_at(decay, own))
        return advance(state, teacher=teacher)

    def predictors(params, state):
        teacher = state["obj"]["teacher"]
        return {"teacher": Variables(teacher["params"]["net"], teacher["state"]["net"])}

    return Objective(init, loss, post_step, predictors)
