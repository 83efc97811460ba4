"""How far apart two predictions of one image are, and the ramp by which that comes to count."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Array

Activation = Literal["softmax", "sigmoid"] | None
"""What makes predictions of an endpoint: classes, yes/no questions, or numbers as they are."""


def check_activation(activation: Activation) -> None:
    """Refuse an unknown activation."""
    if activation not in ("softmax", "sigmoid", None):
        raise ValueError(f'activation must be "softmax", "sigmoid" or None, got {activation!r}')


def predictions(outputs: Array, activation: Activation) -> Array:
    """Predictions in float32, their classes, questions or numbers on the last axis."""
    outputs = outputs.astype(jnp.float32)
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    if activation == "softmax":
        return jax.nn.softmax(outputs, axis=-1)
    return jax.nn.sigmoid(outputs) if activation == "sigmoid" else outputs


def per_example(values: Array) -> Array:
    """The mean over all axes but the first."""
    return values.reshape(values.shape[0], -1).mean(1)


def squared_distance(first: Array, second: Array) -> Array:
    """The squared distance of two predictions, the mean over an example's voxels: ``(batch,)``."""
    return per_example(jnp.square(first - second).sum(-1))


def entropy(logits: Array) -> Array:
    """The entropy in nats of the classes on the last axis, which it takes away.

    Raises:
        ValueError: for one class, of which nobody can be undecided.
    """
    if logits.shape[-1] < 2:
        raise ValueError(
            f"entropy is of logits over two classes or more on the last axis, got {logits.shape}: "
            "give a network of one statement a second class"
        )
    log_p = jax.nn.log_softmax(logits, axis=-1)
    # A class that is impossible (a logit of -inf) has no part in it.
    return -(jnp.exp(log_p) * jnp.where(log_p > -jnp.inf, log_p, 0)).sum(-1)


def ramp(step: Array, length: int) -> Array:
    """``exp(-5 (1 - t)^2)``, ``t`` going from 0 to 1 in ``length`` steps; 1 for a length of 0."""
    if length == 0:
        return jnp.ones(())
    return jnp.exp(-5 * jnp.square(1 - jnp.minimum(step / length, 1.0)))


def check_ramp(ramp_steps: int) -> None:
    """Refuse a negative length."""
    if ramp_steps < 0:
        raise ValueError(f"ramp_steps must not be negative, got {ramp_steps}")
