"""SARSA: what actions are worth, if those of the policy itself follow."""

from __future__ import annotations

from collections.abc import Callable

from jaxmed.core import Array, Inputs, Objective, Variables, pick
from jaxmed.paradigms.base._schedules import advance, counter
from jaxmed.reinforcement.objectives._q_learning import bootstrapped
from jaxmed.reinforcement.objectives._target import Target
from jaxmed.reinforcement.objectives._transitions import (
    Distance,
    check_distance,
    check_unit,
    distance_of,
    measured,
    next_of,
    of_action,
    outputs_at,
    reduced,
)

Policy = Callable[[Array, Array], Array]
"""``(values, step) -> probabilities``, both ``(..., actions)``: what a behaviour is."""


def sarsa(
    *,
    discount: float,
    distance: Distance = "squared",
    target_every: int | None = None,
    target_rate: float | None = None,
    output: str = "logits",
    inputs: Inputs = "observation",
) -> Objective:
    """Learn what each action is worth, if the policy goes on as it does: SARSA.

    The value of an action is drawn to its reward and the discounted value of the action that the
    policy took next. The batch holds transitions of the policy itself: ``observation``, ``action``,
    ``reward``, ``terminated``, ``next_observation``, ``next_action``.

    Args:
        discount: of a step.
        distance: what is minimised of the error, half its square or Huber's loss.
        target_every: steps after which a target network is copied anew; none by default.
        target_rate: share by which a target network moves at each step, instead.
        output: the endpoint of the actions' values.
        inputs: the batch's array that the network is given, or several; those of the next state
            begin with ``next_``.

    Returns:
        The objective, with the metrics ``td_error`` and ``value``.

    Raises:
        ValueError: if ``discount`` is outside [0, 1]; when traced, for shapes that do not belong
            together, or actions that there are not.

    References:
        Rummery and Niranjan (1994), On-line Q-learning using connectionist systems.
    """
    return _on_policy(
        lambda later, batch, step: of_action(later, pick(batch, "next_action")),
        discount, distance, Target(target_every, target_rate), output, inputs,
    )  # fmt: skip


def expected_sarsa(
    policy: Policy,
    *,
    discount: float,
    distance: Distance = "squared",
    target_every: int | None = None,
    target_rate: float | None = None,
    output: str = "logits",
    inputs: Inputs = "observation",
) -> Objective:
    """Learn what each action is worth, if a policy goes on from there: expected SARSA.

    As :func:`sarsa`, with the mean over the policy's next actions in place of the one it took. The
    transitions may be those of any policy.

    Args:
        policy: ``(values, step) -> probabilities``, such as :func:`epsilon_greedy` makes it. It is
            given the values of the next state, and counts the objective's own steps.
        discount: of a step.
        distance: what is minimised of the error, half its square or Huber's loss.
        target_every: steps after which a target network is copied anew; none by default.
        target_rate: share by which a target network moves at each step, instead.
        output: the endpoint of the actions' values.
        inputs: the batch's array that the network is given, or several; those of the next state
            begin with ``next_``.

    Returns:
        The objective, with the metrics ``td_error`` and ``value``.

    Raises:
        ValueError: as :func:`sarsa`.

    References:
        van Seijen et al. (2009), A theoretical and empirical analysis of expected Sarsa, ADPRL.
    """
    return _on_policy(
        lambda later, batch, step: (policy(later, step) * later).sum(-1),
        discount, distance, Target(target_every, target_rate), output, inputs,
    )  # fmt: skip


def _on_policy(
    follows: Callable[..., Array],
    discount: float,
    distance: Distance,
    target: Target,
    output: str,
    inputs: Inputs,
) -> Objective:
    check_unit(discount, "discount")
    check_distance(distance)

    def init(key, network, params, state, batch):
        return {}, {**target.init(params, state), **counter()}

    def loss(network, params, state, batch, key):
        now = Variables(params["net"], state["net"])
        values, net = outputs_at(network, now, batch, inputs, output, key=key, train=True)
        held = target.variables(params, state)
        later, _ = outputs_at(network, held, batch, next_of(inputs), output)
        value = of_action(values, pick(batch, "action"))
        goal = bootstrapped(batch, discount, follows(later, batch, state["obj"]["step"]))
        error = goal - value
        metrics = measured(error, value, batch)
        return reduced(distance_of(error, distance), batch), ({**state, "net": net}, metrics)

    def post_step(params, state):
        return target.post_step(params, state) if target.kept else advance(state)

    return Objective(init, loss, post_step, target.predictors)
