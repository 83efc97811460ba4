"""Tests of calibration: Spiegelhalter, Hosmer-Lemeshow, Kolmogorov-Smirnov and Kuiper."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import probabilities


def spiegelhalter_test(labels: ArrayLike, probs: ArrayLike, *, unit: str = "case") -> TestResult:
    r"""Test whether a Brier score is that of calibrated probabilities.

    .. math:: z = \frac{\sum (y_i - p_i)(1 - 2 p_i)}{\sqrt{\sum (1 - 2p_i)^2 p_i (1 - p_i)}}

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class.
        unit: name of the counted unit.

    Returns:
        The test; `effect` is the Brier score minus its expectation under calibration, and
        `details["brier_se"]` the standard error of the Brier score.

    Raises:
        ValueError: for probabilities outside [0, 1], or all 0, 1/2 or 1 (no variance).

    References:
        Spiegelhalter (1986), Stat Med 5:421.

    Examples:
        >>> spiegelhalter_test([0, 1, 1, 0], [0.1, 0.8, 0.7, 0.4]).p_value > 0.3
        True
    """
    positive, p = probabilities(labels, probs)
    lean = 1 - 2 * p
    variance = float(np.sum(lean**2 * p * (1 - p)))
    if variance == 0:
        raise ValueError("all probabilities are 0, 1/2 or 1: the Brier score has no variance")
    gap = float(np.sum((positive - p) * lean))
    z = gap / np.sqrt(variance)
    return TestResult(
        float(z),
        2 * float(special.ndtr(-abs(z))),
        gap / p.size,
        None,
        p.size,
        unit,
        "Spiegelhalter z",
        details={"brier_se": float(((p - positive) ** 2).std(ddof=1) / np.sqrt(p.size))},
        name="calibration",
    )


def hosmer_lemeshow_test(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    groups: int = 10,
    df: int | None = None,
    unit: str = "case",
) -> TestResult:
    r"""Test calibration over groups of increasing probability.

    .. math:: \sum_g \frac{(O_g - E_g)^2}{E_g (1 - E_g / n_g)}

    It depends on the grouping and has little power at small n; read it beside the diagram.

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class.
        groups: number of groups by quantiles of the probability; equal cuts are merged.
        df: degrees of freedom, at least 1; groups - 2 (fitted on these data) if absent. For
            probabilities made on other data give the number of groups.
        unit: name of the counted unit.

    Returns:
        The test, chi-square.

    Raises:
        ValueError: for probabilities outside [0, 1], or fewer than 3 groups whose probabilities are
            not all 0 or 1 (no degrees of freedom are left).

    References:
        Hosmer and Lemeshow (1980), Commun Stat Theory 9:1043.

    Examples:
        >>> p = np.linspace(0.05, 0.95, 40)
        >>> hosmer_lemeshow_test((p > 0.5).astype(int), p).df
        8
    """
    positive, p = probabilities(labels, probs)
    cuts = np.unique(np.quantile(p, np.linspace(0, 1, groups + 1)))
    if cuts.size < 4:
        raise ValueError(f"only {max(cuts.size - 1, 0)} distinct groups: too few to test")
    codes = np.clip(np.searchsorted(cuts, p, "left") - 1, 0, cuts.size - 2)
    n = np.bincount(codes, minlength=cuts.size - 1)
    used = n > 0
    n = n[used]
    observed = np.bincount(codes, positive, cuts.size - 1)[used]
    expected = np.bincount(codes, p, cuts.size - 1)[used]
    spread = expected * (1 - expected / n)
    notes: tuple[str, ...] = ()
    if (spread <= 0).any():
        notes = ("a group's probabilities are all 0 or 1: it was left out",)
    ok = spread > 0
    chi2 = float(np.sum((observed[ok] - expected[ok]) ** 2 / spread[ok]))
    degrees = int(ok.sum()) - 2 if df is None else df
    if not degrees >= 1:
        raise ValueError(
            f"{int(ok.sum())} usable groups leave {degrees} degrees of freedom: too few distinct "
            "probabilities to test; for probabilities made on other data give df="
        )
    return TestResult(
        chi2,
        float(special.chdtrc(degrees, chi2)),
        None,
        None,
        p.size,
        unit,
        f"Hosmer-Lemeshow, {int(used.sum())} groups",
        notes,
        df=degrees,
        details={"groups": int(used.sum())},
        name="calibration",
    )


def cumulative_test(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    kind: str = "ks",
    n_resamples: int = 999,
    seed: int = 0,
    unit: str = "case",
) -> TestResult:
    r"""Test calibration by cumulative differences of outcome and probability, without bins.

    With cases sorted by probability and :math:`G_i = \sum_{j \le i} (y_j - p_j)`, the statistic
    is :math:`\max |G|` (Kolmogorov-Smirnov) or :math:`\max G - \min G` (Kuiper, from 0) over
    :math:`\sqrt{\sum p (1 - p)}`.

    Args:
        labels: (cases,) 0 or 1.
        probs: (cases,) of the positive class. Cases of equal probability enter together.
        kind: `ks` or `kuiper`.
        n_resamples: outcomes drawn from the probabilities, for the p-value.
        seed: seed of these draws.
        unit: name of the counted unit.

    Returns:
        The test.

    Raises:
        ValueError: for probabilities outside [0, 1] or all 0 and 1.

    References:
        Arrieta-Ibarra et al. (2022), JMLR 23:351.

    Examples:
        >>> cumulative_test([0, 1, 0, 1], [0.2, 0.6, 0.4, 0.9], n_resamples=99).p_value > 0.05
        True
    """
    if kind not in ("ks", "kuiper"):
        raise ValueError(f"kind must be 'ks' or 'kuiper', but is {kind!r}")
    positive, p = probabilities(labels, probs)
    order = np.argsort(p, kind="stable")
    q = p[order]
    scale = float(np.sqrt(np.sum(q * (1 - q))))
    if scale == 0:
        raise ValueError("all probabilities are 0 or 1: the test has no variance")
    ends = np.append(q[1:] != q[:-1], True)

    def statistic(outcomes: np.ndarray) -> np.ndarray:
        gaps = np.cumsum(outcomes - q, axis=-1)[..., ends] / scale
        if kind == "ks":
            return np.abs(gaps).max(axis=-1)
        return np.maximum(gaps.max(axis=-1), 0) - np.minimum(gaps.min(axis=-1), 0)

    observed = float(statistic(positive[order]))
    rng = np.random.default_rng(seed)
    hits, left = 0, n_resamples
    while left:
        size = min(left, max(1, 2_000_000 // q.size))
        hits += int((statistic(rng.random((size, q.size)) < q) >= observed - 1e-12).sum())
        left -= size
    return TestResult(
        observed,
        (hits + 1) / (n_resamples + 1),
        None,
        None,
        q.size,
        unit,
        f"cumulative {kind} ({n_resamples} draws)",
        name="calibration",
    )
