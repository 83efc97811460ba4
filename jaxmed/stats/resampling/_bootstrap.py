"""The bootstrap of any statistic: percentile, basic, normal, BCa, studentised, and its schemes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import deviation, unit_scale
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import (
    Floats,
    as_array,
    check_level,
    group_codes,
    quantile,
    same_length,
    spelled,
    unknown,
)
from jaxmed.stats.resampling._resample import resample_weights

_METHODS = ("percentile", "basic", "normal", "bca", "studentised")


class Replicates(NamedTuple):
    """The estimate on the data, its (resamples,) bootstrap values, and how many failed."""

    value: float
    replicates: Floats
    failed: int


def _evaluator(
    statistic: Callable[..., Any], data: tuple[np.ndarray, ...], weighted: bool
) -> Callable[[Floats], Floats]:
    """Return a function from weights (b, n) to values (b,)."""
    if weighted:
        return lambda weights: np.asarray(statistic(*data, weights), dtype=np.float64)

    def plain(weights: Floats) -> Floats:
        if (weights != np.round(weights)).any():
            raise ValueError("fractional weights need a statistic that takes them: weighted=True")
        counts = weights.astype(np.intp)
        rows = np.arange(counts.shape[1])
        values = np.empty(counts.shape[0])
        for i, count in enumerate(counts):
            index = np.repeat(rows, count)
            try:
                values[i] = statistic(*(array[index] for array in data))
            except (ValueError, ZeroDivisionError):  # undefined on this resample: counted
                values[i] = np.nan
        return values

    return plain


def bootstrap_replicates(
    statistic: Callable[..., Any],
    *data: ArrayLike,
    n_resamples: int = 9999,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    scheme: str = "ordinary",
    fraction: float = 0.632,
    weighted: bool = False,
    seed: int = 0,
) -> Replicates:
    """Return the statistic on every resample (see `bootstrap` for the arguments)."""
    arrays = tuple(as_array(array, f"data {i}") for i, array in enumerate(data))
    n = same_length(**{f"data {i}": array for i, array in enumerate(arrays)})
    if n < 2:
        raise ValueError(f"a bootstrap needs at least 2 rows, but there is {n}")
    units = group_codes(groups, n)[1]
    if units < 2:
        raise ValueError(f"a bootstrap needs at least 2 groups, but there is {units}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, but is {n_resamples}")
    evaluate = _evaluator(statistic, arrays, weighted)
    rng = np.random.default_rng(seed)
    chunks = resample_weights(
        rng, n, n_resamples, strata=strata, groups=groups, scheme=scheme, fraction=fraction
    )
    values = np.concatenate([evaluate(weights) for weights in chunks])
    good = np.isfinite(values)
    point = float(evaluate(np.ones((1, n)))[0])
    return Replicates(point, values[good], int((~good).sum()))


def jackknife_values(
    evaluate: Callable[[Floats], Floats], n: int, codes: np.ndarray | None, k: int
) -> Floats:
    """Return the statistic with each unit (row, or group) left out."""
    values = []
    size = max(1, 1_000_000 // n)
    unit = np.arange(n) if codes is None else codes
    for start in range(0, k, size):
        left_out = np.arange(start, min(start + size, k))
        values.append(evaluate((unit[None, :] != left_out[:, None]).astype(np.float64)))
    return np.concatenate(values)


def acceleration(leave_one_out: ArrayLike, strata: ArrayLike | None = None) -> float:
    r"""Return Efron's acceleration from jackknife values.

    .. math:: a = \frac{\sum_i (\bar\theta - \theta_{(i)})^3}
              {6 \{\sum_i (\bar\theta - \theta_{(i)})^2\}^{3/2}}

    Args:
        leave_one_out: (units,) the statistic without each unit.
        strata: (units,) where the sample is stratified: influences are centred and scaled
            inside each stratum.

    Returns:
        The acceleration; 0 where all values agree.

    References:
        Efron (1987), JASA 82:171.

    Examples:
        >>> acceleration([1.0, 1.0, 4.0]) < 0
        True
    """
    values = as_array(leave_one_out, "leave_one_out", np.float64)
    values = values / unit_scale(values)
    layer = np.zeros(values.size, int) if strata is None else as_array(strata, "strata")
    cubes = squares = 0.0
    for stratum in np.unique(layer):
        part = values[layer == stratum]
        influence = (part.size - 1) * (part.mean() - part) / part.size
        cubes += float(np.sum(influence**3))
        squares += float(np.sum(influence**2))
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0


def interval_from_replicates(
    point: float, values: Floats, *, method: str, level: float, accelerate: float = 0.0
) -> tuple[float, float]:
    """Return percentile, basic, normal or BCa limits from bootstrap values."""
    alpha = (1 - level) / 2
    if method == "percentile":
        low, high = np.quantile(values, [alpha, 1 - alpha])
    elif method == "basic":
        high, low = 2 * point - np.quantile(values, [alpha, 1 - alpha])
    elif method == "normal":
        centre, half = 2 * point - values.mean(), quantile(level) * deviation(values)
        low, high = centre - half, centre + half
    elif method == "bca":
        below = np.mean(values < point) + 0.5 * np.mean(values == point)
        below = min(max(below, 0.5 / values.size), 1 - 0.5 / values.size)
        z0 = special.ndtri(below)
        shifted = z0 + special.ndtri(np.array([alpha, 1 - alpha]))
        low, high = np.quantile(values, special.ndtr(z0 + shifted / (1 - accelerate * shifted)))
    else:
        raise unknown("method", method, _METHODS)
    return float(low), float(high)


def bootstrap(
    statistic: Callable[..., Any],
    *data: ArrayLike,
    method: str = "bca",
    level: float = 0.95,
    n_resamples: int = 9999,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    scheme: str = "ordinary",
    fraction: float = 0.632,
    weighted: bool = False,
    standard_error: Callable[..., float] | None = None,
    seed: int = 0,
    unit: str | None = None,
    name: str = "",
) -> Estimate:
    """Estimate any statistic with a bootstrap interval.

    Args:
        statistic: `(*arrays) -> number` of the data's rows, in any order; or with
            `weighted=True`, `(*arrays, weights (b, n)) -> (b,)`, which is vectorised.
        *data: arrays with the same number of rows.
        method: `percentile`, `basic`, `normal`, `bca` or `studentised`.
        level: confidence level.
        n_resamples: number of resamples.
        strata: (rows,) draw inside each stratum.
        groups: (rows,) draw whole groups: the patient where rows are images or lesions.
        scheme: `ordinary`, `bayesian`, `hierarchical` (groups, then rows) or `subsample`
            (without replacement; the spread is rescaled to the full sample).
        fraction: share kept by `subsample`.
        weighted: whether the statistic takes weights.
        standard_error: `(*arrays) -> number`, for `studentised`.
        seed: same seed, same interval.
        unit: name of the drawn unit.
        name: name of the statistic.

    Returns:
        The estimate, with `details["bias"]` and how many resamples were undefined.

    Raises:
        ValueError: for unknown names, fewer than 2 rows or groups, or a statistic undefined on
            the data or on more than half of the resamples.

    References:
        Efron and Tibshirani (1993). Davison and Hinkley (1997). Rubin (1981), Ann Stat 9:130.

    Examples:
        >>> e = bootstrap(np.mean, np.arange(20.0), n_resamples=999)
        >>> e.value, 7 < e.lower < e.upper < 13
        (9.5, True)
    """
    name_of = spelled(method).replace("studentized", "studentised")
    if name_of not in _METHODS:
        raise unknown("method", method, _METHODS)
    check_level(level)
    arrays = tuple(as_array(array, f"data {i}") for i, array in enumerate(data))
    n = len(arrays[0])
    codes, k = group_codes(groups, n)
    if k < 2:
        raise ValueError(f"a bootstrap needs at least 2 groups, but there is {k}")
    if name_of == "studentised":
        if standard_error is None or weighted or scheme != "ordinary":
            raise ValueError("studentised needs standard_error= and a plain statistic")

        def both(*rows: np.ndarray) -> complex:  # one pass for the value and its error
            return complex(statistic(*rows), standard_error(*rows))

        return _studentised(both, arrays, level, n_resamples, strata, groups, seed, unit, name)
    result = bootstrap_replicates(
        statistic,
        *arrays,
        n_resamples=n_resamples,
        strata=strata,
        groups=groups,
        scheme=scheme,
        fraction=fraction,
        weighted=weighted,
        seed=seed,
    )
    point, values = result.value, result.replicates
    if not np.isfinite(point):
        raise ValueError(f"the statistic is {point} on the data: there is nothing to resample")
    if result.failed > n_resamples / 2:
        raise ValueError(f"undefined on {result.failed} of {n_resamples} resamples: too few rows")
    if scheme == "subsample":  # the spread of m of n without replacement is (1/m - 1/n) wide
        kept = max(1, round(fraction * k))
        values = point + (values - point) * np.sqrt(kept / max(k - kept, 1))
    a = 0.0
    if name_of == "bca":
        if scheme not in ("ordinary",):
            raise ValueError(f"bca is for the ordinary scheme; use percentile with {scheme!r}")
        evaluate = _evaluator(statistic, arrays, weighted)
        left_out = jackknife_values(evaluate, n, codes, k)
        a = (
            acceleration(left_out[np.isfinite(left_out)])
            if strata is None
            else acceleration(left_out, _unit_strata(strata, codes, k))
        )
    low, high = interval_from_replicates(point, values, method=name_of, level=level, accelerate=a)
    return _estimate(
        result,
        (low, high),
        values,
        level,
        k,
        codes,
        unit,
        name_of,
        scheme,
        name,
        n_resamples,
        {"acceleration": a} if name_of == "bca" else {},
    )


def _unit_strata(strata: ArrayLike, codes: np.ndarray | None, k: int) -> np.ndarray:
    """Return the stratum of each unit."""
    layer = np.unique(as_array(strata, "strata"), return_inverse=True)[1]
    if codes is None:
        return layer
    units = np.zeros(k, int)
    units[codes] = layer
    return units


def _studentised(
    both: Callable[..., complex],
    arrays: tuple[np.ndarray, ...],
    level: float,
    n_resamples: int,
    strata: ArrayLike | None,
    groups: ArrayLike | None,
    seed: int,
    unit: str | None,
    name: str,
) -> Estimate:
    """Return the bootstrap-t interval: quantiles of (value - point) / its own error."""
    n = len(arrays[0])
    codes, k = group_codes(groups, n)
    whole = both(*arrays)
    point, error = whole.real, whole.imag
    if not error > 0:
        raise ValueError(f"standard_error must be positive on the data, but is {error}")
    rng = np.random.default_rng(seed)
    rows = np.arange(n)
    ratios, values = [], []
    for weights in resample_weights(rng, n, n_resamples, strata=strata, groups=groups):
        for count in weights.astype(np.intp):
            index = np.repeat(rows, count)
            drawn = both(*(array[index] for array in arrays))
            if drawn.imag > 0:
                ratios.append((drawn.real - point) / drawn.imag)
                values.append(drawn.real)
    failed = n_resamples - len(ratios)
    if failed > n_resamples / 2:
        raise ValueError(f"standard_error is not positive on {failed} of {n_resamples} resamples")
    alpha = (1 - level) / 2
    t_low, t_high = np.quantile(ratios, [alpha, 1 - alpha])
    limits = (point - t_high * error, point - t_low * error)
    result = Replicates(point, np.asarray(values), failed)
    return _estimate(
        result,
        limits,
        result.replicates,
        level,
        k,
        codes,
        unit,
        "studentised",
        "ordinary",
        name,
        n_resamples,
        {},
    )


def _estimate(
    result: Replicates,
    limits: tuple[float, float],
    values: Floats,
    level: float,
    k: int,
    codes: np.ndarray | None,
    unit: str | None,
    method: str,
    scheme: str,
    name: str,
    n_resamples: int,
    extra: dict[str, Any],
) -> Estimate:
    notes: tuple[str, ...] = ()
    if result.failed:
        notes += (f"undefined on {result.failed} of {n_resamples} resamples, which were left out",)
    if limits[0] == limits[1]:
        notes += ("all resamples agree: the bootstrap says nothing about the error here",)
    if k < 10:
        noun = "rows" if codes is None else "groups"
        notes += (f"only {k} {noun} to resample: the interval is too narrow",)
    label = method if scheme == "ordinary" else f"{method}, {scheme}"
    return Estimate(
        value=result.value,
        lower=float(limits[0]),
        upper=float(limits[1]),
        level=level,
        n=k,
        unit=unit or ("case" if codes is None else "patient"),
        method=f"{label} bootstrap ({n_resamples} resamples)",
        notes=notes,
        se=deviation(values) if values.size > 1 else None,
        details={"bias": float(result.replicates.mean() - result.value)} | extra,
        name=name,
    )
