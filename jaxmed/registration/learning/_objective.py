"""What a registration network is trained by: images that agree, smooth fields, masks if known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed import losses, ops
from jaxmed.core import (
    Array,
    Batch,
    Endpoints,
    Objective,
    network_inputs,
    pick,
    stateless,
    weighted_mean,
)
from jaxmed.registration.learning._fields import carried, onto, steps
from jaxmed.registration.pairs._level import PENALTIES
from jaxmed.registration.pairs._similarity import Loss, Similarity, loss_of

_PENALTY = {"diffusion": 0.2}
_PAIR = ("fixed", "moving")


def pair_objective(
    similarity: Similarity | Loss = "lncc",
    *,
    penalty: Mapping[str, float] | None = None,
    classes: int | None = None,
    label_weight: float = 1.0,
    masks: tuple[str, str] = ("fixed_mask", "moving_mask"),
    known: str | None = None,
    where: tuple[str, str] | None = None,
    symmetric: bool = False,
    inverse: float = 0.0,
    spacing: float | Sequence[float] = 1.0,
) -> Objective:
    """Learn to register pairs: ``similarity(moved, fixed) + penalty(field)``, and masks if known.

    For any network with the inputs and endpoints of :func:`voxelmorph`. Labels are looked at in
    training alone.

    Args:
        similarity: as in :func:`register`; ``"mse"`` of the images as they are.
        penalty: weights of ``"diffusion"``, ``"bending"`` (in one over squared ``spacing``) and
            ``"jacobian"``, of velocities where the network has them and else of displacements;
            ``"jacobian"`` of the latter alone. By default .2 of diffusion; none of a linear map.
        classes: of the masks, numbered from 1, whose Dice loss is added: the moving mask, class by
            class, moved onto the fixed one. None: no masks are looked at.
        label_weight: weight of that.
        masks: names in the batch of the fixed and moving masks, ``(batch, *spatial)``, whole
            numbers, 0 the background.
        known: name of a boolean array ``(batch,)`` that says of which pairs masks are known; by
            default of all.
        where: names of arrays ``(batch, *spatial)`` that say which voxels of the fixed and of the
            moving image count in the similarity.
        symmetric: whether the inverse also moves the fixed image, and mask, onto the moving one;
            for networks with the endpoint ``inverse``.
        inverse: weight of the mean squared distance, in squared ``spacing``, by which the maps
            predicted there and back, of the images exchanged, miss the place they began at. Costs a
            second pass.
        spacing: of voxels, one or one an axis, in the unit of the penalties.

    Returns:
        The objective. The batch has ``fixed`` and ``moving`` ``(batch, *spatial, channels)`` on one
        grid, as :func:`scan_pairs` makes them, and may have a ``weight``. Metrics: ``similarity``,
        ``penalty`` (weighed), ``overlap`` (mean soft Dice) and ``inverse``, those that there are.

    Raises:
        ValueError: an unknown option; when traced, a network without a field to penalise or
            without an inverse.
        KeyError: when traced, an array or endpoint that is not there; says which are.

    Examples:
        >>> import jaxmed as jm, optax
        >>> from jaxmed.registration import voxelmorph
        >>> objective = pair_objective("lncc", penalty={"diffusion": 0.5}, symmetric=True)
        >>> run = jm.learner(
        ...     voxelmorph(), objective, optax.adam(1e-3), inputs=("fixed", "moving")
        ... )
        >>> pair = {"fixed": jnp.ones((1, 24, 24, 1)), "moving": jnp.ones((1, 24, 24, 1))}
        >>> state, metrics = jax.eval_shape(
        ...     lambda: run.step(run.init(jax.random.key(0), pair), pair)
        ... )
        >>> sorted(metrics)
        ['gradient_norm', 'loss', 'penalty', 'similarity']
    """
    unlike = loss_of(similarity)
    for name in penalty or ():
        if name not in PENALTIES:
            raise ValueError(f"penalty {name!r}; expected {', '.join(sorted(PENALTIES))}")
    if classes is not None and classes < 1:
        raise ValueError(f"classes={classes}: one or more, without the background; or None")

    def evaluate(network, params, state, batch, key):
        pair = network_inputs(batch, _PAIR)
        found, net = network.apply(params["net"], state["net"], pair, key=key, train=True)
        ways = [("moving", "fixed", found["displacement"], found["moved"])]
        if symmetric:
            back = _inverse_of(found)
            ways.append(("fixed", "moving", back, carried(pair["fixed"], back)))
        counts = {} if where is None else dict(zip(_PAIR, where, strict=True))
        terms: dict[str, Any] = {"similarity": 0.0}
        for _, target, _, moved in ways:
            seen = {}
            if target in counts:
                seen["where"] = pick(batch, counts[target], "batch") > 0.5
            terms["similarity"] += unlike(moved, pair[target], **seen) / len(ways)
        total = terms["similarity"]
        costs = _cost(found, pair["fixed"].shape[1:-1], penalty, spacing)
        if costs is not None:
            terms["penalty"] = costs
            total = total + costs
        if classes is not None:
            told = None if known is None else pick(batch, known, "batch")
            missed = _missed(ways, _shares(batch, masks, classes, told), told)
            terms["overlap"] = 1 - missed
            total = total + label_weight * missed
        if inverse:
            exchanged = {"fixed": pair["moving"], "moving": pair["fixed"]}
            other, net = network.apply(params["net"], net, exchanged, key=key, train=True)
            terms["inverse"] = _gap(found, other, pair["fixed"].shape[1:-1], spacing)
            total = total + inverse * terms["inverse"]
        weight = batch.get("weight")
        metrics = {name: weighted_mean(value, weight) for name, value in terms.items()}
        if classes is not None and told is not None:
            which = told if weight is None else told * weight
            metrics["overlap"] = weighted_mean(terms["overlap"], which)
        return weighted_mean(total, weight), ({**state, "net": net}, metrics)

    return stateless(evaluate)


def _inverse_of(found: Endpoints) -> Array:
    if "inverse" not in found:
        raise ValueError(
            "symmetric: the network has no endpoint 'inverse', since the inverse of a displacement "
            "has no closed form; take field='velocity', or inverse=1.0, which asks for it"
        )
    return found["inverse"]


def _cost(
    found: Endpoints,
    shape: tuple[int, ...],
    penalty: Mapping[str, float] | None,
    spacing: float | Sequence[float],
) -> Array | None:
    """The weighed penalties of a field, (batch,); None of a linear map."""
    if "matrix" in found:
        if penalty:
            raise ValueError(f"penalty={dict(penalty)!r}: a linear map has no field")
        return None
    size = jnp.asarray(spacing, jnp.float32)
    total = jnp.zeros(found["displacement"].shape[0])
    for name, weight in sorted((_PENALTY if penalty is None else penalty).items()):
        if name == "jacobian":
            field = found["displacement"]
            apart = steps(shape, field.shape[1:-1])
            total = total + weight * PENALTIES[name](field / apart)
            continue
        field = found.get("velocity", found["displacement"])
        step = steps(shape, field.shape[1:-1]) * jnp.broadcast_to(size, (len(shape),))
        total = total + weight * PENALTIES[name](field * size, spacing=tuple(step))
    return total


def _shares(
    batch: Batch, names: tuple[str, str], classes: int, told: Array | None
) -> dict[str, Array]:
    """Each class of both masks as a channel; NaN of a pair with a number that is no class."""
    found = {}
    for side, name in zip(_PAIR, names, strict=True):
        mask, image = jnp.asarray(pick(batch, name, "batch")), batch[side]
        if mask.shape != image.shape[:-1] or jnp.issubdtype(mask.dtype, jnp.inexact):
            raise ValueError(
                f"{name} has shape {mask.shape} and type {mask.dtype}; it holds whole numbers on "
                f"the grid of {side}, {image.shape[:-1]}"
            )
        axes = tuple(range(1, mask.ndim))
        wrong = ((mask < 0) | (mask > classes)).any(axes, keepdims=True)
        if told is not None:
            wrong &= jnp.reshape(told, (-1, *[1] * len(axes))) > 0
        shares = mask[..., None] == jnp.arange(1, classes + 1)
        found[side] = jnp.where(wrong[..., None], jnp.nan, shares.astype(jnp.float32))
    return found


def _missed(
    ways: Sequence[tuple[str, str, Array, Array]], shares: Mapping[str, Array], told: Array | None
) -> Array:
    """The Dice loss of moved masks, (batch,)."""
    dice = partial(losses.dice, activation=None, include_background=True, where=told)
    values = [
        dice(carried(shares[source], displacement), shares[target])
        for source, target, displacement, _ in ways
    ]
    return sum(values[1:], values[0]) / len(values)


def _gap(
    there: Endpoints, back: Endpoints, shape: tuple[int, ...], spacing: float | Sequence[float]
) -> Array:
    """How far two maps, one after the other, are from the identity: mean squared distance."""
    u, v = there["displacement"], back["displacement"]
    v = onto(v, shape, u.shape[1:-1])
    apart = steps(shape, u.shape[1:-1])
    arrived = jax.vmap(partial(ops.warp, mode="nearest"))(v, u / apart)
    off: Any = (u + arrived) * jnp.asarray(spacing, jnp.float32)
    return (off**2).sum(-1).mean(tuple(range(1, u.ndim - 1)))
