"""Q-learning: what actions are worth, if the best follow."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Batch,
    Inputs,
    Objective,
    Variables,
    network_inputs,
    pick,
    stream,
)
from jaxmed.reinforcement.objectives._target import Target
from jaxmed.reinforcement.objectives._transitions import (
    Distance,
    check_distance,
    check_unit,
    discounted,
    distance_of,
    measured,
    next_of,
    of_action,
    outputs_at,
    reduced,
)


def q_learning(
    *,
    discount: float,
    double: bool = True,
    target_every: int | None = None,
    target_rate: float | None = None,
    distance: Distance = "squared",
    keep_errors: bool = False,
    output: str = "logits",
    inputs: Inputs = "observation",
) -> Objective:
    """Learn what each action is worth, if the best ones follow it: Q-learning.

    The value of an action is drawn to its reward and the discounted value of the best action in the
    next state. The batch holds transitions of any policy: ``observation``, ``action``, ``reward``,
    ``terminated``, ``next_observation``. With ``steps``, how many steps lie between the two states,
    the ``reward`` is ``(batch, most steps)``: n-step learning. ``importance`` multiplies each
    example's loss, as prioritised replay asks for. The network's output is ``(batch, actions)``;
    of several agents on one trunk ``(batch, agents, actions)``, with actions ``(batch, agents)``.

    Args:
        discount: of a step.
        double: whether the network chooses the best next action and the target network says what it
            is worth, so that an action is not preferred for its error. Without a target network
            both are the same.
        target_every: steps after which the target network is copied anew; none by default.
        target_rate: share by which the target network moves at each step, instead.
        distance: what is minimised of the error, half its square or Huber's loss.
        keep_errors: whether the objective's state holds each example's absolute error as
            ``td_error``, ``(batch,)``, for prioritised replay; batches are then of one size.
        output: the endpoint of the actions' values.
        inputs: the batch's array that the network is given, or several; those of the next state
            begin with ``next_``.

    Returns:
        The objective, with the metrics ``td_error`` (the mean of its absolute value) and ``value``
        (of the actions taken). A target network is one of its predictors, ``target``.

    Raises:
        ValueError: if ``discount`` is outside [0, 1], or the target network moves in two ways;
            when traced, for shapes that do not belong together, or actions that there are not.

    References:
        Watkins and Dayan (1992), Q-learning, Machine Learning 8.
        Mnih et al. (2015), Human-level control through deep reinforcement learning, Nature 518.
        van Hasselt et al. (2016), Deep reinforcement learning with double Q-learning, AAAI.

    >>> import optax, jaxmed as jm
    >>> from jaxmed.reinforcement import table
    >>> batch = {
    ...     "observation": jnp.array([0]), "action": jnp.array([1]), "reward": jnp.array([1.0]),
    ...     "terminated": jnp.array([False]), "next_observation": jnp.array([0]),
    ... }
    >>> agent = jm.learner(
    ...     table(1, 2), q_learning(discount=0.5), optax.sgd(1.0), inputs="observation"
    ... )
    >>> state = agent.init(jax.random.key(0), batch)
    >>> for _ in range(3):
    ...     state, _ = agent.step(state, batch)
    >>> agent.predict(state, jnp.array([0]))["logits"].tolist()
    [[0.0, 1.75]]
    """
    check_unit(discount, "discount")
    check_distance(distance)
    target = Target(target_every, target_rate)

    def init(key, network, params, state, batch):
        own = target.init(params, state)
        if keep_errors:
            own["td_error"] = jnp.zeros(pick(batch, "action").shape[:1])
        return {}, own

    def loss(network, params, state, batch, key):
        now = Variables(params["net"], state["net"])
        values, net = outputs_at(network, now, batch, inputs, output, key=key, train=True)
        held = target.variables(params, state)
        later, _ = outputs_at(network, held, batch, next_of(inputs), output)
        chosen = later
        if double and target.kept:
            fixed = jax.lax.stop_gradient(now)
            chosen, _ = outputs_at(network, fixed, batch, next_of(inputs), output)
        goal = bootstrapped(batch, discount, _best(later, chosen))
        value = of_action(values, pick(batch, "action"))
        error = goal - value
        state = {**state, "net": net}
        if keep_errors:
            each = jax.lax.stop_gradient(jnp.abs(error)).reshape(len(error), -1).mean(1)
            state = {**state, "obj": {**state["obj"], "td_error": each}}
        return reduced(distance_of(error, distance), batch), (state, measured(error, value, batch))

    return Objective(init, loss, target.post_step, target.predictors)


def double_q_learning(
    *,
    discount: float,
    distance: Distance = "squared",
    output: str = "logits",
    inputs: Inputs = "observation",
) -> Objective:
    """Learn what actions are worth by two networks, each valuing what the other prefers.

    A coin decides for each transition which of the two learns from it: its own best action in the
    next state is worth what the other says, which has learned from other transitions. So noise is
    not taken for value, which Q-learning does from the first step on.

    Args:
        discount: of a step.
        distance: what is minimised of the error, half its square or Huber's loss.
        output: the endpoint of the actions' values.
        inputs: the batch's array that the network is given, or several; those of the next state
            begin with ``next_``.

    Returns:
        The objective, of batches as :func:`q_learning` takes them. The other network is one of its
        predictors, ``twin``.

    Raises:
        ValueError: as :func:`q_learning`.

    References:
        van Hasselt (2010), Double Q-learning, NeurIPS.
    """
    check_unit(discount, "discount")
    check_distance(distance)

    def init(key, network, params, state, batch):
        made, held = network.init(stream(key, "twin"), network_inputs(batch, inputs))
        return {"twin": made}, {"twin": held}

    def loss(network, params, state, batch, key):
        one = Variables(params["net"], state["net"])
        two = Variables(params["obj"]["twin"], state["obj"]["twin"])
        found, states, later = [], [], []
        for variables in (one, two):
            values, after = outputs_at(
                network, variables, batch, inputs, output, key=key, train=True
            )
            found.append(of_action(values, pick(batch, "action")))
            states.append(after)
            fixed = jax.lax.stop_gradient(variables)
            later.append(outputs_at(network, fixed, batch, next_of(inputs), output)[0])
        first = bootstrapped(batch, discount, _best(later[1], later[0])) - found[0]
        second = bootstrapped(batch, discount, _best(later[0], later[1])) - found[1]
        coin = jax.random.bernoulli(stream(key, "double_q_learning"), shape=(len(first),))
        coin = coin.reshape(coin.shape + (1,) * (first.ndim - 1))
        error = jnp.where(coin, first, second)
        own = {**state["obj"], "twin": states[1]}
        metrics = measured(error, found[0], batch)
        return reduced(distance_of(error, distance), batch), (
            {"net": states[0], "obj": own},
            metrics,
        )

    def predictors(params, state):
        return {"twin": Variables(params["obj"]["twin"], state["obj"]["twin"])}

    return Objective(init, loss, predictors=predictors)


def bootstrapped(batch: Batch, discount: float, later: Array) -> Array:
    """The reward and what is expected from the next state on: what values are drawn to."""
    reward, factor = discounted(batch, discount, later)
    return jax.lax.stop_gradient(reward + factor * later)


def _best(values: Array, by: Array) -> Array:
    """The value of the action that is best by other values, or by the same."""
    if by is values:
        return values.max(-1)
    return jnp.take_along_axis(values, by.argmax(-1)[..., None], axis=-1)[..., 0]
