"""Analysis of variance of pseudovalues (Dorfman, Berbaum and Metz)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from jaxmed.stats.readers._study import ReaderStudy


class PseudovalueAnova(NamedTuple):
    """Dorfman-Berbaum-Metz mean squares, variance components, F, its degrees of freedom and p."""

    mean_squares: dict[str, float]
    components: dict[str, float]
    f: float
    df2: float
    p_value: float


def dbm_anova(study: ReaderStudy) -> PseudovalueAnova:
    """Return the analysis of variance of jackknife pseudovalues (Dorfman-Berbaum-Metz).

    F and its degrees of freedom are those of `reader_test` with jackknife covariances; the
    variance components are what published tables list.

    Args:
        study: fully crossed, of `reader_study`.

    Returns:
        Mean squares (T, R, C, TR, TC, RC, TRC), components, F, degrees of freedom and p-value.

    Raises:
        ValueError: for fewer than two treatments, readers or cases.

    References:
        Dorfman, Berbaum, Metz (1992), Invest Radiol 27:723. Hillis, Berbaum, Metz (2008), Acad
        Radiol 15:647.
    """
    y = study.pseudovalues
    if y is None or min(y.shape) < 2:
        raise ValueError("the analysis needs 2 or more treatments, readers and cases, crossed")
    t, r, c = y.shape
    grand = y.mean()

    def effect(axes: tuple[int, ...]) -> np.ndarray:
        return y.mean(axis=axes, keepdims=True) - grand

    a, b, d = effect((1, 2)), effect((0, 2)), effect((0, 1))
    ab, ad, bd = effect((2,)) - a - b, effect((1,)) - a - d, effect((0,)) - b - d
    abd = y - grand - a - b - d - ab - ad - bd

    def ms(part: np.ndarray, repeats: int, df: int) -> float:
        return float(np.sum(part**2) * repeats / df)

    m = {
        "T": ms(a, r * c, t - 1),
        "R": ms(b, t * c, r - 1),
        "C": ms(d, t * r, c - 1),
        "TR": ms(ab, c, (t - 1) * (r - 1)),
        "TC": ms(ad, r, (t - 1) * (c - 1)),
        "RC": ms(bd, t, (r - 1) * (c - 1)),
        "TRC": ms(abd, 1, (t - 1) * (r - 1) * (c - 1)),
    }
    components = {
        "R": (m["R"] - m["TR"] - m["RC"] + m["TRC"]) / (t * c),
        "C": (m["C"] - m["TC"] - m["RC"] + m["TRC"]) / (t * r),
        "TR": (m["TR"] - m["TRC"]) / c,
        "TC": (m["TC"] - m["TRC"]) / r,
        "RC": (m["RC"] - m["TRC"]) / t,
        "error": m["TRC"],
    }
    denominator = m["TR"] + max(m["TC"] - m["TRC"], 0.0)
    f = m["T"] / denominator
    df2 = denominator**2 / (m["TR"] ** 2 / ((t - 1) * (r - 1)))
    return PseudovalueAnova(m, components, f, df2, float(special.fdtrc(t - 1, df2, f)))
