"""Actor-critic: a policy that follows its advantages, beside the values they are measured from."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Inputs, Objective, pick, stateless
from jaxmed.core import network_inputs as given_to
from jaxmed.reinforcement.objectives._td import one_value
from jaxmed.reinforcement.objectives._transitions import of_action, plain, reduced


def actor_critic(
    *,
    value_weight: float = 0.5,
    entropy_weight: float = 0.01,
    normalise: bool = False,
    output: str = "logits",
    value: str = "value",
    inputs: Inputs = "observation",
) -> Objective:
    r"""Learn a policy and the values of states: advantage actor-critic.

    What is minimised of an example is :math:`-A \log \pi(a)`, ``value_weight`` times half the
    squared distance of the value to the return, and ``-entropy_weight`` times the policy's entropy.
    The batch holds transitions of the policy itself: ``observation``, ``action``, ``advantage`` and
    ``return`` (:func:`advantages`; :func:`on_policy` computes them).

    Args:
        value_weight: of the values' loss.
        entropy_weight: of the entropy, which keeps the policy from settling too early.
        normalise: whether the advantages of a batch are brought to a mean of 0 and a standard
            deviation of 1.
        output: the endpoint of the actions' logits.
        value: the endpoint of the state's value, ``(batch,)`` or ``(batch, 1)``.
        inputs: the batch's array that the network is given, or several.

    Returns:
        The objective, with the metrics ``policy_loss``, ``value_loss`` and ``entropy``.

    Raises:
        ValueError: if a weight is negative; when traced, for shapes that do not belong together, or
            actions that there are not.

    References:
        Mnih et al. (2016), Asynchronous methods for deep reinforcement learning, ICML.
    """
    _check_weights(value_weight, entropy_weight)

    def policy_loss(log_probability, advantage, batch):
        return -advantage * log_probability, {}

    return _with_critic(policy_loss, value_weight, entropy_weight, normalise, output, value, inputs)


def ppo(
    *,
    clip: float = 0.2,
    value_weight: float = 0.5,
    entropy_weight: float = 0.01,
    normalise: bool = True,
    output: str = "logits",
    value: str = "value",
    inputs: Inputs = "observation",
) -> Objective:
    r"""Learn a policy and the values of states by steps that stay near: PPO.

    As :func:`actor_critic`, with :math:`-\min(q A, \mathrm{clip}(q, 1 - \epsilon, 1 + \epsilon) A)`
    for the policy's loss, where :math:`q` is the ratio of an action's probability to the one it
    was taken with. So the same transitions may be learned from several times. The batch needs
    ``log_probability``, of the action as it was taken, besides.

    Args:
        clip: :math:`\epsilon`.
        value_weight: of the values' loss.
        entropy_weight: of the entropy.
        normalise: whether the advantages of a batch are brought to a mean of 0 and a standard
            deviation of 1.
        output: the endpoint of the actions' logits.
        value: the endpoint of the state's value, ``(batch,)`` or ``(batch, 1)``.
        inputs: the batch's array that the network is given, or several.

    Returns:
        The objective, with the metrics ``policy_loss``, ``value_loss``, ``entropy`` and ``clipped``
        (the share of ratios beyond the bounds).

    Raises:
        ValueError: if ``clip`` is not positive, or as :func:`actor_critic`.

    References:
        Schulman et al. (2017), Proximal policy optimization algorithms, arXiv:1707.06347.
    """
    _check_weights(value_weight, entropy_weight)
    if clip <= 0:
        raise ValueError(f"clip must be positive, got {clip}")

    def policy_loss(log_probability, advantage, batch):
        ratio = jnp.exp(log_probability - pick(batch, "log_probability"))
        bounded = jnp.clip(ratio, 1 - clip, 1 + clip)
        outside = (ratio != bounded).astype(jnp.float32)
        return -jnp.minimum(ratio * advantage, bounded * advantage), {"clipped": outside}

    return _with_critic(policy_loss, value_weight, entropy_weight, normalise, output, value, inputs)


def _with_critic(
    policy_loss, value_weight, entropy_weight, normalise, output, value, inputs
) -> Objective:
    def loss(network, params, state, batch, key):
        endpoints, net = network.apply(
            params["net"], state["net"], given_to(batch, inputs), key=key, train=True
        )
        logs = jax.nn.log_softmax(pick(endpoints, output, "network"))
        valued = one_value(pick(endpoints, value, "network"), value)
        taken = of_action(logs, pick(batch, "action"))
        advantage = pick(batch, "advantage")
        for name, found in (("advantage", advantage), ("return", pick(batch, "return"))):
            if found.shape != valued.shape:
                raise ValueError(f"{name} is {valued.shape}, (batch,), got {found.shape}")
        if normalise:
            advantage = _normalised(advantage, batch)
        acted, more = policy_loss(taken, advantage, batch)
        missed = jnp.square(valued - batch["return"]) / 2
        entropy = -(jnp.exp(logs) * logs).sum(-1)
        total = acted + value_weight * missed - entropy_weight * entropy
        parts = {"policy_loss": acted, "value_loss": missed, "entropy": entropy, **more}
        counted = plain(batch)
        metrics = {name: reduced(part, counted) for name, part in parts.items()}
        return reduced(total, batch), ({**state, "net": net}, metrics)

    return stateless(loss)


def _normalised(values: Array, batch: Batch) -> Array:
    if len(values) < 2:
        raise ValueError(
            "one advantage, brought to a mean of 0, is 0, and no policy is learned: give batches "
            "of more transitions, or normalise=False"
        )
    counted = plain(batch)
    mean = reduced(values, counted)
    spread = jnp.sqrt(reduced(jnp.square(values - mean), counted))
    return (values - mean) / (spread + 1e-8)


def _check_weights(value_weight: float, entropy_weight: float) -> None:
    for name, weight in (("value_weight", value_weight), ("entropy_weight", entropy_weight)):
        if weight < 0:
            raise ValueError(f"{name} must not be negative, got {weight}")
