"""Several tests at once: adjusted p-values and combined p-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats.checks import Floats, as_array, spelled, unknown

_ALIASES = {
    "bh": "benjamini-hochberg",
    "by": "benjamini-yekutieli",
    "fdr": "benjamini-hochberg",
    "none": "none",
}
METHODS = (
    "none",
    "bonferroni",
    "sidak",
    "holm",
    "holm-sidak",
    "hochberg",
    "hommel",
    "benjamini-hochberg",
    "benjamini-yekutieli",
)


def _p_values(p_values: ArrayLike) -> Floats:
    p = as_array(p_values, "p_values", np.float64)
    if p.ndim != 1 or p.size == 0:
        raise ValueError(f"p-values must be (tests,), but their shape is {p.shape}")
    if np.isnan(p).any() or p.min() < 0 or p.max() > 1:
        raise ValueError("p-values must lie in [0, 1] and not be NaN")
    return p


def _hommel(p: Floats) -> Floats:
    """Hommel's procedure on sorted p-values (Wright's algorithm)."""
    n = p.size
    index = np.arange(1, n + 1)
    best = np.full(n, np.min(n * p / index))
    result = best.copy()
    for m in range(n - 1, 1, -1):
        first = np.arange(n - m + 1)
        rest = np.arange(n - m + 1, n)
        least = np.min(m * p[rest] / np.arange(2, m + 1))
        best[first] = np.minimum(m * p[first], least)
        best[rest] = best[n - m]
        result = np.maximum(result, best)
    return np.maximum(result, p)


def adjust_p_values(p_values: ArrayLike, *, method: str = "holm") -> Floats:
    """Return p-values adjusted for the number of tests: reject where they are at most alpha.

    Args:
        p_values: (tests,).
        method: family-wise error: `bonferroni`, `holm` (any dependence), `sidak`, `holm-sidak`,
            `hochberg`, `hommel` (independence or positive dependence); false discovery rate:
            `benjamini-hochberg` (`bh`), `benjamini-yekutieli` (`by`, any dependence); or `none`.

    Returns:
        (tests,) adjusted p-values, in the order given.

    Raises:
        ValueError: for p-values outside [0, 1] or an unknown method.

    References:
        Holm (1979). Hochberg (1988). Hommel (1988). Benjamini and Hochberg (1995). Benjamini and
        Yekutieli (2001). Wright (1992), Biometrics 48:1005.

    Examples:
        >>> adjust_p_values([0.01, 0.04, 0.03], method="holm")
        array([0.03, 0.06, 0.06])
    """
    name = spelled(method)
    name = _ALIASES.get(name, name)
    if name not in METHODS:
        raise unknown("method", method, METHODS)
    p = _p_values(p_values)
    n = p.size
    order = np.argsort(p, kind="stable")
    s = p[order]
    left = np.arange(n, 0, -1)
    if name == "none":
        out = s
    elif name == "bonferroni":
        out = n * s
    elif name == "sidak":
        out = -np.expm1(n * np.log1p(-np.minimum(s, 1 - 1e-300)))
    elif name == "holm":
        out = np.maximum.accumulate(left * s)
    elif name == "holm-sidak":
        with np.errstate(divide="ignore"):
            out = np.maximum.accumulate(-np.expm1(left * np.log1p(-s)))
    elif name == "hochberg":
        out = np.minimum.accumulate((left * s)[::-1])[::-1]
    elif name == "hommel":
        out = _hommel(s)
    else:
        factor = np.sum(1 / np.arange(1, n + 1)) if name == "benjamini-yekutieli" else 1.0
        out = np.minimum.accumulate((factor * n / np.arange(1, n + 1) * s)[::-1])[::-1]
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(out, 1.0)
    return adjusted


def combine_p_values(p_values: ArrayLike, *, method: str = "fisher") -> float:
    r"""Combine several p-values of the same hypothesis into one.

    Args:
        p_values: (tests,).
        method: `fisher` (independent tests, :math:`-2 \sum \log p`) or `cauchy` (any dependence).

    Returns:
        The combined p-value.

    Raises:
        ValueError: for p-values outside [0, 1] or an unknown method.

    References:
        Fisher (1932). Liu and Xie (2020), JASA 115:393.

    Examples:
        >>> round(combine_p_values([0.01, 0.2]), 6)
        0.014429
    """
    p = _p_values(p_values)
    name = spelled(method)
    if name == "fisher":
        if (p == 0).any():
            return 0.0
        return float(special.chdtrc(2 * p.size, -2 * np.log(p).sum()))
    if name == "cauchy":
        if p.min() == 0 and p.max() == 1:
            raise ValueError("cauchy cannot combine p-values of exactly 0 and exactly 1")
        return float(0.5 - np.arctan(np.mean(np.tan((0.5 - p) * np.pi))) / np.pi)
    raise unknown("method", method, ("fisher", "cauchy"))
