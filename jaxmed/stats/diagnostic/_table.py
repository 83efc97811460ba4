"""Statistics of a confusion table: delta method, square-and-add, and table bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed import quantities
from jaxmed.stats._result import Estimate, of_one_group
from jaxmed.stats.checks import (
    ORDER,
    Floats,
    as_array,
    check_level,
    group_codes,
    quantile,
    same_length,
    spelled,
    unknown,
)
from jaxmed.stats.resampling._bootstrap import acceleration, interval_from_replicates
from jaxmed.stats.resampling._resample import resample_weights

# A statistic of tables (..., k, k), rows the truth, columns the prediction.
TableStatistic = Callable[[Any], Any]


def class_codes(
    labels: ArrayLike, predictions: ArrayLike, classes: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Return truth and prediction as codes 0..k-1; (n, k) scores are taken at their largest."""
    truth, guess = as_array(labels, "labels"), as_array(predictions, "predictions")
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if guess.ndim == 2 and guess.shape[1] == 1:
        guess = guess[:, 0]
    if truth.ndim != 1:
        raise ValueError(f"labels must be (cases,), but their shape is {truth.shape}; {ORDER}")
    if guess.ndim == 2:
        if np.isnan(guess.astype(np.float64)).any():
            raise ValueError("predictions hold NaN")
        classes = classes or guess.shape[1]
        guess = quantities.largest(guess)
    if guess.ndim != 1:
        raise ValueError(
            f"predictions must be (cases,) or (cases, classes), but their shape is {guess.shape}"
        )
    if same_length(labels=truth, predictions=guess) == 0:
        raise ValueError("labels are empty")
    codes = []
    for name, array in (("labels", truth), ("predictions", guess)):
        if not np.issubdtype(array.dtype, np.number) and array.dtype != np.bool_:
            raise ValueError(f"{name} must be class numbers, but are of type {array.dtype}")
        whole = array.astype(np.intp, copy=True) if np.isfinite(array).all() else None
        if whole is None or (whole != array).any():
            scores = "for scores of two classes give threshold="
            hint = f"; {scores if name == 'predictions' else ORDER}"
            raise ValueError(f"{name} must be whole class numbers{hint}")
        if whole.min() < 0:
            raise ValueError(f"{name} hold the class {whole.min()}: classes count from 0")
        codes.append(whole)
    k = max(int(codes[0].max()), int(codes[1].max())) + 1
    if classes is not None and k > classes:
        raise ValueError(f"a class {k - 1} is given, but there are {classes} classes")
    return codes[0], codes[1], max(classes or 0, k, 2)


def confusion(
    labels: ArrayLike, predictions: ArrayLike, *, classes: int | None = None
) -> NDArray[np.int64]:
    """Return the confusion table, rows the truth, columns the prediction.

    Args:
        labels: (cases,) class numbers from 0.
        predictions: (cases,) class numbers, or (cases, classes) scores.
        classes: number of classes, needed if some may be absent.

    Returns:
        (classes, classes) counts.

    Raises:
        ValueError: for fractions, negative classes, NaN or unequal lengths.

    Examples:
        >>> confusion([0, 0, 1, 1], [0, 1, 1, 1])
        array([[1, 1],
               [0, 2]])
    """
    truth, guess, k = class_codes(labels, predictions, classes)
    return quantities.tabulate(truth, guess, k)


def delta_se(statistic: TableStatistic, table: ArrayLike) -> float:
    """Return the delta-method error of a statistic of a multinomial table.

    The gradient is taken by a complex step, exact to rounding for any rational formula.
    """
    counts = as_array(table, "table", np.float64)
    n = counts.sum()
    share = counts / n
    step = 1e-30
    gradient = np.empty(counts.size)
    for i in range(counts.size):
        moved = share.ravel().astype(np.complex128)
        moved[i] += 1j * step
        gradient[i] = np.imag(statistic(moved.reshape(counts.shape))) / step
    flat = share.ravel()
    variance = (flat @ gradient**2 - (flat @ gradient) ** 2) / n
    return float(np.sqrt(max(variance, 0.0)))


def square_and_add(
    value: float, parts: list[tuple[float, float, float]], weights: list[float]
) -> tuple[float, float]:
    """Combine the intervals of independent parts into one of their weighted sum.

    Each part is (estimate, lower, upper). Zou and Donner (2008), Stat Med 27:1693.
    """
    down = up = 0.0
    for (estimate, lower, upper), weight in zip(parts, weights, strict=True):
        toward_low = (estimate - lower) if weight > 0 else (upper - estimate)
        toward_high = (upper - estimate) if weight > 0 else (estimate - lower)
        down += (weight * toward_low) ** 2
        up += (weight * toward_high) ** 2
    return value - float(np.sqrt(down)), value + float(np.sqrt(up))


