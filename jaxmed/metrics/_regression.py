"""Regression metrics: squared and absolute error, coefficient of determination."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmed.metrics._examples import floats, label_weights, namespace
from jaxmed.metrics._metric import Metric, refuse_invalid
from jaxmed.quantities import divide, explained, mean_defined


class Moments(NamedTuple):
    """Weight, error sums, and the targets' mean and squared deviations: `(targets,)` each."""

    weight: Any
    squared: Any
    absolute: Any
    mean: Any
    spread: Any
    invalid: Any


def mse() -> Metric:
    """Mean squared error, in squared target units, averaged over several targets.

    Outputs and targets have the same shape `(batch, ...)` (a last axis of 1 may be left out); with
    two or more axes the last one indexes the targets. NaN without any target.

    Returns:
        A metric with a float value of at least 0.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(mse(), [1.0, 2.0], [1.0, 4.0])
        2.0
    """
    return Metric(
        _from_batch, _merge, lambda a: mean_defined(divide(_checked(a).squared, a.weight, np.nan))
    )


def mae() -> Metric:
    """Mean absolute error, in target units, averaged over several targets (see `mse`).

    Returns:
        A metric with a float value of at least 0.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(mae(), [1.0, 2.0], [1.0, 4.0])
        1.0
    """
    return Metric(
        _from_batch, _merge, lambda a: mean_defined(divide(_checked(a).absolute, a.weight, np.nan))
    )


def r2() -> Metric:
    r"""Coefficient of determination: :math:`1 - \sum (y - x)^2 / \sum (y - \bar y)^2`.

    Averaged over several targets (see `mse`). It is undefined for a constant target: NaN, excluded
    from that mean.

    Returns:
        A metric with a float value of at most 1.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> round(evaluate(r2(), [2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0]), 4)
        0.9486
    """
    return Metric(
        _from_batch,
        _merge,
        lambda a: mean_defined(explained(_checked(a).squared, _deviations(a))),
    )


def _checked(a: Moments) -> Moments:
    refuse_invalid(a.invalid, name="regression")
    return a


def _deviations(a: Moments) -> np.ndarray:
    """Compute squared deviations; rounding error of a constant target counts as 0."""
    spread = np.asarray(a.spread, np.float64)
    scale = np.asarray(a.weight, np.float64) * np.asarray(a.mean, np.float64) ** 2
    return np.where(spread <= 1e-24 * scale, 0.0, spread)


def _from_batch(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    weight: jax.typing.ArrayLike | None = None,
    where: jax.typing.ArrayLike | None = None,
) -> Moments:
    xp = namespace(outputs, targets, weight, where)
    x, y = floats(outputs, xp), floats(targets, xp)
    if (*y.shape, 1) == x.shape:
        y = y[..., None]
    if x.ndim < 1 or x.shape != y.shape:
        raise ValueError(
            f"regression: outputs {x.shape} and targets {y.shape} must have one shape (batch, ...)"
        )
    w = label_weights(weight, where, x.shape, xp, name="regression")
    tasks = x.shape[-1] if x.ndim > 1 else 1
    x, y, w = (a.reshape(-1, tasks) for a in (x, y, w))
    bad = (w > 0) & (xp.isnan(x) | xp.isnan(y))
    if xp is np and bad.any():
        raise ValueError(
            f"regression: {int(bad.sum())} known targets or their outputs are NaN; mask missing "
            "targets with where or weight"
        )
    w = xp.where(bad, 0, w)
    x, y = xp.where(w > 0, x, 0), xp.where(w > 0, y, 0)
    total = w.sum(0)
    mean = (w * y).sum(0) / xp.where(total > 0, total, 1)
    return Moments(
        total,
        (w * (x - y) ** 2).sum(0),
        (w * xp.abs(x - y)).sum(0),
        mean,
        (w * (y - mean) ** 2).sum(0),
        bad.sum().astype(w.dtype),
    )


def _merge(a: Moments, b: Moments) -> Moments:
    """Merge by Chan's update, without differences of large sums of squares."""
    if namespace(*a, *b) is np:
        a, b = (Moments(*(np.asarray(v, np.float64) for v in m)) for m in (a, b))
        xp: Any = np
    else:
        xp = namespace(*a, *b)
    total = a.weight + b.weight
    share = b.weight / xp.where(total > 0, total, 1)
    shift = b.mean - a.mean
    return Moments(
        total,
        a.squared + b.squared,
        a.absolute + b.absolute,
        a.mean + shift * share,
        a.spread + b.spread + shift**2 * a.weight * share,
        a.invalid + b.invalid,
    )
