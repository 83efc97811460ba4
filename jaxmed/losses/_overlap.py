"""Overlap losses: soft Dice, generalized Dice, Tversky and focal Tversky.

Conventions shared by all of them:

- The smoothing `smooth` (1e-5, as in nnU-Net) is added to numerator and denominator.
- `include_background=None` excludes channel 0 under a softmax (where it is the background) and
  keeps all channels otherwise.
- A class without a true voxel in the case (`over="batch"`: in the batch) is excluded from the mean
  over classes with `empty="skip"`; `empty="count"` keeps it, so that false positives are penalised.
  If no class is left the loss is 0, never NaN.
- `over="batch"` scores the whole batch as one case. Every example with a known label carries that
  value, so its weighted mean over such examples is the batch score for any weights. Padding rows
  must be given `where=0` to stay out of the sums: train with
  `supervised(partial(dice, over="batch"), known="weight")`. Inside `jit` the sums run over the
  global batch, sharded or not; inside `shard_map`, `pmap` or an accumulated micro-batch they run
  over the local part only.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._classes import split_classes
from jaxmed.losses._cross_entropy import power
from jaxmed.losses._inputs import choice, in_order


def dice(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    activation: str | None = "softmax",
    include_background: bool | None = None,
    over: str = "case",
    empty: str = "skip",
    smooth: float = 1e-5,
    squared: bool = False,
) -> Array:
    r"""Soft Dice loss: 1 minus the overlap of probabilities and truth, averaged over classes.

    .. math::

        1 - \frac{1}{|C|} \sum_{k \in C}
        \frac{2 \sum_v p_{vk} t_{vk} + \epsilon}{\sum_v p_{vk} + \sum_v t_{vk} + \epsilon}

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape. A label
            outside the classes that `where` does not mask gives NaN.
        where: True where the voxel is known, or a weight; `(batch,)` or one per voxel, with a
            sigmoid also one per voxel and class.
        activation: "softmax", "sigmoid" (classes may overlap) or None (probabilities given).
        include_background: keep channel 0; None: only without a softmax.
        over: "case", or "batch" for one score over all examples (see the module's conventions).
        empty: "skip" or "count" a class that has no true voxel.
        smooth: :math:`\epsilon`, in voxels.
        squared: use squares in the denominator, as in V-Net.

    Returns:
        `(batch,)` in float32, in [0, 1]; 0 for an example without any known voxel.

    Raises:
        ValueError: if the shapes do not match or an option is unknown.

    Examples:
        >>> p = jnp.array([[[0.5, 0.5], [0.5, 0.5]]])  # two voxels, the first is of class 1
        >>> dice(p, jnp.array([[1, 0]]), activation=None).round(3)  # background counts: 1 - 1/2
        Array([0.5], dtype=float32)

    References:
        Milletari et al., V-Net, 3DV 2016. Isensee et al., nnU-Net, Nature Methods 2021.
    """
    sums = _overlap(
        outputs,
        targets,
        where,
        name="dice",
        activation=activation,
        include_background=include_background,
        over=over,
        squared=squared,
    )
    hit, predicted, true, has_label = sums
    score = _ratio(2 * hit + smooth, predicted + true + smooth)
    return _class_mean(1 - score, true, empty) * has_label


def generalized_dice(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    activation: str | None = "softmax",
    include_background: bool | None = True,
    over: str = "case",
    weighting: str = "square",
    smooth: float = 1e-5,
) -> Array:
    r"""Generalized Dice loss: one overlap over all classes, weighted by their inverse sizes.

    .. math::

        1 - \frac{2 \sum_k w_k \sum_v p_{vk} t_{vk} + \epsilon}
        {\sum_k w_k \sum_v (p_{vk} + t_{vk}) + \epsilon},
        \qquad w_k = 1 / \Big(\sum_v t_{vk}\Big)^2

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape.
        where: True where the voxel is known, or a weight; aligned at the batch axis.
        activation: "softmax", "sigmoid" or None (probabilities given).
        include_background: keep channel 0; the paper keeps it.
        over: "case" or "batch".
        weighting: "square" (:math:`1/T^2`, the paper), "simple" (:math:`1/T`) or "uniform". A class
            without a true voxel has weight 0.
        smooth: :math:`\epsilon`, relative to the weights scaled to a maximum of 1 (in voxels).

    Returns:
        `(batch,)` in float32, in [0, 1]; 0 for an example without any known voxel.

    Raises:
        ValueError: if the shapes do not match or an option is unknown.

    Examples:
        >>> generalized_dice(jnp.array([[[9.0, -9.0], [-9.0, 9.0]]]), jnp.array([[0, 1]])).round(3)
        Array([0.], dtype=float32)

    References:
        Sudre et al., Generalised Dice overlap as a deep learning loss function, DLMIA 2017.
    """
    choice(weighting, ("square", "simple", "uniform"), name="weighting")
    hit, predicted, true, has_label = _overlap(
        outputs,
        targets,
        where,
        name="generalized_dice",
        activation=activation,
        include_background=include_background,
        over=over,
    )
    degree = {"square": 2, "simple": 1, "uniform": 0}[weighting]
    present = true > 0
    weight = jnp.where(present, jnp.where(present, true, 1.0) ** -degree, 0)
    top = weight.max(-1, keepdims=True)
    weight = jax.lax.stop_gradient(_ratio(weight, top, empty=0.0))
    score = _ratio(
        2 * (weight * hit).sum(-1) + smooth, (weight * (predicted + true)).sum(-1) + smooth
    )
    return (1 - score) * has_label


def tversky(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
    activation: str | None = "softmax",
    include_background: bool | None = None,
    over: str = "case",
    empty: str = "skip",
    smooth: float = 1e-5,
) -> Array:
    r"""Tversky loss: Dice with separate weights for false positives and false negatives.

    .. math::

        1 - \frac{1}{|C|} \sum_{k \in C} \frac{TP_k + \epsilon}
        {TP_k + \alpha\, FP_k + \beta\, FN_k + \epsilon}

    with soft counts. `alpha = beta = 0.5` is the Dice loss (with half its smoothing).

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape.
        where: True where the voxel is known, or a weight; aligned at the batch axis.
        alpha: weight of a false positive.
        beta: weight of a false negative.
        activation: "softmax", "sigmoid" or None (probabilities given).
        include_background: keep channel 0; None: only without a softmax.
        over: "case" or "batch".
        empty: "skip" or "count" a class that has no true voxel.
        smooth: :math:`\epsilon`, in voxels.

    Returns:
        `(batch,)` in float32, in [0, 1]; 0 for an example without any known voxel.

    Raises:
        ValueError: if the shapes do not match or an option is unknown.

    Examples:
        >>> p = jnp.array([[[0.5], [0.5]]])  # TP = FP = FN = 0.5
        >>> tversky(p, jnp.array([[[1.0], [0.0]]]), activation=None).round(3)
        Array([0.5], dtype=float32)

    References:
        Salehi, Erdogmus, Gholipour, Tversky loss function, MLMI 2017.
    """
    index, true, has_label = _tversky_index(
        outputs,
        targets,
        where,
        "tversky",
        alpha,
        beta,
        activation,
        include_background,
        over,
        smooth,
    )
    return _class_mean(1 - index, true, empty) * has_label


def focal_tversky(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    gamma: float = 4 / 3,
    alpha: float = 0.3,
    beta: float = 0.7,
    activation: str | None = "softmax",
    include_background: bool | None = None,
    over: str = "case",
    empty: str = "skip",
    smooth: float = 1e-5,
) -> Array:
    r"""Focal Tversky loss: the mean over classes of :math:`(1 - TI_k)^{1/\gamma}`.

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape.
        where: True where the voxel is known, or a weight; aligned at the batch axis.
        gamma: above 0; above 1 raises the share of classes that are nearly right.
        alpha: weight of a false positive.
        beta: weight of a false negative.
        activation: "softmax", "sigmoid" or None (probabilities given).
        include_background: keep channel 0; None: only without a softmax.
        over: "case" or "batch".
        empty: "skip" or "count" a class that has no true voxel.
        smooth: :math:`\epsilon`, in voxels.

    Returns:
        `(batch,)` in float32, in [0, 1]; 0 for an example without any known voxel.

    Raises:
        ValueError: if the shapes do not match or an option is unknown.

    Examples:
        >>> p = jnp.array([[[0.5], [0.5]]])  # TI = 0.5
        >>> focal_tversky(p, jnp.array([[[1.0], [0.0]]]), gamma=0.5, activation=None).round(3)
        Array([0.25], dtype=float32)

    References:
        Abraham, Khan, A novel focal Tversky loss function, ISBI 2019.
    """
    if isinstance(gamma, int | float) and gamma <= 0:
        raise ValueError(f"gamma={gamma}; it must be above 0")
    index, true, has_label = _tversky_index(
        outputs,
        targets,
        where,
        "focal_tversky",
        alpha,
        beta,
        activation,
        include_background,
        over,
        smooth,
    )
    return _class_mean(power(jnp.maximum(1 - index, 0), 1 / gamma), true, empty) * has_label


def _tversky_index(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None,
    name: str,
    alpha: float,
    beta: float,
    activation: str | None,
    include_background: bool | None,
    over: str,
    smooth: float,
) -> tuple[Array, Array, Array]:
    hit, predicted, true, has_label = _overlap(
        outputs,
        targets,
        where,
        name=name,
        activation=activation,
        include_background=include_background,
        over=over,
    )
    miss = alpha * (predicted - hit) + beta * (true - hit)
    return _ratio(hit + smooth, hit + miss + smooth), true, has_label


def _overlap(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None,
    *,
    name: str,
    activation: str | None,
    include_background: bool | None,
    over: str,
    squared: bool = False,
) -> tuple[Array, Array, Array, Array]:
    """Sum p t, p and t over voxels, `(batch or 1, classes)`; also return labelled examples."""
    choice(over, ("case", "batch"), name="over")
    in_order(outputs, targets, name=name)
    if jnp.ndim(outputs) < 3:
        raise ValueError(
            f"{name}: outputs have shape {jnp.shape(outputs)}; they must be "
            "(batch, *spatial, classes) with at least one spatial axis"
        )
    parts = split_classes(outputs, targets, where, name=name, activation=activation, log=False)
    hit = parts.voxel_sums(lambda p, t: p * t)
    predicted = parts.voxel_sums(lambda p, t: p * p if squared else p)
    true = parts.voxel_sums(lambda p, t: t * t if squared else t)
    keep = activation != "softmax" if include_background is None else include_background
    if not keep:
        if parts.number < 2:
            raise ValueError(f"{name}: include_background=False leaves no class of outputs' 1")
        hit, predicted, true = hit[:, 1:], predicted[:, 1:], true[:, 1:]
    if over == "batch":
        hit, predicted, true = (s.sum(0, keepdims=True) for s in (hit, predicted, true))
    if parts.weights is None:
        return hit, predicted, true, jnp.ones(jnp.shape(outputs)[0])
    has_label = (parts.weights > 0).reshape(parts.weights.shape[0], -1).any(1)
    return hit, predicted, true, has_label.astype(hit.dtype)


def _ratio(above: Array, below: Array, empty: float = 1.0) -> Array:
    """Compute `above / below`, and `empty` for 0 / 0 (only reached with smooth=0)."""
    zero = below == 0
    return jnp.where(zero, empty, above / jnp.where(zero, 1, below))


def _class_mean(values: Array, true: Array, empty: str) -> Array:
    """Average over classes, `(batch,)`, excluding those without true voxels if `empty` is skip."""
    choice(empty, ("skip", "count"), name="empty")
    if empty == "count":
        return values.mean(-1)
    present = ~(true <= 0)  # a NaN (label outside the classes) propagates
    return jnp.where(present, values, 0).sum(-1) / jnp.maximum(present.sum(-1), 1)
