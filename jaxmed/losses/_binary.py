"""Binary cross-entropy, for one binary label or several (multi-label)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._inputs import (
    at_least_float32,
    blank_missing,
    in_order,
    known,
    mean_known,
    same_shape,
    share_times,
)


def binary_cross_entropy(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    pos_weight: jax.typing.ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> Array:
    r"""Sigmoid cross-entropy, binary or multi-label, averaged over an example's known labels.

    For logit :math:`x`, target :math:`t` and positive weight :math:`w`:
    :math:`w\, t\, \log(1 + e^{-x}) + (1 - t) \log(1 + e^{x})`. Smoothing moves :math:`t` to
    :math:`(1 - s)\, t + s / 2`.

    Args:
        outputs: logits `(batch,)`, `(batch, tasks)` or `(batch, *spatial, tasks)`.
        targets: 0/1 or in [0, 1], of the outputs' shape; a last axis of 1 may be left out. A
            value outside [0, 1] that `where` does not mask gives NaN.
        where: True where the label is known, or a weight; `(batch,)` or one per label.
        pos_weight: scalar or `(tasks,)`: the weight of the positives.
        label_smoothing: in [0, 1).

    Returns:
        `(batch,)` in float32, nats; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match.

    Examples:
        >>> logits, labels = jnp.zeros((2, 3)), jnp.array([[0, 1, 1], [1, 0, -1]])
        >>> binary_cross_entropy(logits, labels, where=labels >= 0).round(4)
        Array([0.6931, 0.6931], dtype=float32)
    """
    x, y, weights = binary_inputs(outputs, targets, where, name="binary_cross_entropy")
    if isinstance(label_smoothing, int | float) and not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing={label_smoothing}; it must be in [0, 1)")
    y = (1 - label_smoothing) * y + label_smoothing / 2
    on = jnp.float32(1) if pos_weight is None else at_least_float32(pos_weight)
    if on.ndim and (x.ndim < 2 or on.shape != (x.shape[-1],)):
        raise ValueError(
            f"pos_weight has shape {on.shape}; it must be a scalar or one per task of the outputs "
            f"{x.shape}"
        )
    value = share_times(on * y, jax.nn.softplus(-x)) + share_times(1 - y, jax.nn.softplus(x))
    return mean_known(value, weights)


def binary_inputs(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None,
    *,
    name: str,
) -> tuple[Array, Array, Array | None]:
    """Return logits, targets (NaN outside [0, 1]) and weights of one shape, missing ones 0."""
    in_order(outputs, targets, name=name)
    x, y = same_shape(at_least_float32(outputs), jnp.asarray(targets), name=name)
    weights = known(where, x.shape)
    y = at_least_float32(y)
    y = jnp.where((y >= 0) & (y <= 1), y, jnp.nan)
    return blank_missing(x, weights), blank_missing(y, weights), weights
