"""TD(lambda): values of states, learned from the values of those that follow."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Inputs, Objective, Variables, pick
from jaxmed.reinforcement.objectives._returns import lambda_returns
from jaxmed.reinforcement.objectives._target import Target
from jaxmed.reinforcement.objectives._transitions import (
    Distance,
    check_distance,
    check_unit,
    discounted,
    distance_of,
    measured,
    next_of,
    outputs_at,
    reduced,
)


def td(
    *,
    discount: float,
    trace: float = 0.0,
    distance: Distance = "squared",
    target_every: int | None = None,
    target_rate: float | None = None,
    output: str = "logits",
    inputs: Inputs = "observation",
) -> Objective:
    """Learn what states are worth under the policy that made the transitions: TD(lambda).

    The value of a state is drawn to the reward and the discounted value of the next state, or,
    along sequences, to the :func:`lambda_returns` (the forward view). The batch holds transitions,
    ``(batch, ...)``, or sequences of them, ``(batch, time, ...)``: ``observation``, ``reward``,
    ``terminated`` and ``next_observation``; ``truncated`` for sequences where episodes are broken
    off; ``importance`` ``(batch,)``, of transitions that another policy made, is the ratio of the
    policies' probabilities of the action.

    Args:
        discount: of a step.
        trace: lambda, from 0 (one step) to 1 (all of them, Monte Carlo); other than 0 it needs
            sequences.
        distance: what is minimised of the error, half its square or Huber's loss.
        target_every: steps after which a target network is copied anew; none by default.
        target_rate: share by which a target network moves at each step, instead.
        output: the endpoint that is the value, ``(batch,)`` or ``(batch, 1)``.
        inputs: the batch's array that the network is given, or several; those of the next state
            begin with ``next_``.

    Returns:
        The objective, with the metrics ``td_error`` (the mean of its absolute value) and ``value``.

    Raises:
        ValueError: if ``discount`` or ``trace`` is outside [0, 1]; when traced, for single
            transitions with a trace, or shapes that do not belong together.

    References:
        Sutton (1988), Learning to predict by the methods of temporal differences, Machine Learning.
    """
    check_unit(discount, "discount")
    check_unit(trace, "trace")
    check_distance(distance)
    target = Target(target_every, target_rate)

    def init(key, network, params, state, batch):
        return {}, target.init(params, state)

    def loss(network, params, state, batch, key):
        now = Variables(params["net"], state["net"])
        rows = jnp.shape(pick(batch, "reward"))
        if "steps" in batch or len(rows) == 1:
            if trace > 0:
                raise ValueError(
                    f"trace={trace} needs sequences, (batch, time, ...), and the batch holds "
                    "single transitions"
                )
            value, net = _values(network, now, batch, inputs, output, key)
            later, _ = _values(
                network, target.variables(params, state), batch, next_of(inputs), output
            )
            reward, factor = discounted(batch, discount, value)
            goal = reward + factor * later
        else:
            flat = _flat(batch, rows)
            value, net = _values(network, now, flat, inputs, output, key)
            later, _ = _values(
                network, target.variables(params, state), flat, next_of(inputs), output
            )
            value = value.reshape(rows)
            goal = lambda_returns(
                batch["reward"],
                pick(batch, "terminated"),
                later.reshape(rows),
                discount=discount,
                trace=trace,
                truncated=batch.get("truncated"),
            )
        error = jax.lax.stop_gradient(goal) - value
        metrics = measured(error, value, batch)
        return reduced(distance_of(error, distance), batch), ({**state, "net": net}, metrics)

    return Objective(init, loss, target.post_step, target.predictors)


def _values(network, variables, batch, inputs, output, key=None) -> tuple[Array, object]:
    values, state = outputs_at(
        network, variables, batch, inputs, output, key=key, train=key is not None
    )
    return one_value(values, output), state


def one_value(values: Array, output: str) -> Array:
    """The values of states, ``(batch,)``, as networks give them: alone, or along a last axis of 1.

    Raises:
        ValueError: for any other shape.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"{output!r} is to be one value a state, (batch,) or (batch, 1), got {values.shape}"
        )
    return values


def _flat(batch: Batch, rows: tuple[int, ...]) -> Batch:
    """Sequences as single transitions, but for what belongs to a whole sequence."""

    def flat(leaf):
        if leaf.shape[:2] != rows:
            raise ValueError(
                f"sequences have one shape (batch, time), here {rows}; one array has {leaf.shape}"
            )
        return leaf.reshape(rows[0] * rows[1], *leaf.shape[2:])

    whole = ("weight", "importance", "index")
    return {name: jax.tree.map(flat, leaf) for name, leaf in batch.items() if name not in whole}
