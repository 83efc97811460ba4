"""Networks of values: a table, and values of actions as those of states and what is above them."""

from __future__ import annotations

import jax.numpy as jnp

from jaxmed.core import Network, from_functions, pick
from jaxmed.core._made import made_by


def table(states: int, actions: int = 1, *, initial: float = 0.0) -> Network:
    """A table of values as a network, so that tabular methods are objectives like any other.

    With ``optax.sgd(alpha)`` one transition moves one entry by ``alpha`` times its error.

    Args:
        states: rows.
        actions: columns; 1 for values of states.
        initial: of every entry. A high one makes an agent try what it does not know.

    Returns:
        The network. Its inputs are the states' numbers, ``(batch,)``, its ``logits`` their rows,
        ``(batch, actions)``; those of a number that there is not are NaN.

    Raises:
        ValueError: if there is no state or no action; when traced, if the inputs are no whole
            numbers.

    >>> network = table(3, 2, initial=1.0)
    >>> params, state = network.init(None, jnp.array([0]))
    >>> network.apply(params, state, jnp.array([2, 3]))[0]["logits"].tolist()
    [[1.0, 1.0], [nan, nan]]
    """
    if states < 1 or actions < 1:
        raise ValueError(f"a table has at least 1 state and 1 action, got {states} and {actions}")

    def init(key, inputs):
        del key, inputs
        return {"table": jnp.full((states, actions), initial, jnp.float32)}

    def apply(params, inputs):
        if not jnp.issubdtype(inputs.dtype, jnp.integer) or inputs.ndim != 1:
            raise ValueError(
                "a table takes the numbers of states, (batch,), whole numbers; got "
                f"{inputs.dtype} of the shape {inputs.shape}"
            )
        # A negative index would count from the end.
        rows = jnp.where(inputs < 0, states, inputs.astype(jnp.int32))
        return params["table"].at[rows].get(mode="fill", fill_value=jnp.nan)

    return made_by(
        from_functions(init, apply), "table", states=states, actions=actions, initial=initial
    )


def dueling(network: Network, *, value: str = "value", advantage: str = "advantage") -> Network:
    r"""The network whose ``logits`` are the value of the state and what an action adds to it.

    .. math:: Q(s, a) = V(s) + A(s, a) - \operatorname{mean}_{a'} A(s, a')

    Args:
        network: any network with both endpoints, such as
            ``with_heads(trunk, {"value": nn.Dense(1), "advantage": nn.Dense(actions)})``.
        value: the endpoint of the state's value, ``(batch, 1)``.
        advantage: that of the actions' advantages, ``(batch, actions)``.

    Returns:
        The network; its other endpoints are as they were.

    Raises:
        KeyError: when traced, if the network has no such endpoint.
        ValueError: when traced, if their shapes are others.

    References:
        Wang et al. (2016), Dueling network architectures for deep reinforcement learning, ICML.
    """

    def apply(params, state, inputs, *, key=None, train=False):
        endpoints, state = network.apply(params, state, inputs, key=key, train=train)
        v = pick(endpoints, value, "network")
        a = pick(endpoints, advantage, "network")
        if v.shape != (*a.shape[:-1], 1):
            raise ValueError(
                f"{value!r} is to be (batch, 1) beside {advantage!r}, (batch, actions); got "
                f"{v.shape} and {a.shape}"
            )
        return {**endpoints, "logits": v + a - a.mean(-1, keepdims=True)}, state

    return made_by(
        Network(network.init, apply), "dueling", network=network, value=value, advantage=advantage
    )
