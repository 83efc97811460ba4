"""The loss of a detector's head, and the objective that minimises it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Inputs, Objective
from jaxmed.detection.learning._assign import assign
from jaxmed.losses import focal, generalised_iou
from jaxmed.paradigms import supervised


def retina_loss(
    outputs: Mapping[str, Any],
    targets: Mapping[str, Array],
    *,
    where: jax.typing.ArrayLike | None = None,
    box_weight: float = 2.0,
    alpha: float = 0.25,
    gamma: float = 2.0,
    nearest: int = 9,
) -> Array:
    """Focal loss of the classes and generalised-IoU loss of the boxes, one value per example.

    :func:`assign` says which anchors stand for which object. The focal loss is summed over all
    anchors and classes and divided by the number of anchors that stand for an object, at least 1;
    the boxes' loss is the mean over these. So an image without an object teaches the classes alone.

    Args:
        outputs: the endpoints of a :class:`jaxmed.networks.RetinaHead`: ``logits``
            ``(batch, places, classes)``, ``box`` ``(batch, places, 2 * rank)``, ``anchor``, a tuple
            of the anchors of each map.
        targets: ``box`` ``(batch, objects, 2 * rank)``, lows then highs in voxels, and ``label``
            ``(batch, objects)`` classes from 0; -1 for padding.
        where: ``(batch,)``, True where the objects are known.
        box_weight: of the boxes' loss.
        alpha: weight of an object's class; that of its absence is ``1 - alpha``.
        gamma: focusing exponent of the focal loss.
        nearest: as in :func:`assign`.

    Returns:
        ``(batch,)`` in float32; NaN for a label that the head has no class for.

    Raises:
        ValueError: shapes that do not fit.
        KeyError: an endpoint or a target that is not there.

    References:
        Lin et al., Focal loss for dense object detection, ICCV 2017. Zhang et al., ATSS, CVPR 2020.
    """
    logits, box = outputs["logits"], outputs["box"]
    levels = tuple(a.shape[1] for a in outputs["anchor"])
    anchor = jax.lax.stop_gradient(jnp.concatenate(outputs["anchor"], axis=1))
    true, label = jnp.asarray(targets["box"]), jnp.asarray(targets["label"])
    _check(logits, box, anchor, true, label)
    given = jax.vmap(partial(assign, levels=levels, nearest=nearest))(anchor, true, label >= 0)

    # An image that holds no place for an object (padded to none) has nothing to look up.
    if true.shape[1] == 0:
        true, label = jnp.zeros((len(true), 1, true.shape[-1])), jnp.full((len(label), 1), -1)
    at = jnp.maximum(given, 0)
    owner = jnp.where(given >= 0, jnp.take_along_axis(label, at, axis=1), -1)
    found = owner[..., None] == jnp.arange(logits.shape[-1])
    positive = given >= 0
    number = jnp.maximum(positive.sum(1), 1)
    shares = jnp.where(owner[..., None] >= logits.shape[-1], jnp.nan, found)
    mean = focal(logits, shares, alpha=alpha, gamma=gamma, activation="sigmoid")
    classes = mean * (logits.shape[1] * logits.shape[2]) / number
    target = jnp.take_along_axis(true, at[..., None], axis=1)
    value = classes + box_weight * generalised_iou(box, target, where=positive)
    return value if where is None else jnp.where(jnp.asarray(where) > 0, value, 0)


def box_objective(
    head: str = "boxes",
    *,
    box: str = "box",
    label: str = "box_label",
    inputs: Inputs = "image",
    **options: Any,
) -> Objective:
    """Minimise :func:`retina_loss` of a network's head: supervised learning of boxes.

    Args:
        head: name of the head, as :func:`jaxmed.with_heads` was given it.
        box: the batch's boxes ``(batch, objects, 2 * rank)``.
        label: the batch's classes of boxes ``(batch, objects)``, -1 for padding.
        inputs: what of the batch the network is given.
        **options: of :func:`retina_loss`.

    Returns:
        The objective, for any network with such a head.

    Raises:
        KeyError: when traced, if the network or the batch lacks a name; says which it has.

    Examples:
        >>> import jaxmed as jm, optax
        >>> from jaxmed.detection import box_objective, retina_head
        >>> trunk = jm.networks.pyramid(jm.networks.resnet8(), levels=(1, 2), width=16)
        >>> network = jm.with_heads(trunk, {"boxes": retina_head(2, strides=(2, 4))})
        >>> run = jm.learner(network, box_objective(), optax.adam(1e-3))
        >>> run
        Learner: learner(with_heads(RetinaHead, pyramid(FeaturePyramid, ResNet)), supervised)
    """
    return supervised(
        partial(retina_loss, **options),
        output={"logits": head, "box": f"{head}/box", "anchor": f"{head}/anchor"},
        target={"box": box, "label": label},
        inputs=inputs,
    )


def _check(logits: Array, box: Array, anchor: Array, true: Array, label: Array) -> None:
    if box.shape != anchor.shape or logits.shape[:2] != box.shape[:2]:
        raise ValueError(
            f"logits {logits.shape}, box {box.shape} and anchors {anchor.shape} are not of one head"
        )
    if true.ndim != 3 or true.shape[::2] != box.shape[::2] or label.shape != true.shape[:2]:
        raise ValueError(
            f"targets are box (batch, objects, {box.shape[-1]}) and label (batch, objects) for a "
            f"batch of {len(box)}, got {true.shape} and {label.shape}"
        )
    if not jnp.issubdtype(label.dtype, jnp.integer):
        raise ValueError(f"label holds whole numbers, got {label.dtype}")
