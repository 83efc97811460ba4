"""Losses of boxes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._inputs import at_least_float32, known, mean_known
from jaxmed.ops._boxes import box_giou


def generalised_iou(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""One minus the generalised IoU of each box with its target, averaged over an example's boxes.

    .. math:: 1 - \frac{|A \cap B|}{|A \cup B|} + \frac{|H| - |A \cup B|}{|H|}

    with H the smallest box around both. It does not depend on the boxes' scale, and tells boxes
    apart that do not overlap.

    Args:
        outputs: boxes `(batch, ..., 2 * rank)`, lows then highs.
        targets: boxes of the outputs' shape, one for each.
        where: True where the target is known, or a weight; `(batch,)` or one per box.

    Returns:
        `(batch,)` in float32, from 0 to 2; 0 for an example without any known target. Where the
        box around both has no area it is 1.

    Raises:
        ValueError: if the shapes do not match.

    Examples:
        >>> one, far = jnp.array([[0.0, 0, 1, 1]]), jnp.array([[0.0, 3, 1, 4]])
        >>> generalised_iou(one, one).tolist(), generalised_iou(one, far).tolist()
        ([0.0], [1.5])

    References:
        Rezatofighi et al., Generalized intersection over union, CVPR 2019.
    """
    x, y = at_least_float32(outputs), at_least_float32(targets)
    if x.shape != y.shape or x.ndim < 2 or x.shape[-1] % 2:
        raise ValueError(
            f"generalised_iou: outputs {x.shape} and targets {y.shape} must have one shape "
            "(batch, ..., 2 * rank)"
        )
    weights = known(where, x.shape[:-1])
    if weights is not None:
        x, y = (jnp.where(weights[..., None] > 0, boxes, 0) for boxes in (x, y))
    return mean_known(1 - box_giou(x, y), weights)
