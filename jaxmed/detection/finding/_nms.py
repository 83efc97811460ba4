"""Non-maximum suppression of a fixed size, on the device."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.detection.finding._candidates import best, padded, picked
from jaxmed.detection.finding._detections import Detections
from jaxmed.ops._boxes import box_iou

Soft = Literal["linear", "gaussian"] | None


def nms(
    boxes: jax.typing.ArrayLike,
    scores: jax.typing.ArrayLike,
    labels: jax.typing.ArrayLike | None = None,
    mask: jax.typing.ArrayLike | None = None,
    *,
    iou: float = 0.5,
    count: int = 100,
    candidates: int = 1000,
    soft: Soft = None,
    sigma: float = 0.5,
    least: float = 0.0,
) -> Detections:
    """Keep the surest of boxes that overlap, class by class.

    Compiles to a loop of ``count`` steps over ``candidates`` boxes, whatever they are; ``vmap`` it
    over a batch. The order of the boxes changes nothing: of equal scores the box comes first whose
    corners do. Boxes without an area overlap nothing.

    Args:
        boxes: ``(n, 2 * rank)``.
        scores: ``(n,)``, those that are NaN are left out.
        labels: ``(n,)`` classes; boxes of two classes leave each other alone. One class by default.
        mask: ``(n,)``, False for padding.
        iou: a box that overlaps a surer one by more than this is left out; with ``soft="linear"``
            loses of its score, and with ``"gaussian"`` is not asked.
        count: boxes returned, at most.
        candidates: boxes of the highest scores that are looked at, at most.
        soft: lower the scores of boxes that overlap a surer one instead of leaving them out:
            ``"linear"`` by the factor 1 - IoU, ``"gaussian"`` by exp(-IoU^2 / sigma).
        sigma: of the Gaussian.
        least: scores at or below this are left out, before and after they were lowered.

    Returns:
        The boxes that are kept, the surest first.

    Raises:
        ValueError: shapes that do not fit, or an unknown form.

    References:
        Bodla et al., Soft-NMS: improving object detection with one line of code, ICCV 2017.

    Examples:
        >>> boxes = jnp.array([[0.0, 0, 4, 4], [0, 1, 4, 5], [9, 9, 12, 12]])
        >>> found = nms(boxes, jnp.array([0.8, 0.9, 0.3]), count=3)
        >>> found.mask.tolist(), found.boxes[0].tolist()
        ([True, True, False], [0.0, 1.0, 4.0, 5.0])
    """
    b, s, kinds, there = padded(boxes, scores, labels, mask)
    if soft not in (None, "linear", "gaussian"):
        raise ValueError(f"soft is None, linear or gaussian, got {soft!r}")
    if count < 1 or candidates < 1:
        raise ValueError(f"count and candidates are at least 1, got {count} and {candidates}")
    s = jnp.where(there & (s > least), s, -jnp.inf)
    b, s, kinds = best(b, s, kinds, candidates)

    def pick(left: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        at = left.argmax()
        overlap = jnp.where(kinds == kinds[at], box_iou(b, b[at]), 0)
        if soft is None:
            after = jnp.where(overlap > iou, -jnp.inf, left)
        else:
            linear = jnp.where(overlap > iou, 1 - overlap, 1)
            lowered = left * (linear if soft == "linear" else jnp.exp(-(overlap**2) / sigma))
            after = jnp.where(lowered > least, lowered, -jnp.inf)
        return after.at[at].set(-jnp.inf), (at, left[at])

    _, (chosen, score) = jax.lax.scan(pick, s, None, length=count)
    return picked(b[chosen], score, kinds[chosen])
