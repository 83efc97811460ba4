"""t tests of paired differences, and corrected tests for cross-validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import deviation, unit_scale
from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, check_number, finite, group_codes, same_length
from jaxmed.stats.means._clustered import clustered_error
from jaxmed.stats.means._z_tests import effect_test


def _differences(first: ArrayLike, second: ArrayLike | None, minimum: int = 2) -> Floats:
    """Return first - second, or `first` alone as differences."""
    a = finite(first, "first", minimum=minimum)
    if second is None:
        return a
    b = finite(second, "second", minimum=minimum)
    same_length(first=a, second=b)
    return a - b


def paired_t_test(
    first: ArrayLike,
    second: ArrayLike | None = None,
    *,
    alternative: str = "two-sided",
    margin: float = 0.0,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    name: str = "difference of means",
) -> TestResult:
    r"""Compare two means of the same cases.

    .. math:: t = \bar d / (s_d / \sqrt n)

    Not valid for the folds or seeds of cross-validation, which share training data: see
    `corrected_t_test`.

    Args:
        first: (cases,) values of one model, such as each case's Dice; or the differences.
        second: (cases,) values of the other.
        alternative: `two-sided`, `greater`, `less`, `superiority`, `non-inferiority`,
            `equivalence`; the last three need `margin`.
        margin: in the unit of the values.
        level: confidence level of the interval of the difference.
        groups: (cases,) patient of each row: patients' sums are then the units.
        unit: name of the counted unit.
        name: name of the compared quantity.

    Returns:
        The test; Cohen's d_z with its noncentral interval is in `details`.

    Raises:
        ValueError: for fewer than two cases, NaN, or unequal lengths.

    Examples:
        >>> r = paired_t_test([0.9, 0.8, 0.7], [0.8, 0.75, 0.72])
        >>> round(r.statistic, 4), r.df
        (1.2452, 2)
    """
    d = _differences(first, second)
    codes, k = group_codes(groups, d.size)
    if k < 2:
        raise ValueError(f"a t test needs at least 2 units, but there is {k}")
    effect = float(d.mean())
    notes: tuple[str, ...] = ()
    if codes is None:
        sd = deviation(d)
        se = sd / np.sqrt(k)
    else:
        se = clustered_error(d - effect, codes, k)
        sd = se * np.sqrt(k)
        notes = (f"{d.size} rows in {k} groups",)
    # All differences are equal up to rounding: there is no variance to compare with.
    if se <= 1e-14 * np.abs(d).max():
        se = 0.0
        notes += ("all differences are equal: the test has no error to compare with",)
    t, p, interval, side = effect_test(
        effect, se, alternative=alternative, margin=margin, level=level, df=k - 1
    )
    dz = effect / sd if se > 0 else float("nan")
    return TestResult(
        t,
        p,
        effect,
        interval,
        k,
        unit or ("case" if codes is None else "patient"),
        "paired t",
        notes,
        level,
        side,
        df=k - 1,
        details={"se": se, "cohen_dz": dz},
        name=name,
    )


def corrected_t_test(
    first: ArrayLike,
    second: ArrayLike | None = None,
    *,
    ratio: float,
    alternative: str = "two-sided",
    level: float = 0.95,
    unit: str = "fold",
    name: str = "difference of means over folds",
) -> TestResult:
    r"""Compare two models over the folds or repeats of cross-validation (Nadeau and Bengio).

    .. math:: t = \bar d \Big/ \sqrt{s_d^2\,\bigl(\tfrac1J + \tfrac{n_{test}}{n_{train}}\bigr)}

    The training sets overlap, so the folds' differences are correlated: the plain t test rejects
    a true null hypothesis far too often (57% with 10 x 10 folds).

    Args:
        first: (folds,) the metric of one model on each test fold; or the differences.
        second: (folds,) of the other.
        ratio: size of a test fold divided by that of its training set: 1/(k - 1) in k-fold.
        alternative: `two-sided`, `greater` or `less`.
        level: confidence level of the interval.
        unit: name of the unit the values belong to.
        name: name of the compared quantity.

    Returns:
        The test, with J - 1 degrees of freedom.

    Raises:
        ValueError: for fewer than two folds, a ratio of 0 or less, NaN.

    References:
        Nadeau and Bengio (2003), Mach Learn 52:239. Bouckaert and Frank (2004), PAKDD.

    Examples:
        >>> r = corrected_t_test([0.02, 0.01, 0.03, 0.02], ratio=1 / 3)
        >>> round(r.statistic, 4)
        3.2071
    """
    check_number(ratio, "ratio, test size over training size,", above=0)
    d = _differences(first, second)
    effect, j = float(d.mean()), d.size
    se = _corrected_error(d, ratio)
    notes: tuple[str, ...] = ()
    if se <= 1e-14 * np.abs(d).max():
        se, notes = 0.0, ("all folds differ alike: the test has no error to compare with",)
    t, p, interval, side = effect_test(effect, se, alternative=alternative, level=level, df=j - 1)
    return TestResult(
        t,
        p,
        effect,
        interval,
        j,
        unit,
        "corrected resampled t (Nadeau-Bengio)",
        notes,
        level,
        side,
        df=j - 1,
        details={"se": se, "ratio": ratio},
        name=name,
    )


def _corrected_error(d: Floats, ratio: float) -> float:
    """The error of a mean over folds that share training data (Nadeau and Bengio)."""
    scale = unit_scale(d)
    return float(np.sqrt((d / scale).var(ddof=1) * (1 / d.size + ratio))) * scale


def five_by_two_test(
    differences: ArrayLike, *, method: str = "F", level: float = 0.95
) -> TestResult:
    r"""Compare two models by five repeats of two-fold cross-validation.

    Args:
        differences: (5, 2) difference of the metric on each fold.
        method: `F` (Alpaydin, all ten differences) or `t` (Dietterich, the first alone).
        level: confidence level of the interval for `t`.

    Returns:
        The test; `effect` is the mean difference for `F`, the first difference for `t`, which is
        what its statistic and interval are of (`details["mean"]` has the mean of all ten).

    Raises:
        ValueError: for another shape.

    References:
        Dietterich (1998), Neural Comput 10:1895. Alpaydin (1999), Neural Comput 11:1885.

    Examples:
        >>> d = [[0.02, 0.01], [0.01, 0.03], [0.0, 0.02], [0.01, 0.01], [0.03, 0.02]]
        >>> round(five_by_two_test(d).statistic, 3)
        3.4
    """
    d = finite(differences, "differences", ndim=2)
    if d.shape != (5, 2):
        raise ValueError(f"differences must be (5, 2): repeats and folds, but are {d.shape}")
    scale = unit_scale(d)
    effect, d = float(d.mean()), d / scale
    variances = np.sum((d - d.mean(axis=1, keepdims=True)) ** 2, axis=1)
    total = float(variances.sum())
    if total == 0:
        raise ValueError("all pairs of folds agree: there is no variance to test with")
    if method == "F":
        f = float(np.sum(d**2) / (2 * total))
        return TestResult(
            f,
            float(special.fdtrc(10, 5, f)),
            effect,
            None,
            10,
            "fold",
            "5x2cv F (Alpaydin)",
            df=(10, 5),
            name="difference over folds",
        )
    if method != "t":
        raise ValueError(f"method must be 'F' or 't', but is {method!r}")
    first, se = float(d[0, 0]) * scale, float(np.sqrt(total / 5)) * scale
    t, p, interval, _ = effect_test(first, se, alternative="two-sided", level=level, df=5)
    return TestResult(
        t,
        p,
        first,
        interval,
        10,
        "fold",
        "5x2cv t (Dietterich)",
        ("effect and interval are of the first fold's difference, as the test is",),
        level,
        df=5,
        details={"se": se, "mean": effect},
        name="difference over folds",
    )


class BayesComparison(NamedTuple):
    """Posterior probabilities that one model is better, equivalent, or worse."""

    first_better: float
    equivalent: float
    second_better: float


def bayes_correlated_t(
    first: ArrayLike, second: ArrayLike | None = None, *, rope: float, ratio: float
) -> BayesComparison:
    """Return the posterior of the difference of two cross-validated models, by region.

    The posterior is Student's t of the corrected test (Corani and Benavoli 2015).

    Args:
        first: (folds,) metric of one model, higher is better; or the differences.
        second: (folds,) of the other.
        rope: half-width of the region of practical equivalence, in the metric's unit.
        ratio: test size over training size.

    Returns:
        Three probabilities that sum to 1.

    Raises:
        ValueError: for a negative rope, fewer than two folds, or NaN.

    Examples:
        >>> b = bayes_correlated_t([0.02, 0.01, 0.03, 0.02], rope=0.01, ratio=1 / 3)
        >>> 0.8 < b.first_better < 0.99
        True
    """
    if not rope >= 0 or not 0 <= ratio < np.inf:
        raise ValueError(f"rope and ratio must be 0 or more, but are {rope} and {ratio}")
    d = _differences(first, second)
    j = d.size
    centre, scale = float(d.mean()), _corrected_error(d, ratio)
    if scale == 0:
        return BayesComparison(
            float(centre > rope), float(abs(centre) <= rope), float(centre < -rope)
        )
    low = float(special.stdtr(j - 1, (-rope - centre) / scale))
    high = float(special.stdtr(j - 1, -(rope - centre) / scale))
    return BayesComparison(high, 1 - high - low, low)