def _tables_by_group(
    truth: NDArray[np.intp], guess: NDArray[np.intp], k: int, codes: NDArray[np.intp], g: int
) -> Floats:
    flat = np.bincount(codes * k * k + truth * k + guess, minlength=g * k * k)
    return flat.reshape(g, k * k).astype(np.float64)


def table_estimate(
    labels: ArrayLike,
    predictions: ArrayLike,
    statistic: TableStatistic,
    *,
    name: str,
    method: str,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    classes: int | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate a statistic of the confusion table.

    With groups, the bootstrap over groups replaces an analytic method.

    Args:
        labels: (cases,) truth.
        predictions: (cases,) or (cases, classes).
        statistic: function of tables (..., k, k), for real and complex entries.
        name: name of the statistic.
        method: `delta` (Wald), `transformed-delta` (on the logit, or Fisher's z where the bounds
            are -1 and 1), `bootstrap` (percentile) or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: name of the counted unit.
        classes: number of classes.
        bounds: the range of the statistic.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The estimate.

    Raises:
        ValueError: for bad input or an unknown method.
    """
    check_level(level)
    chosen = spelled(method)
    if chosen not in ("delta", "transformed-delta", "bootstrap", "bca"):
        raise unknown("method", method, ("delta", "transformed-delta", "bootstrap", "bca"))
    truth, guess, k = class_codes(labels, predictions, classes)
    codes, g = group_codes(groups, truth.size)
    table = quantities.tabulate(truth, guess, k).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(table))
    notes: list[str] = []
    low_end, high_end = bounds
    common = {
        "level": level,
        "n": g,
        "unit": unit or ("case" if codes is None else "patient"),
        "name": name,
        "details": {"table": table.astype(int).tolist()},
    }
    if not np.isfinite(value):
        return Estimate(
            value=float("nan"),
            lower=low_end,
            upper=high_end,
            method=chosen,
            notes=(f"{name} is undefined: a class it needs has no case",),
            **common,
        )
    if codes is not None and g == 1:
        return of_one_group(
            value, bounds, rows=truth.size, level=level, unit=unit, method=chosen, name=name,
            details=common["details"],
        )  # fmt: skip
    if codes is not None and chosen in ("delta", "transformed-delta"):
        chosen = "bootstrap"
    if chosen in ("bootstrap", "bca"):
        rng = np.random.default_rng(seed)
        if codes is None:
            draws = rng.multinomial(int(table.sum()), table.ravel() / table.sum(), n_resamples)
        else:
            by_group = _tables_by_group(truth, guess, k, codes, g)
            chunks = resample_weights(rng, g, n_resamples)
            draws = np.concatenate([weights @ by_group for weights in chunks])
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.asarray(statistic(draws.reshape(-1, k, k).astype(np.float64)))
        good = values[np.isfinite(values)]
        if good.size < n_resamples / 2:
            raise ValueError(f"{name} is undefined on most resamples: too few cases of a class")
        if good.size < n_resamples:
            notes.append(f"undefined on {n_resamples - good.size} resamples, left out")
        a = 0.0
        if chosen == "bca":
            a = _table_acceleration(statistic, table, None if codes is None else by_group)
        low, high = interval_from_replicates(
            value,
            good,
            method="bca" if chosen == "bca" else "percentile",
            level=level,
            accelerate=a,
        )
        label = f"{chosen} ({n_resamples} resamples{', by group' if codes is not None else ''})"
        se = float(good.std(ddof=1))
        if low == high:
            notes.append("all resamples agree: the bootstrap says nothing about the error here")
    else:
        se = delta_se(statistic, table)
        z = quantile(level)
        label = chosen
        inside = low_end < value < high_end
        if chosen == "transformed-delta" and inside:
            unit_value = (value - low_end) / (high_end - low_end)
            half = z * se / (high_end - low_end) / (unit_value * (1 - unit_value))
            limits = special.expit(special.logit(unit_value) + np.array([-half, half]))
            low, high = low_end + (high_end - low_end) * limits
        else:
            low, high = value - z * se, value + z * se
        if se < 1e-12:
            notes.append("variance 0 gives a point, not an interval")
    return Estimate(
        value=value,
        lower=float(low),
        upper=float(high),
        method=label,
        notes=tuple(notes),
        se=se,
        **common,
    )


def _table_acceleration(statistic: TableStatistic, table: Floats, by_group: Floats | None) -> float:
    """Compute the jackknife acceleration; cases of one cell share a leave-one-out value."""
    if by_group is not None:
        left = table.ravel() - by_group
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.asarray(statistic(left.reshape(-1, *table.shape)))
        return acceleration(values[np.isfinite(values)])
    cells = np.flatnonzero(table.ravel())
    left = table.ravel() - np.eye(table.size)[cells]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.asarray(statistic(left.reshape(-1, *table.shape)))
    repeats = table.ravel()[cells].astype(int)
    kept = np.isfinite(values)
    return acceleration(np.repeat(values[kept], repeats[kept]))
