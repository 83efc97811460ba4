"""Losses for classes of which some are rare."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Array
from jaxmed.losses._cross_entropy import cross_entropy
from jaxmed.losses._inputs import at_least_float32, per_class


def logit_adjusted(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    prior: jax.typing.ArrayLike,
    tau: float = 1.0,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""Cross-entropy of logits to which each class's frequency is added, in training alone.

    .. math::

        -\log \mathrm{softmax}(x + \tau \log \pi)_y

    What is left for the logits is what speaks for a class apart from its frequency: their largest
    has the least *balanced* error for :math:`\tau = 1`.

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape.
        prior: `(classes,)` the classes' shares among the training labels, above 0.
        tau: how much of the frequency is taken out; 0 is the cross-entropy.
        where: True where the label is known, or a weight; aligned at the batch axis.

    Returns:
        `(batch,)` in float32, nats; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match, or a share is not positive.

    Examples:
        >>> prior = jnp.array([0.75, 0.25])
        >>> logit_adjusted(jnp.zeros((1, 2)), jnp.array([1]), prior=prior).round(4)
        Array([1.3863], dtype=float32)

    References:
        Menon et al., Long-tail learning via logit adjustment, ICLR 2021.
    """
    x = at_least_float32(outputs)
    shares = _positive(prior, x, "logit_adjusted", "prior")
    return cross_entropy(x + tau * jnp.log(shares), targets, where=where)


def ldam(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    counts: jax.typing.ArrayLike,
    margin: float = 0.5,
    scale: float = 1.0,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""Cross-entropy with a margin that is the wider the rarer the class.

    .. math::

        -\log \mathrm{softmax}\big(s\,(x - \Delta_y e_y)\big)_y, \qquad
        \Delta_k = m \left(\frac{\min_j n_j}{n_k}\right)^{1/4}

    Args:
        outputs: logits `(batch, *spatial, classes)`; the paper's are cosines, with a scale of 30.
        targets: integer labels `(batch, *spatial)`.
        counts: `(classes,)` how many training labels each class has, above 0.
        margin: m, of the rarest class.
        scale: s.
        where: True where the label is known, or a weight; aligned at the batch axis.

    Returns:
        `(batch,)` in float32, nats; 0 for an example without any known label.

    Raises:
        ValueError: if the shapes do not match, labels are no integers, or a count is not positive.

    Examples:
        >>> ldam(jnp.zeros((1, 2)), jnp.array([1]), counts=jnp.array([16, 1])).round(4)
        Array([0.9741], dtype=float32)

    References:
        Cao et al., Learning imbalanced datasets with label-distribution-aware margin loss,
        NeurIPS 2019.
    """
    x, y = at_least_float32(outputs), jnp.asarray(targets)
    number = _positive(counts, x, "ldam", "counts")
    if y.shape != x.shape[:-1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(
            f"ldam: targets must be integer labels of the shape {x.shape[:-1]}, got {y.dtype} "
            f"{y.shape}"
        )
    width = margin * (number.min() / number) ** 0.25
    shifted = x - width * (y[..., None] == jnp.arange(x.shape[-1]))
    return cross_entropy(scale * shifted, y, where=where)


def class_balanced_weights(counts: ArrayLike, *, beta: float = 0.999) -> NDArray[np.float64]:
    r"""Class weights by how much each class's labels say: the inverse of their effective number.

    .. math:: w_k \propto \frac{1 - \beta}{1 - \beta^{n_k}}, \qquad \sum_k w_k = K

    Further examples of a frequent class repeat what earlier ones said: :math:`n` of them count as
    :math:`(1 - \beta^n) / (1 - \beta)`.

    Args:
        counts: `(classes,)` how many training labels each class has, above 0.
        beta: 0 gives equal weights, 1 the inverse of the counts; `1 - 1 / n` makes `n` examples
            the most that a class can count.

    Returns:
        `(classes,)`, with a mean of 1: the `class_weights` of :func:`cross_entropy` and others.

    Raises:
        ValueError: if a count is not positive, or `beta` is outside [0, 1].

    Examples:
        >>> class_balanced_weights([90, 10], beta=1.0).round(3).tolist()
        [0.2, 1.8]

    References:
        Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019.
    """
    n = np.asarray(counts, np.float64)
    if n.ndim != 1 or not n.size or not (n > 0).all():
        raise ValueError(f"counts are (classes,), each above 0, got {n.tolist()}")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta={beta}; it must be in [0, 1]")
    if beta in (0, 1):
        number = np.ones_like(n) if beta == 0 else n
    else:
        number = np.expm1(n * np.log(beta)) / (beta - 1)
    return n.size / number / (1 / number).sum()


def _positive(values: jax.typing.ArrayLike, x: Array, loss: str, name: str) -> Array:
    found = per_class(values, x.shape[-1] if x.ndim else 0, name=name)
    assert found is not None
    if not isinstance(values, Tracer) and not (np.asarray(values) > 0).all():
        raise ValueError(f"{loss}: {name} must be above 0 for every class, got {values}")
    return found
