"""Features and targets of a batch as rows: one an example, or one a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, pick
from jaxmed.paradigms.base._supervised import Known, known_mask

Targets = Literal["one-hot", "plus-minus", "numbers"]


class Rows(NamedTuple):
    """What least squares are fitted to.

    Attributes:
        h: features ``(rows, features)``.
        y: targets ``(rows, outputs)``.
        weight: ``(rows,)``, 0 for what does not count.
    """

    h: Array
    y: Array
    weight: Array


class Coding(NamedTuple):
    """How the batch's targets become numbers.

    Attributes:
        targets: ``"one-hot"``, ``"plus-minus"`` or ``"numbers"``.
        target: the batch's array of targets.
        outputs: classes, or numbers.
        class_weights: a weight for each class, or None.
        known: which targets are known, as :func:`~jaxmed.paradigms.supervised` takes it.
    """

    targets: Targets
    target: str
    outputs: int
    class_weights: tuple[float, ...] | None
    known: Known | None


def coding(
    targets: Targets,
    target: str,
    classes: int | None,
    class_weights: Sequence[float] | None,
    known: Known | None,
) -> Coding:
    """Check how targets are to be read.

    Raises:
        ValueError: if the options contradict each other.
    """
    if targets not in ("one-hot", "plus-minus", "numbers"):
        raise ValueError(f"targets must be 'one-hot', 'plus-minus' or 'numbers', got {targets!r}")
    if targets == "numbers":
        classes = 1 if classes is None else classes
        if class_weights is not None:
            raise ValueError("class_weights are of classes: targets='numbers' has none")
    elif classes is None or classes < 2:
        raise ValueError(
            f"targets={targets!r} needs the number of classes, 2 or more, got classes={classes}"
        )
    if classes < 1:
        raise ValueError(f"there must be a number to predict, got classes={classes}")
    weights = None if class_weights is None else tuple(map(float, class_weights))
    if weights is not None and (len(weights) != classes or not all(w > 0 for w in weights)):
        raise ValueError(
            f"class_weights must be {classes} positive numbers, one a class, got {class_weights}"
        )
    return Coding(targets, target, classes, weights, known)


def encode(labels: Array, classes: int, targets: Targets) -> Array:
    """Labels as numbers, ``(..., classes)``; NaN where a label is no class."""
    ones = jax.nn.one_hot(labels, classes)
    if targets == "plus-minus":
        ones = 2 * ones - 1
    good = (labels >= 0) & (labels < classes)
    return jnp.where(good[..., None], ones, jnp.nan)


def rows_of(
    features: Array, batch: Batch, coding: Coding, dtype: jnp.dtype, forget: float = 1.0
) -> Rows:
    """Features, targets and weights of a batch.

    Args:
        features: ``(batch, ..., features)``.
        batch: has the targets, of the features' shape without the last axis; numbers may have an
            axis of outputs besides.
        coding: how they are read.
        dtype: of what is returned.
        forget: an example weighs less by this with each one behind it that counts.

    Raises:
        KeyError: if the batch has no such targets.
        ValueError: if their shape does not fit the features, or labels are no integers.
    """
    given = pick(batch, coding.target, "batch")
    places, size = features.shape[:-1], features.shape[0]
    if coding.targets == "numbers":
        y = given if given.shape == (*places, coding.outputs) else given[..., None]
        fits = y.shape == (*places, coding.outputs)
    else:
        if not jnp.issubdtype(given.dtype, jnp.integer):
            raise ValueError(
                f"targets={coding.targets!r} takes integer labels, but {coding.target!r} is "
                f"{given.dtype}: cast them, or say targets='numbers'"
            )
        y, fits = encode(given, coding.outputs, coding.targets), given.shape == places
    if not fits:
        raise ValueError(
            f"the targets {coding.target!r} have the shape {given.shape}, and the features "
            f"{features.shape}: there must be {'a number' if coding.outputs == 1 else 'a row'} of "
            f"targets for each of {places}, with {coding.outputs} outputs"
        )
    own = batch.get("weight")
    own = jnp.ones(size, dtype) if own is None else own.astype(dtype)
    own = own * faded(own, forget)
    weight = jnp.broadcast_to(own.reshape(size, *[1] * (len(places) - 1)), places)
    if coding.known is not None:
        known = known_mask(coding.known, given, batch)
        if known.ndim > len(places):  # an axis of outputs: all of them, or the row does not count
            known = known.all(axis=tuple(range(len(places), known.ndim)))
        weight = weight * known.reshape(*known.shape, *[1] * (len(places) - known.ndim))
    if coding.class_weights is not None:
        table = jnp.asarray(coding.class_weights, dtype)
        weight = weight * table[jnp.clip(given, 0, coding.outputs - 1)]
    return Rows(
        features.reshape(-1, features.shape[-1]).astype(dtype),
        y.reshape(-1, coding.outputs).astype(dtype),
        weight.reshape(-1),
    )


def faded(weight: Array, forget: float) -> Array:
    """By how much each example weighs less: ``forget`` to the number of those behind it."""
    if forget == 1:
        return jnp.ones_like(weight)
    counts = (weight > 0).astype(weight.dtype)
    behind = jnp.cumsum(counts[::-1])[::-1] - counts
    return jnp.asarray(forget, weight.dtype) ** behind
