"""Cross-entropy and focal loss for classification and segmentation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._binary import binary_inputs
from jaxmed.losses._classes import split_classes
from jaxmed.losses._inputs import choice, mean_known, per_class, share_times


def cross_entropy(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    class_weights: jax.typing.ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> Array:
    r"""Softmax cross-entropy, averaged over each example's known voxels.

    For logits :math:`x`, shares :math:`t` (one-hot of the label), class weights :math:`w` and
    smoothing :math:`s`:

    .. math::

        -\sum_k w_k \left[(1 - s)\, t_k + s / K\right] \log \mathrm{softmax}(x)_k

    A class whose logit is -inf is impossible: it adds nothing where its share is 0.

    The mean divides by the number of known voxels, not by the sum of their class weights: with
    one label per example the latter would cancel the weights.

    Args:
        outputs: logits `(batch, classes)` or `(batch, *spatial, classes)`.
        targets: integer labels `(batch,)` or `(batch, *spatial)`, or one-hot or soft labels of the
            outputs' shape. An integer outside the classes that `where` does not mask gives NaN.
        where: True where the label is known, or a weight; `(batch,)` or one per label.
        class_weights: `(classes,)`, or None for all ones.
        label_smoothing: in [0, 1): the share given to the uniform distribution.

    Returns:
        `(batch,)` in float32, nats; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match, the labels are not integers, or the smoothing is
            not in [0, 1).

    Examples:
        >>> cross_entropy(jnp.log(jnp.array([[0.5, 0.25, 0.25]])), jnp.array([1])).round(4)
        Array([1.3863], dtype=float32)
    """
    if isinstance(label_smoothing, int | float) and not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing={label_smoothing}; it must be in [0, 1)")
    classes = split_classes(outputs, targets, where, name="cross_entropy")
    factor = per_class(class_weights, classes.number, name="class_weights")
    factor = jnp.ones(classes.number) if factor is None else factor

    def term(log_p: Array, truth: Array, weight: Array) -> Array:
        share = (1 - label_smoothing) * truth + label_smoothing / classes.number
        return -share_times(weight * share, log_p)

    return mean_known(classes.class_sum(term, factor), classes.weights)


def focal(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    gamma: float = 2.0,
    class_weights: jax.typing.ArrayLike | None = None,
    alpha: float | None = None,
    activation: str = "softmax",
) -> Array:
    r"""Focal loss: cross-entropy that down-weights confident, correct predictions.

    .. math::

        -\sum_k w_k\, t_k\, (1 - p_k)^\gamma \log p_k

    with :math:`p` the softmax. With a sigmoid each class is a binary task whose positives have
    weight :math:`\alpha` and negatives :math:`1 - \alpha`, and the tasks are averaged. `gamma=0`
    gives the cross-entropy.

    Args:
        outputs: logits `(batch, *spatial, classes)`; a sigmoid also takes one class.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape (with a
            sigmoid: 0/1 of the outputs' shape, or the last axis left out if it is 1).
        where: True where the label is known, or a weight; aligned at the batch axis.
        gamma: focusing exponent, at least 0.
        class_weights: `(classes,)`, or None for all ones.
        alpha: in (0, 1), for a sigmoid only; None gives both classes weight 1. The paper uses 0.25.
        activation: "softmax" or "sigmoid".

    Returns:
        `(batch,)` in float32, nats; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match, or `alpha` is given with a softmax.

    Examples:
        >>> focal(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([1])).round(4)  # 0.25 log 2
        Array([0.1733], dtype=float32)

    References:
        Lin et al., Focal loss for dense object detection, ICCV 2017.
    """
    choice(activation, ("softmax", "sigmoid"), name="activation")
    if isinstance(gamma, int | float) and gamma < 0:
        raise ValueError(f"gamma={gamma}; it must be at least 0")
    if activation == "softmax":
        if alpha is not None:
            raise ValueError("alpha belongs to the sigmoid form; a softmax takes class_weights")
        classes = split_classes(outputs, targets, where, name="focal")
        factor = per_class(class_weights, classes.number, name="class_weights")
        factor = jnp.ones(classes.number) if factor is None else factor

        if jnp.ndim(targets) < jnp.ndim(outputs):  # one class: pick it, then one exponential
            log_p = classes.class_sum(lambda log_p, truth, _: share_times(truth, log_p), factor)
            weight = classes.class_sum(lambda _, truth, weight: truth * weight, factor)
            value = -weight * power(1 - jnp.exp(log_p), gamma) * log_p
        else:

            def term(log_p: Array, truth: Array, weight: Array) -> Array:
                focused = share_times(truth, power(1 - jnp.exp(log_p), gamma) * log_p)
                return -weight * focused

            value = classes.class_sum(term, factor)
        return mean_known(value, classes.weights)

    x, y, weights = binary_inputs(outputs, targets, where, name="focal")
    factor = per_class(class_weights, x.shape[-1], name="class_weights")
    on, off = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    value = share_times(on * y, power(jax.nn.sigmoid(-x), gamma) * jax.nn.softplus(-x))
    value += share_times(off * (1 - y), power(jax.nn.sigmoid(x), gamma) * jax.nn.softplus(x))
    return mean_known(value if factor is None else value * factor, weights)


def power(base: Array, exponent: float) -> Array:
    """Compute `base ** exponent` for a base of at least 0, with a finite gradient at 0."""
    if isinstance(exponent, int | float) and float(exponent).is_integer():
        return base ** int(exponent)
    return jnp.exp(exponent * jnp.log(jnp.maximum(base, 1e-12)))  # CPU vectorises exp, not pow
