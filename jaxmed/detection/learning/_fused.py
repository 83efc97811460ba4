"""Detectors that fuse what is found in mirror images, or by several networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, pick, stream
from jaxmed.core._made import made_by
from jaxmed.detection.finding._detections import Detections
from jaxmed.detection.finding._fusion import weighted_fusion


def mirrored_detector(
    network: Network, axes: Sequence[int], *, iou: float = 0.55, candidates: int = 1000
) -> Network:
    """A detector that looks at all mirror images too, and fuses the boxes.

    Args:
        network: made by :func:`detector`, or with its endpoints.
        axes: spatial axes, from 0: those that were mirrored in training.
        iou: as in :func:`weighted_fusion`.
        candidates: likewise.

    Returns:
        The network, of the same parameters, state and endpoints; it calls the detector 2^(number
        of axes) times. A box's score is the mean over the images: one that is found in none but
        one of them counts little.

    Raises:
        ValueError: axes that are none or twice; when traced, an axis that the image has not.

    References:
        Solovyev, Wang and Gabruseva, Weighted boxes fusion, Image and Vision Computing 107, 2021.
    """
    axes = tuple(int(a) for a in axes)
    if len({*axes}) != len(axes) or any(a < 0 for a in axes):
        raise ValueError(f"axes are different spatial axes from 0, got {axes}")
    subsets = [s for n in range(len(axes) + 1) for s in itertools.combinations(axes, n)]

    def apply(params, state, inputs, *, key=None, train=False):
        single = hasattr(inputs, "ndim")
        image = inputs if single else pick(inputs, "image", "inputs")
        shape = image.shape[1:-1]
        if axes and max(axes) >= len(shape):
            raise ValueError(f"mirrored along axes {axes}: images have the shape {image.shape}")
        parts = []
        after = state
        for i, subset in enumerate(subsets):
            turned = jnp.flip(image, [a + 1 for a in subset])
            given = turned if single else {**inputs, "image": turned}
            own = None if key is None else stream(key, "mirror", i)
            found, after = network.apply(params, state, given, key=own, train=train)
            boxes = mirrored_boxes(pick(found, "boxes", "network"), shape, subset)
            parts.append({**found, "boxes": boxes})
        return _fused(parts, iou, candidates)._asdict(), after

    made = Network(network.init, apply)
    how = {"axes": axes, "iou": iou, "candidates": candidates}
    return made_by(made, "mirrored_detector", network=network, **how)


def detector_ensemble(
    network: Network, members: int, *, iou: float = 0.55, candidates: int = 1000
) -> Network:
    """A detector of several networks of one kind, whose boxes are fused.

    Args:
        network: made by :func:`detector`, or with its endpoints.
        members: number of networks.
        iou: as in :func:`weighted_fusion`.
        candidates: likewise.

    Returns:
        The network. Its parameters and state are those of the members, stacked in front
        (``jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)``).

    Raises:
        ValueError: no member.
    """
    if members < 1:
        raise ValueError(f"an ensemble has at least one member, got {members}")

    def init(key, inputs):
        keys = jnp.stack([stream(key, "member", i) for i in range(members)])
        return jax.vmap(lambda one: network.init(one, inputs))(keys)

    def apply(params, state, inputs, *, key=None, train=False):
        def one(params: PyTree, state: PyTree, i: Array):
            own = None if key is None else stream(key, "member", i)
            return network.apply(params, state, inputs, key=own, train=train)

        found, after = jax.vmap(one)(params, state, jnp.arange(members))
        parts = [{name: value[i] for name, value in found.items()} for i in range(members)]
        return _fused(parts, iou, candidates)._asdict(), after

    made = Network(init, apply)
    how = {"members": members, "iou": iou, "candidates": candidates}
    return made_by(made, "detector_ensemble", network=network, **how)


def mirrored_boxes(boxes: Array, shape: Sequence[int], axes: Sequence[int]) -> Array:
    """Boxes (..., 2 * rank) in an image of this spatial shape that is mirrored along axes."""
    rank = len(shape)
    for axis in axes:
        low, high = boxes[..., axis], boxes[..., axis + rank]
        boxes = boxes.at[..., axis].set(shape[axis] - high)
        boxes = boxes.at[..., axis + rank].set(shape[axis] - low)
    return boxes


def _fused(parts: Sequence[dict[str, Array]], iou: float, candidates: int) -> Detections:
    """What several looks at a batch have found, as one."""
    whole = [
        jnp.concatenate([pick(part, name, "network") for part in parts], axis=1)
        for name in Detections._fields
    ]
    count = parts[0]["scores"].shape[1]
    fuse = partial(weighted_fusion, members=len(parts), iou=iou, count=count, candidates=candidates)
    return jax.vmap(fuse)(*whole)
