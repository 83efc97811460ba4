"""A head of boxes on any trunk, and the network that answers with boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, pick
from jaxmed.core._made import made_by
from jaxmed.detection.boxes._boxes import clip
from jaxmed.detection.finding._detections import Detections
from jaxmed.detection.finding._nms import Soft, nms
from jaxmed.networks import RetinaHead
from jaxmed.ops._boxes import Form
from jaxmed.paradigms import Head


def retina_head(
    classes: int,
    *,
    strides: Sequence[int | Sequence[int]],
    scales: Sequence[float] = (4.0,),
    aspects: Sequence[Sequence[float]] | None = None,
    form: Form = "size",
    depth: int = 2,
    prior: float = 0.01,
    norm: str | Callable[..., nn.Module] = "group",
    dtype: Any = None,
) -> Head:
    """A :class:`jaxmed.networks.RetinaHead` that reads the pyramid, for :func:`jaxmed.with_heads`.

    Args:
        classes: number of classes, without a background.
        strides: voxels of the image between the places of each map, finest first; an int or one
            per axis.
        scales: edges of the anchors as multiples of the stride.
        aspects: factors of the anchors' edges along each axis, a row for each kind.
        form: ``"size"``, boxes relative to anchors, or ``"sides"``, distances to the sides.
        depth: convolutions of each tower.
        prior: probability of each class at each place before any training.
        norm: normalisation in the towers.
        dtype: dtype of the computation.

    Returns:
        The head. As ``with_heads(trunk, {"boxes": head})`` it makes the endpoints ``boxes`` (its
        logits), ``boxes/box`` and ``boxes/anchor``.
    """
    steps = tuple(s if isinstance(s, int) else tuple(s) for s in strides)
    rows = None if aspects is None else tuple(tuple(row) for row in aspects)
    head = RetinaHead(classes, steps, tuple(scales), rows, form, depth, prior, norm, dtype)
    return Head(head, "pyramid")


def detector(
    network: Network,
    *,
    head: str = "boxes",
    iou: float = 0.5,
    count: int = 100,
    candidates: int = 1000,
    least: float = 0.05,
    soft: Soft = None,
    sigma: float = 0.5,
) -> Network:
    """A network whose endpoints are the boxes it finds, out of one with a head of boxes.

    Args:
        network: with the endpoints of a :class:`jaxmed.networks.RetinaHead`, such as
            ``with_heads(trunk, {"boxes": retina_head(...)})``.
        head: the head's name.
        iou: as in :func:`nms`, as are the others.
        count: boxes an image, at most.
        candidates: scores an image that are looked at, at most; each place has one for each class.
        least: scores at or below this are left out.
        soft: ``"linear"`` or ``"gaussian"``.
        sigma: of the Gaussian.

    Returns:
        The network, of the same parameters and state. Its endpoints are those of
        :class:`Detections`, ``boxes``, ``scores``, ``labels`` and ``mask``, with the batch in
        front. Boxes are cut at the image's border.

    Raises:
        KeyError: when traced, if the network has no such head; says which endpoints it has.

    Examples:
        >>> import jaxmed as jm
        >>> from jaxmed.detection import retina_head
        >>> trunk = jm.networks.pyramid(jm.networks.resnet8(), levels=(1, 2), width=8)
        >>> network = jm.with_heads(trunk, {"boxes": retina_head(2, strides=(2, 4))})
        >>> finds = detector(network, count=5)
        >>> image = jnp.ones((1, 8, 8, 1))
        >>> variables = jax.eval_shape(finds.init, jax.random.key(0), image)
        >>> found, _ = jax.eval_shape(finds.apply, *variables, image)
        >>> {name: value.shape for name, value in found.items()}
        {'boxes': (1, 5, 4), 'labels': (1, 5), 'mask': (1, 5), 'scores': (1, 5)}
    """
    how = {"iou": iou, "count": count, "candidates": candidates, "least": least}
    how |= {"soft": soft, "sigma": sigma}

    def apply(params, state, inputs, *, key=None, train=False):
        endpoints, state = network.apply(params, state, inputs, key=key, train=train)
        logits, box = (pick(endpoints, name, "network") for name in (head, f"{head}/box"))
        image = inputs if hasattr(inputs, "ndim") else pick(inputs, "image", "inputs")
        found = jax.vmap(partial(_found, shape=image.shape[1:-1], how=how))(logits, box)
        return found._asdict(), state

    return made_by(Network(network.init, apply), "detector", network=network, head=head, **how)


def _found(logits: Array, box: Array, *, shape: tuple[int, ...], how: dict[str, Any]) -> Detections:
    """Of the scores of all places and classes the best, with their boxes."""
    classes = logits.shape[-1]
    scores = jax.nn.sigmoid(logits).ravel()
    best, at = jax.lax.top_k(scores, min(how["candidates"], len(scores)))
    boxes = clip(box[at // classes], shape)
    there = (boxes[:, : len(shape)] < boxes[:, len(shape) :]).all(1)
    return nms(boxes, best, (at % classes).astype(jnp.int32), there, **how)
