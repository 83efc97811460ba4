"""Multiple-instance learning: a label for a bag of instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp

from jaxmed import networks
from jaxmed.core import Array, Network, PyTree, from_linen, pick, stream
from jaxmed.core._made import made_by

_attention = cast("Callable[..., nn.Module]", networks.AttentionPooling)
_simple = cast("Callable[..., nn.Module]", networks.SimplePooling)

BAG = ("image", "bag_mask")
"""The arrays of a batch that a network on ragged bags is given: ``learner(..., inputs=BAG)``."""

POOLINGS: dict[str, Callable[..., nn.Module]] = {
    "additive": networks.AdditivePooling,
    "attention": networks.AttentionPooling,
    "dual_stream": networks.DualStreamPooling,
    "gated_attention": partial(_attention, gated=True),
    "lse": partial(_simple, kind="lse"),
    "max": partial(_simple, kind="max"),
    "mean": partial(_simple, kind="mean"),
    "transformer": networks.TransformerPooling,
}
"""The poolings by name."""


def multiple_instance(
    trunk: Network,
    pooling: str | nn.Module | Network = "gated_attention",
    *,
    classes: int | None = None,
    reads: str = "features",
    **options: Any,
) -> Network:
    """A network on bags: the trunk sees instances, a pooling sees what it found in a bag.

    Its inputs are ``{"image": (bags, instances, *instance), "bag_mask": (bags, instances)}``, or
    the image alone if no bag is padded: give ``inputs=BAG`` to the learner, the objective and
    ``train.predict``. An instance is whatever the trunk takes: a row of a table, a patch, a
    volume. Where the mask is 0 an instance is padding: what stands there changes nothing. A bag
    whose mask is all 0 gives zeros, so that no gradient is lost in NaN.

    Args:
        trunk: a network on instances, ``(instances, *instance)``.
        pooling: ``"max"``, ``"mean"``, ``"lse"`` (log-sum-exp), ``"attention"``,
            ``"gated_attention"``, ``"dual_stream"``, ``"transformer"``, ``"additive"``; or a
            network or Linen module of one's own, from ``{"features": (bags, instances, f),
            "bag_mask": (bags, instances) bool}`` to endpoints.
        classes: number of logits. Without, the network ends in ``features``, for
            :func:`with_heads`; ``dual_stream`` and ``additive`` need it.
        reads: the trunk's endpoint that is pooled, ``(instances, f)``.
        **options: of the pooling by name, such as ``hidden=64``; see :mod:`jaxmed.networks`.

    Returns:
        The network, with parameters ``{"trunk": ..., "pooling": ...}``, and a state alike. Its
        endpoints are the pooling's: ``features`` ``(bags, f)``, ``logits`` ``(bags, classes)``;
        ``attention`` ``(bags, instances)``, which sums to 1 over a bag, and ``instance_logits``
        ``(bags, instances, classes)`` where the pooling has them; and ``instance_features``.

    Raises:
        ValueError: if the pooling is unknown or lacks its classes; when traced, if the image has
            no axis of instances or an empty one, or the mask another shape.
        KeyError: when traced, if the inputs have no ``image``, or the trunk has no such endpoint.

    References:
        Dietterich, Lathrop and Lozano-Perez (1997), Solving the multiple instance problem with
        axis-parallel rectangles, Artificial Intelligence 89; Ilse, Tomczak and Welling (2018),
        Attention-based deep multiple instance learning, ICML. Each pooling's paper is with its
        module.

    >>> import jax, jaxmed as jm
    >>> trunk = jm.from_linen(networks.mlp(hidden=(8,)))
    >>> network = multiple_instance(trunk, "attention", classes=2, hidden=4)
    >>> sizes = jnp.array([[5], [2], [1]])
    >>> bags = {"image": jnp.ones((3, 5, 7)), "bag_mask": jnp.arange(5) < sizes}
    >>> params, state = network.init(jax.random.key(0), bags)
    >>> endpoints, _ = network.apply(params, state, bags)
    >>> endpoints["logits"].shape, endpoints["attention"][1].tolist()
    ((3, 2), [0.5, 0.5, 0.0, 0.0, 0.0])
    """
    pool = _pooling(pooling, classes, options)

    def init(key, inputs):
        instances, mask = _bags(inputs)
        flat = _flat(instances)
        params, state = trunk.init(stream(key, "trunk"), flat)
        endpoints, _ = trunk.apply(params, state, flat)
        pool_params, pool_state = pool.init(stream(key, "pooling"), _found(endpoints, reads, mask))
        return (
            {"trunk": params, "pooling": pool_params},
            {"trunk": state, "pooling": pool_state},
        )

    def apply(params, state, inputs, *, key=None, train=False):
        instances, mask = _bags(inputs)
        keys = {part: None if key is None else stream(key, part) for part in ("trunk", "pooling")}
        endpoints, trunk_state = trunk.apply(
            params["trunk"], state["trunk"], _flat(instances), key=keys["trunk"], train=train
        )
        found = _found(endpoints, reads, mask)
        pooled, pool_state = pool.apply(
            params["pooling"], state["pooling"], found, key=keys["pooling"], train=train
        )
        state = {"trunk": trunk_state, "pooling": pool_state}
        return {"instance_features": found["features"], **pooled}, state

    return made_by(
        Network(init, apply), "multiple_instance",
        trunk=trunk, pooling=pooling, classes=classes, reads=reads, **options,
    )  # fmt: skip


def _pooling(pooling: str | nn.Module | Network, classes: int | None, options: dict) -> Network:
    if not isinstance(pooling, str):
        if options or classes is not None:
            raise ValueError("a pooling of one's own takes neither classes nor options")
        return from_linen(pooling) if isinstance(pooling, nn.Module) else pooling
    if pooling not in POOLINGS:
        raise ValueError(f"unknown pooling {pooling!r}; there are {sorted(POOLINGS)}")
    if classes is None and pooling in ("dual_stream", "additive"):
        raise ValueError(f"the pooling {pooling!r} scores instances by class: give classes=")
    return from_linen(POOLINGS[pooling](classes=classes, **options))


def _bags(inputs: PyTree) -> tuple[Array, Array]:
    """Instances ``(bags, instances, ...)``, with padding filled in, and the mask as booleans."""
    inputs = inputs if isinstance(inputs, Mapping) else {"image": inputs}
    images = jnp.asarray(pick(inputs, "image", "bag"))
    if images.ndim < 3 or 0 in images.shape[:2]:
        raise ValueError(
            "bags have the shape (bags, instances, *instance), with at least one instance, got "
            f"{images.shape}"
        )
    if "bag_mask" not in inputs:
        return images, jnp.ones(images.shape[:2], bool)
    mask = jnp.asarray(inputs["bag_mask"])
    if mask.shape != images.shape[:2]:
        raise ValueError(
            f"bag_mask must have the shape (bags, instances) = {images.shape[:2]} of the image "
            f"{images.shape}, got {mask.shape}"
        )
    mask = mask > 0
    # The first real instance in the place of padding: whatever padding held, NaN included, is
    # gone, and a trunk's BatchNorm sees plausible statistics.
    each = (len(images), 1, *[1] * (images.ndim - 2))
    first = jnp.take_along_axis(images, mask.argmax(1).reshape(each), axis=1)
    kept = mask.reshape(*mask.shape, *[1] * (images.ndim - 2))
    return jnp.where(kept, images, jnp.where(mask.any(1).reshape(each), first, 0)), mask


def _flat(instances: Array) -> Array:
    return instances.reshape(-1, *instances.shape[2:])


def _found(endpoints, reads: str, mask: Array) -> dict[str, Array]:
    features = pick(endpoints, reads, "trunk")
    if features.ndim != 2:
        raise ValueError(
            f"a pooling reads one vector per instance, (instances, f), but the trunk's {reads!r} "
            f"has the shape {features.shape}"
        )
    return {"features": features.reshape(*mask.shape, -1), "bag_mask": mask}
