"""Ordinal classes (grades, stages) by cumulative binary tasks "is it above k?"."""

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
)


def ordinal(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    importance: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""CORAL loss for K ordered classes: K - 1 binary cross-entropies, "is the grade above k?".

    .. math::

        \sum_{k=0}^{K-2} \lambda_k \left[ [y > k] \log(1 + e^{-x_k})
        + [y \le k] \log(1 + e^{x_k}) \right]

    A head with one shared slope and K - 1 biases (CORAL) gives rank-consistent probabilities; for
    other heads `ordinal_probabilities` enforces consistency.

    Args:
        outputs: logits of "above k" `(batch, *spatial, K - 1)`.
        targets: integer grades 0..K-1 `(batch, *spatial)`. A grade outside that `where` does not
            mask gives NaN.
        where: True where the grade is known, or a weight; `(batch,)` or one per grade.
        importance: `(K - 1,)` weights of the binary tasks, or None for ones.

    Returns:
        `(batch,)` in float32, nats, averaged over known voxels; 0 without any known grade.

    Raises:
        ValueError: if the shapes do not match or the grades are not integers.

    Examples:
        >>> ordinal(jnp.zeros((1, 4)), jnp.array([2])).round(4)  # 4 log 2
        Array([2.7726], dtype=float32)

    References:
        Cao, Mirjalili, Raschka, Rank consistent ordinal regression, Pattern Rec. Lett. 2020.
    """
    in_order(outputs, targets, name="ordinal")
    x, y = at_least_float32(outputs), jnp.asarray(targets)
    if x.ndim < 2 or y.shape != x.shape[:-1]:
        raise ValueError(
            f"ordinal: outputs {x.shape} must be (batch, *spatial, grades - 1) and targets "
            f"{y.shape} the same without the last axis"
        )
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(f"ordinal: targets must be integer grades, got dtype {y.dtype}")
    steps = x.shape[-1]
    factor = jnp.ones(steps) if importance is None else at_least_float32(importance)
    if factor.shape != (steps,):
        raise ValueError(
            f"importance has shape {factor.shape}; it must be ({steps},), one per step"
        )
    weights = known(where, y.shape)
    x = blank_missing(x, None if weights is None else weights[..., None])
    above = y[..., None] > jnp.arange(steps)
    value = (factor * jax.nn.softplus(jnp.where(above, -x, x))).sum(-1)
    value = jnp.where((y >= 0) & (y <= steps), value, jnp.nan)
    return mean_known(value, weights)


def ordinal_probabilities(outputs: jax.typing.ArrayLike) -> Array:
    r"""Compute class probabilities from the K - 1 logits of `ordinal`.

    With :math:`c_k = \sigma(\min_{j \le k} x_j)` for :math:`P(y > k)`:
    :math:`P(y = k) = c_{k-1} - c_k`, with :math:`c_{-1} = 1` and :math:`c_{K-1} = 0`. The running
    minimum makes inconsistent probabilities consistent and leaves consistent ones unchanged.

    Args:
        outputs: logits `(..., K - 1)`.

    Returns:
        `(..., K)` in float32, at least 0, summing to 1.

    Raises:
        ValueError: if there is no last axis.

    Examples:
        >>> ordinal_probabilities(jnp.array([0.0, -40.0])).round(3)
        Array([0.5, 0.5, 0. ], dtype=float32)
    """
    x = at_least_float32(outputs)
    if x.ndim == 0:
        raise ValueError("ordinal_probabilities: outputs must have a last axis of K - 1 logits")
    above = jax.nn.sigmoid(jax.lax.cummin(x, axis=x.ndim - 1))
    ends = (*above.shape[:-1], 1)
    above = jnp.concatenate([jnp.ones(ends), above, jnp.zeros(ends)], axis=-1)
    return above[..., :-1] - above[..., 1:]
