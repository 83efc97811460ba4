"""Losses for labels of which some are wrong."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import Array
from jaxmed.losses._classes import split_classes
from jaxmed.losses._inputs import at_least_float32, blank_missing, known, mean_known, share_times


def generalised_cross_entropy(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    q: float = 0.7,
) -> Array:
    r"""Between cross-entropy and absolute error: what is hard to fit pulls less.

    .. math::

        \sum_k t_k\, \frac{1 - p_k^q}{q}

    with :math:`p` the softmax. It tends to the cross-entropy as :math:`q \to 0` and is half the
    absolute error for :math:`q = 1`, which wrong labels of any class move alike.

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape.
        where: True where the label is known, or a weight; aligned at the batch axis.
        q: in (0, 1].

    Returns:
        `(batch,)` in float32, at most `1 / q`; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match, or `q` is outside (0, 1].

    Examples:
        >>> x = jnp.log(jnp.array([[0.5, 0.5]]))
        >>> generalised_cross_entropy(x, jnp.array([1]), q=1.0).round(4)
        Array([0.5], dtype=float32)

    References:
        Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with
        noisy labels, NeurIPS 2018.
    """
    if isinstance(q, int | float) and not 0 < q <= 1:
        raise ValueError(f"q={q}; it must be in (0, 1]")
    classes = split_classes(outputs, targets, where, name="generalised_cross_entropy")

    def term(log_p: Array, truth: Array, weight: Array) -> Array:
        # A class that is impossible has a probability of 0, and no slope.
        power = jnp.exp(q * jnp.maximum(log_p, -1e4))
        return truth * (1 - power) / q

    return mean_known(classes.class_sum(term, jnp.ones(classes.number)), classes.weights)


def symmetric_cross_entropy(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    alpha: float = 0.1,
    beta: float = 1.0,
    floor: float = -4.0,
) -> Array:
    r"""Cross-entropy both ways: of the labels given the prediction, and of it given the labels.

    .. math::

        -\sum_k \left[\alpha\, t_k \log p_k + \beta\, p_k \log t_k\right]

    with :math:`p` the softmax, and logarithms of labels no lower than `floor`. The second part is
    bounded, so that a wrong label pulls no more than another.

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape.
        where: True where the label is known, or a weight; aligned at the batch axis.
        alpha: weight of the cross-entropy, at least 0.
        beta: weight of the reverse, at least 0.
        floor: what stands for the logarithm of 0, below 0.

    Returns:
        `(batch,)` in float32, nats; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match, a weight is negative or the floor is not.

    Examples:
        >>> x = jnp.log(jnp.array([[0.5, 0.5]]))
        >>> symmetric_cross_entropy(x, jnp.array([1]), alpha=0.0).round(4)  # 4 x 0.5
        Array([2.], dtype=float32)

    References:
        Wang et al., Symmetric cross entropy for robust learning with noisy labels, ICCV 2019.
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("-floor", -floor)):
        if isinstance(value, int | float) and value < 0:
            raise ValueError(f"{name}={value}; it must be at least 0")
    classes = split_classes(outputs, targets, where, name="symmetric_cross_entropy")
    least = math.exp(floor)

    def term(log_p: Array, truth: Array, weight: Array) -> Array:
        reverse = jnp.exp(log_p) * jnp.log(jnp.maximum(truth, least))
        return -(alpha * share_times(truth, log_p) + beta * reverse)

    return mean_known(classes.class_sum(term, jnp.ones(classes.number)), classes.weights)


def forward_corrected(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    transition: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""Cross-entropy of the labels as they are written down, of predictions of the true ones.

    .. math::

        -\sum_j t_j \log \sum_i T_{ij}\, p_i

    with :math:`T_{ij}` the probability that class i is written down as j. Its minimum is that of
    the cross-entropy of the true labels.

    Args:
        outputs: logits `(batch, *spatial, classes)` of the true classes.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape: what was
            written down.
        transition: `(classes, classes)`, rows of the true class, each with a sum of 1, such as
            :func:`jaxmed.protocols.transition_matrix` estimates it.
        where: True where the label is known, or a weight; aligned at the batch axis.

    Returns:
        `(batch,)` in float32, nats; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match, or the rows are no distributions.

    Examples:
        >>> x = jnp.log(jnp.array([[0.5, 0.5]]))
        >>> half = jnp.array([[0.5, 0.5], [0.0, 1.0]])  # every second of class 0 is written as 1
        >>> forward_corrected(x, jnp.array([1]), transition=half).round(4)  # -log .75
        Array([0.2877], dtype=float32)

    References:
        Patrini et al., Making deep neural networks robust to label noise: a loss correction
        approach, CVPR 2017.
    """
    x = jnp.asarray(outputs)
    count = x.shape[-1] if x.ndim else 0
    if jnp.shape(transition) != (count, count):
        raise ValueError(
            f"forward_corrected: the transition has the shape {jnp.shape(transition)}; for "
            f"{count} classes it must be ({count}, {count})"
        )
    if not isinstance(transition, Tracer):
        rows = np.asarray(transition, np.float64)
        if not ((rows >= 0).all() and np.allclose(rows.sum(1), 1, atol=1e-3)):
            raise ValueError("forward_corrected: rows of the transition must be distributions")
    weights = known(where, x.shape[:-1])
    x = blank_missing(at_least_float32(x), None if weights is None else weights[..., None])
    log_p = jax.nn.log_softmax(x)
    log_t = jnp.log(jnp.maximum(jnp.asarray(transition, jnp.float32), 1e-12))
    written = jax.nn.logsumexp(log_p[..., :, None] + log_t, axis=-2)
    classes = split_classes(
        written, targets, where, name="forward_corrected"
    )  # a softmax of log probabilities is they themselves

    def term(log_p: Array, truth: Array, weight: Array) -> Array:
        return -share_times(truth, log_p)

    return mean_known(classes.class_sum(term, jnp.ones(classes.number)), classes.weights)
