"""Per-case voxel counts, the accumulator shared by the mask metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.metrics._examples import ORDER, label_weights, namespace
from jaxmed.metrics._metric import refuse_invalid
from jaxmed.quantities import at_least, largest


class Cases(NamedTuple):
    """Voxel counts of each case and class, `(cases, classes)`, in the order seen.

    Attributes:
        hit: voxels both true and predicted.
        predicted: voxels predicted.
        true: voxels true.
        weight: `(cases,)`; 0 for padding.
        invalid: the number of cases with a known label outside the classes or a NaN output.
        regions: 1 if the masks are 0/1 per class, without a background class.
    """

    hit: Any
    predicted: Any
    true: Any
    weight: Any
    invalid: Any
    regions: Any


@cache
def counter(classes: int | None, probabilities: bool) -> Callable[..., Cases]:
    """Return `from_batch` of the per-case counts, cached per pair of options."""

    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> Cases:
        xp = namespace(outputs, targets, weight, where)
        x, y = xp.asarray(outputs), xp.asarray(targets)
        predicted, true, count, bad = _label_maps(x, y, classes, probabilities, xp)
        batch, regions = y.shape[0], predicted.ndim == 3
        rows = label_weights(weight, None, (batch,), xp, name="dice")
        known = None
        if where is not None:
            known = label_weights(None, where, y.shape, xp, name="dice") > 0
            known = known.reshape((batch, -1, count) if regions else (batch, -1))
            bad = bad & known
        bad = bad.reshape(batch, -1).any(-1) & (rows > 0)
        if xp is np and bad.any():
            raise ValueError(
                f"dice: {int(bad.sum())} cases hold labels outside the classes 0..{count - 1} or "
                "NaN outputs; mask missing voxels with where, or correct them"
            )
        sums = _count(predicted, true, known, count, xp)
        if known is not None:
            rows = rows * known.reshape(batch, -1).any(-1)
        return Cases(*sums, rows, bad.sum(), xp.asarray(regions, np.int32))

    return from_batch


def _is_map(x: Any, y: Any) -> bool:
    return x.shape == y.shape and x.dtype.kind in "iub"


def _label_maps(
    x: Any, y: Any, classes: int | None, probabilities: bool, xp: Any
) -> tuple[Any, Any, int, Any]:
    """Return prediction and truth, as label maps or per-class bits, and invalid counts."""
    if y.ndim < 2:
        raise ValueError(f"dice: targets have shape {y.shape}; they must be (batch, *spatial)")
    batch = y.shape[0]
    if classes is not None and _is_map(x, y):
        bad = (x < 0) | (x >= classes) | (y < 0) | (y >= classes)
        return x.reshape(batch, -1), y.reshape(batch, -1), classes, bad.reshape(batch, -1)
    if y.dtype.kind not in "iub" and xp is np and not (y == np.floor(y)).all():
        raise ValueError(
            f"dice: targets of dtype {y.dtype} hold values that are not integer labels{ORDER}"
        )
    if x.shape[:-1] == y.shape and x.shape[-1] >= 2:
        count = x.shape[-1]
        flat = y.reshape(batch, -1)
        bad = (flat < 0) | (flat >= count) | xp.isnan(x).any(-1).reshape(batch, -1)
        return largest(x).reshape(batch, -1), flat, count, bad
    if x.shape == (*y.shape, 1):
        y = y[..., None]
    if x.shape == y.shape and y.ndim >= 3:
        count = x.shape[-1]
        bits = at_least(x, 0.5 if probabilities else 0).reshape(batch, -1, count)
        bad = ((y != 0) & (y != 1)) | xp.isnan(x)
        return bits, (y == 1).reshape(batch, -1, count), count, bad.reshape(batch, -1, count)
    raise ValueError(
        f"dice: outputs have shape {x.shape} and targets {y.shape}; the outputs must be (batch, "
        "*spatial, classes) for integer masks (batch, *spatial) or 0/1 masks of the outputs' "
        f"shape, or integer label maps of the targets' shape with classes= given{ORDER}"
    )


def _count(predicted: Any, true: Any, known: Any, count: int, xp: Any) -> tuple[Any, Any, Any]:
    """Count voxels hit, predicted and true, `(batch, classes)`, as exact integers."""
    kind = np.int64 if xp is np else jnp.int32
    if predicted.ndim == 3:
        if known is not None:
            predicted, true = predicted & known, true & known
        hit, predicted, true = (
            part.sum(1, dtype=kind) for part in (predicted & true, predicted, true)
        )
        return hit, predicted, true
    if xp is np:  # one pass per case through its confusion matrix
        known = np.ones(true.shape, bool) if known is None else known
        tables = [
            np.bincount(t[w].astype(np.int64) * count + p[w], minlength=count**2)[: count**2]
            for t, p, w in zip(true, predicted, _inside(predicted, true, known, count), strict=True)
        ]
        table = np.stack(tables).reshape(-1, count, count)
        return table.diagonal(axis1=1, axis2=2), table.sum(1), table.sum(2)
    columns = []
    for k in range(count):
        p, t = predicted == k, true == k
        if known is not None:
            p, t = p & known, t & known
        columns.append([part.sum(1, dtype=kind) for part in (p & t, p, t)])
    hit, predicted, true = (jnp.stack(part, -1) for part in zip(*columns, strict=True))
    return hit, predicted, true


def _inside(predicted: np.ndarray, true: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Return known voxels with valid labels (padding rows may hold anything)."""
    return known & (true >= 0) & (true < count) & (predicted >= 0) & (predicted < count)


def merge(a: Cases, b: Cases) -> Cases:
    """Concatenate the cases of both, in order."""
    xp = namespace(*a, *b)
    hit, predicted, true, weight = (
        xp.concatenate([xp.asarray(x), xp.asarray(y)]) for x, y in zip(a[:4], b[:4])
    )
    regions = xp.maximum(a.regions, b.regions)
    return Cases(hit, predicted, true, weight, a.invalid + b.invalid, regions)


def seen(cases: Cases, name: str) -> Cases:
    """Return the non-padding cases as float64 counts; raise for invalid labels found in jit."""
    refuse_invalid(cases.invalid, name=name)
    weight = np.asarray(cases.weight, np.float64)
    keep = weight > 0
    hit, predicted, true = (np.asarray(c, np.float64)[keep] for c in cases[:3])
    return Cases(hit, predicted, true, weight[keep], cases.invalid, cases.regions)
