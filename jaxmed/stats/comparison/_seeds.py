"""Variance components of a metric: test cases and training seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import unit_scale
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import as_array, check_level, check_whole, group_codes


def seed_components(
    metric: Callable[..., Any],
    labels: ArrayLike,
    outputs: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
    unit: str | None = None,
    bounds: tuple[float, float] | None = None,
    name: str = "",
) -> Estimate:
    r"""Estimate a metric of a training configuration, separating the variances of cases and seeds.

    Several trainings of one configuration predict the same cases. With :math:`m_s` the metric
    of seed s, the estimate is their mean :math:`\bar m`. Its sampling variance :math:`v_c` is that
    of the bootstrap of cases, with the same draw for all seeds; the variance of seeds :math:`v_s`
    is that of the :math:`m_s`. The interval combines both:

    .. math:: \bar m \pm t_\nu \sqrt{v_c + v_s / S}

    with Satterthwaite's degrees of freedom. Of a metric with ``bounds`` the interval is formed on
    the scale of the logit (of the logarithm, with one bound) by the delta method, so that it stays
    between them, as those of a single AUC or proportion do. It is an interval for the mean over
    trainings; a single future training varies with :math:`v_c + v_s`.

    Args:
        metric: `(labels, outputs) -> number`, or an estimate, whose value is used.
        labels: (cases, ...) truth.
        outputs: (seeds, cases, ...) predictions of each training.
        groups: (cases,) patient of each row: whole patients are drawn.
        level: confidence level.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.
        unit: name of the drawn unit.
        bounds: least and greatest value of the metric, such as ``(0, 1)`` of an AUC; either may be
            infinite. None for an interval on the metric's own scale.
        name: name of the metric, for printing.

    Returns:
        The estimate; `details` has `sampling_sd`, `seed_sd`, `seed_share` of the variance of a
        single training, the `values` of the seeds and the `df`.

    Raises:
        ValueError: for other shapes, fewer than two cases or resamples, a metric undefined on the
            data or on most resamples, or outside of its bounds.

    References:
        Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks, MLSys.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.normal(size=200)
        >>> runs = y + rng.normal(0, 1, 200) + rng.normal(0, 0.2, (6, 1))  # seeds shift all cases
        >>> e = seed_components(lambda t, p: np.mean(p - t), y, runs, n_resamples=200)
        >>> bool(e.details["seed_sd"] > e.details["sampling_sd"])
        True
    """
    check_level(level)
    check_whole(n_resamples, "n_resamples", 2)
    y, x = as_array(labels, "labels"), as_array(outputs, "outputs")
    if x.ndim < 2 or x.shape[1] != len(y):
        raise ValueError(f"outputs must be (seeds, {len(y)}, ...), but are {x.shape}")
    codes, k = group_codes(groups, len(y))
    if k < 2:
        raise ValueError(f"there must be at least 2 units, but is {k}")
    unit_of = np.arange(len(y)) if codes is None else codes

    def values_of(rows: np.ndarray) -> np.ndarray:
        return np.array([_number(metric(y[rows], one[rows])) for one in x])

    values = values_of(np.arange(len(y)))
    if not np.isfinite(values).all():
        raise ValueError(
            f"the metric is not finite for seeds {np.flatnonzero(~np.isfinite(values))}"
        )
    order = np.argsort(unit_of, kind="stable")
    starts = np.searchsorted(unit_of[order], np.arange(k + 1))
    members = [order[a:b] for a, b in itertools.pairwise(starts)]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_resamples):
        rows = np.concatenate([members[i] for i in rng.integers(0, k, k)])
        try:
            drawn.append(values_of(rows).mean())
        except ValueError:  # one class only: left out
            continue
    good = np.array(drawn)[np.isfinite(drawn)] if drawn else np.empty(0)
    if good.size < max(n_resamples / 2, 2):
        raise ValueError(f"the metric is undefined on {n_resamples - good.size} resamples")
    many = len(values)
    scale = unit_scale(values, good)
    sampling = float((good / scale).var(ddof=1))
    between = float((values / scale).var(ddof=1)) if many > 1 else float("nan")
    notes: tuple[str, ...] = ()
    if many == 1:
        notes = ("one seed: its variance is not known, and not in the interval",)
        between_mean, df = 0.0, float(k - 1)
    else:
        between_mean = between / many
        weight = sampling**2 / (k - 1) + between_mean**2 / (many - 1)
        df = (sampling + between_mean) ** 2 / weight if weight > 0 else float(k - 1)
    se = float(np.sqrt(sampling + between_mean)) * scale
    half = float(special.stdtrit(df, 0.5 + level / 2)) * se
    centre = float(values.mean())
    lower, upper, scaled = _within(centre, half, bounds)
    total = sampling + between
    return Estimate(
        centre,
        lower,
        upper,
        level,
        k,
        unit or ("case" if codes is None else "patient"),
        f"t{scaled}, variances of cases (bootstrap, {n_resamples} resamples) and of {many} seeds",
        notes,
        se=se,
        details={
            "sampling_sd": float(np.sqrt(sampling)) * scale,
            "seed_sd": float(np.sqrt(between)) * scale,
            "seed_share": between / total if total > 0 else float("nan"),
            "values": values.tolist(),
            "df": df,
        },
        name=name,
    )


def _within(
    centre: float, half: float, bounds: tuple[float, float] | None
) -> tuple[float, float, str]:
    """The ends of an interval of a half width, kept between bounds, and the scale in words."""
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    if not low < high or not low <= centre <= high:
        raise ValueError(f"the metric is {centre:.6g}, outside of its bounds {bounds}")
    if np.isinf(low) and np.isinf(high):
        return centre - half, centre + half, ""
    if np.isfinite(low) and np.isfinite(high):
        share = (centre - low) / (high - low)
        if not 0 < share < 1:  # where the logit has no value, nor has the interval another side
            return max(centre - half, low), min(centre + half, high), ""
        reach = half / ((high - low) * share * (1 - share))
        ends = special.expit(special.logit(share) + np.array([-reach, reach]))
        lower, upper = (float(low + (high - low) * end) for end in ends)
        return lower, upper, " on the logit scale"
    away, sign = (centre - low, 1) if np.isfinite(low) else (high - centre, -1)
    if away == 0:
        return max(centre - half, low), min(centre + half, high), ""
    ends = away * np.exp(np.array([-1, 1]) * half / away)
    found = sorted(float((low if sign > 0 else high) + sign * end) for end in ends)
    return found[0], found[1], " on the log scale"


def _number(value: Any) -> float:
    return float(getattr(value, "value", value))
