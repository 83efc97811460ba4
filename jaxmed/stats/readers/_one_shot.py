"""Gallas' one-shot variance of a reader-averaged AUC, by U-statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, as_array, binary_labels, check_level, spelled, unknown


def _kernels(positive: np.ndarray, ratings: Floats) -> Floats:
    """Return whether each positive beats each negative, (readers, positives, negatives)."""
    high, low = ratings[:, positive], ratings[:, ~positive]
    gap = high[:, :, None] - low[:, None, :]
    return (gap > 0) + 0.5 * (gap == 0)


def one_shot_variance(kernels: Floats, *, unbiased: bool = True) -> tuple[float, float]:
    """Return the variance of the mean of kernels (readers, positives, negatives), and its df.

    The mean of products of two kernels depends on whether they share the positive, the negative
    and the reader. The variance is a weighted sum of these eight means.

    Args:
        kernels: (readers, positives, negatives), or differences of two treatments' kernels.
        unbiased: take means over different indices (U-statistics) or over all (V-statistics,
            never negative).

    Returns:
        The variance, and Satterthwaite degrees of freedom by readers, positives and negatives.

    Raises:
        ValueError: for fewer than two readers, positives or negatives.
    """
    r, n1, n0 = kernels.shape
    if min(r, n1, n0) < 2:
        raise ValueError(f"needs 2 readers, positives and negatives, but has {r}, {n1}, {n0}")
    flat = kernels.reshape(r, -1)
    rows, columns, sums = kernels.sum(axis=2), kernels.sum(axis=1), flat.sum(axis=1)
    pair, row, column = flat @ flat.T, rows @ rows.T, columns @ columns.T
    every = np.outer(sums, sums)
    if unbiased:
        means = [
            pair / (n1 * n0),
            (row - pair) / (n1 * n0 * (n0 - 1)),
            (column - pair) / (n0 * n1 * (n1 - 1)),
            (every - row - column + pair) / (n1 * (n1 - 1) * n0 * (n0 - 1)),
        ]
        other = ~np.eye(r, dtype=bool)
    else:
        means = [
            pair / (n1 * n0),
            row / (n1 * n0**2),
            column / (n0 * n1**2),
            every / (n1 * n0) ** 2,
        ]
        other = np.ones((r, r), dtype=bool)
    weights = np.array([1.0, n0 - 1, n1 - 1, (n1 - 1) * (n0 - 1)]) / (n1 * n0)
    same = sum(w * np.diag(m).mean() for w, m in zip(weights, means, strict=True)) / r
    apart = sum(w * m[other].mean() for w, m in zip(weights, means, strict=True)) * (r - 1) / r
    variance = same + apart - means[3][other].mean()
    # Each factor's share: the variance of the averages over the two others.
    shares = [
        (kernels.mean(axis=(1, 2)).var(ddof=1) / r, r),
        (kernels.mean(axis=(0, 2)).var(ddof=1) / n1, n1),
        (kernels.mean(axis=(0, 1)).var(ddof=1) / n0, n0),
    ]
    bottom = sum(s**2 / (n - 1) for s, n in shares)
    df = float(variance**2 / bottom) if bottom > 0 else float("inf")
    return float(variance), df


def one_shot_test(
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike | None = None,
    *,
    method: str = "unbiased",
    level: float = 0.95,
    truncate: bool = False,
) -> TestResult:
    r"""Test reader-averaged AUCs over random readers and cases (Gallas).

    Args:
        truth: (cases,) 0 or 1.
        first: (readers, cases) ratings under one treatment, fully crossed.
        second: (readers, cases) ratings under the other; without it the AUC is compared with .5.
        method: `unbiased` (U-statistics) or `v-statistics` (never negative).
        level: confidence level of the interval.
        truncate: truncate the degrees of freedom to an integer, as iMRMC does.

    Returns:
        The test by Student's t; `effect` is the AUC or the difference. `details` has the normal
        interval and p-value as well.

    Raises:
        ValueError: for other shapes, NaN, or a negative variance (take `v-statistics`).

    References:
        Gallas (2006), Acad Radiol 13:353. Gallas et al. (2009), Commun Stat Theory 38:2586.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 2
        >>> a = y + rng.normal(size=(4, 60))
        >>> 0.6 < one_shot_test(y, a).effect < 0.9
        True
    """
    name = spelled(method)
    if name not in ("unbiased", "v-statistics"):
        raise unknown("method", method, ("unbiased", "v-statistics"))
    check_level(level)
    positive = binary_labels(truth, "truth")
    arrays = []
    for label, given in (("first", first), ("second", second)):
        if given is None:
            continue
        x = as_array(given, label, np.float64)
        if x.ndim != 2 or x.shape[1] != positive.size:
            raise ValueError(f"{label} must be (readers, {positive.size} cases), but is {x.shape}")
        if np.isnan(x).any():
            raise ValueError(f"{label} holds NaN: the design must be fully crossed")
        arrays.append(_kernels(positive, x))
    if len(arrays) == 2 and arrays[0].shape != arrays[1].shape:
        raise ValueError(f"readers differ: {arrays[0].shape[0]} and {arrays[1].shape[0]}")
    kernels = arrays[0] - arrays[1] if len(arrays) == 2 else arrays[0]
    variance, df = one_shot_variance(kernels, unbiased=name == "unbiased")
    if variance < 0:
        raise ValueError("the unbiased variance is negative here: use method='v-statistics'")
    areas = [float(k.mean()) for k in arrays]
    spreads = [one_shot_variance(k, unbiased=name == "unbiased")[0] for k in arrays]
    effect = float(kernels.mean())
    null = 0.0 if len(arrays) == 2 else 0.5
    se = float(np.sqrt(variance))
    t = (effect - null) / se if se > 0 else 0.0
    used = float(int(df)) if truncate and np.isfinite(df) else df
    q, z = float(special.stdtrit(used, 0.5 + level / 2)), float(special.ndtri(0.5 + level / 2))
    return TestResult(
        t,
        2 * float(special.stdtr(used, -abs(t))),
        effect,
        (effect - q * se, effect + q * se),
        kernels.shape[0],
        "reader",
        f"one-shot {name}",
        level=level,
        df=df,
        details={
            "auc": areas,
            "variances": spreads,
            "variance": variance,
            "se": se,
            "p_normal": 2 * float(special.ndtr(-abs(t))),
            "normal_interval": (effect - z * se, effect + z * se),
            "positives": int(positive.sum()),
            "negatives": int((~positive).sum()),
        },
        name="reader-averaged AUC",
    )
