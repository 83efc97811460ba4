"""Reading of a batch by the classification metrics: task inference and missing labels.

Inside `jit` the arithmetic is JAX's, in float32; outside it is NumPy's, in float64, and invalid
input raises at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.quantities import second_is_largest

ORDER = "; the order is (outputs, targets)"
"""The end of a message about arguments that may have been swapped."""


class Examples(NamedTuple):
    """A batch, flattened to n labels.

    Attributes:
        outputs: `(n, classes)` of a multi-class task of 3 or more, else `(n, tasks)`: one score
            for the positive class of each binary task (one task: binary).
        labels: int `(n,)` of a multi-class task, else 0/1 `(n, tasks)`. 0 where unknown.
        weight: weights of the labels' shape; 0 where unknown.
        invalid: the number of known labels that are outside the classes or have NaN outputs.
        xp: numpy or jax.numpy.
        second: for two scores per label, whether the second is the largest, `(n, 1)`; else None.
    """

    outputs: Any
    labels: Any
    weight: Any
    invalid: Any
    xp: ModuleType
    second: Any = None

    @property
    def multiclass(self) -> bool:
        """Whether the task has three or more classes."""
        return self.labels.ndim == 1


def namespace(*arrays: Any) -> ModuleType:
    """Return jax.numpy inside jit, numpy outside."""
    return jnp if any(isinstance(a, Tracer) for a in arrays) else np


def floats(x: Any, xp: ModuleType) -> Any:
    """Convert to float64 on the host, float32 inside jit."""
    return np.asarray(x).astype(np.float64) if xp is np else jnp.asarray(x).astype(jnp.float32)


def label_weights(
    weight: Any, where: Any, shape: Sequence[int], xp: ModuleType, *, name: str
) -> Any:
    """Compute `weight * where` for labels of `shape`, each aligned at the batch axis; None is 1."""
    total = xp.ones(tuple(shape), np.float64 if xp is np else jnp.float32)
    for given, title in ((weight, "weight"), (where, "where")):
        if given is None:
            continue
        w = floats(given, xp)
        padded = w.shape + (1,) * (len(shape) - w.ndim)
        if len(padded) == len(shape) + 1 and padded[-1] == 1:
            padded = padded[:-1]
        fits = len(padded) == len(shape) and all(
            have in (1, want) for have, want in zip(padded, shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{name}: {title} has shape {w.shape}; it must broadcast, aligned at the batch "
                f"axis, to the labels' shape {tuple(shape)}"
            )
        if xp is np and not (w >= 0).all():
            raise ValueError(f"{name}: {title} holds a negative or NaN value; the rule is >= 0")
        total = total * w.reshape(padded)
    return total


def read(
    outputs: Any, targets: Any, weight: Any, where: Any, *, name: str, probabilities: bool
) -> Examples:
    """Infer the task from the shapes, flatten, and drop unknown labels.

    Args:
        outputs: `(batch, *spatial, classes)` for integer labels `(batch, *spatial)`; of the
            labels' shape for binary tasks, the last axis being the tasks; `(batch,)` or
            `(batch, 1)` for one.
        targets: integer labels, or 0/1.
        weight: `(batch,)`.
        where: known labels.
        name: name of the metric, for its errors.
        probabilities: outputs are probabilities; two classes give the second one's probability
            instead of the logit difference.
    """
    xp = namespace(outputs, targets, weight, where)
    x, y = floats(outputs, xp), xp.asarray(targets)
    if xp is jnp and y.dtype.kind == "f" and xp.asarray(outputs).dtype.kind in "iub":
        raise ValueError(f"{name}: outputs are integers and targets are not{ORDER}")
    if x.ndim >= 2 and x.shape[-1] >= 2 and y.shape == x.shape[:-1]:
        classes = x.shape[-1]
    elif x.ndim >= 1 and (y.shape == x.shape or (*y.shape, 1) == x.shape):
        classes = 0
    else:
        raise ValueError(
            f"{name}: outputs have shape {x.shape} and targets {y.shape}; the targets must be "
            "integer labels of the outputs' shape without the last axis, or 0/1 of the outputs' "
            f"shape (a last axis of 1 may be left out){ORDER}"
        )
    w = label_weights(weight, where, y.shape, xp, name=name)
    value = floats(y, xp)
    top = max(classes, 2)
    bad_label = (w > 0) & ~((value >= 0) & (value < top) & (value == xp.floor(value)))
    second = None
    if classes == 2:
        second = second_is_largest(x).reshape(-1, 1)
    nan = xp.isnan(x)
    if classes:
        nan = nan.any(-1, keepdims=True)
    bad_output = (w > 0) & nan.reshape(y.shape)
    if classes == 2:
        x = x[..., 1:] if probabilities else x[..., 1:] - x[..., :1]
    if xp is np:
        if bad_label.any():
            wrong = np.unique(value[bad_label])[:5]
            raise ValueError(
                f"{name}: label {', '.join(f'{v:g}' for v in wrong)} is outside the classes "
                f"0..{top - 1}; mask missing labels with where or weight{ORDER}"
            )
        if bad_output.any():
            raise ValueError(f"{name}: {int(bad_output.sum())} of the outputs are NaN")
    invalid = (bad_label | bad_output).sum()
    w = xp.where(bad_label | bad_output, 0, w)
    labels = xp.where(w > 0, value, 0).astype(np.int32)
    x = xp.where(nan, 0, x)
    if classes > 2:
        return Examples(x.reshape(-1, classes), labels.reshape(-1), w.reshape(-1), invalid, xp)
    tasks = y.shape[-1] if classes == 0 and y.ndim >= 2 and y.shape == x.shape else 1
    shape = (-1, tasks)
    return Examples(x.reshape(shape), labels.reshape(shape), w.reshape(shape), invalid, xp, second)
