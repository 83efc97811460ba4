"""Tests on tables of counts: Cochran's Q, Stuart-Maxwell, Bowker, Pearson's chi-square."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, as_array, finite


def cochran_q_test(outcomes: ArrayLike, *, unit: str = "case") -> TestResult:
    """Compare the success rates of three or more models on the same cases.

    Args:
        outcomes: (cases, models) of 0/1, such as whether each was right.
        unit: name of the counted unit.

    Returns:
        The test, chi-square.

    Raises:
        ValueError: for values other than 0/1 or fewer than two columns.

    References:
        Cochran (1950), Biometrika 37:256.

    Examples:
        >>> round(cochran_q_test([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]]).statistic, 4)
        2.0
    """
    x = finite(outcomes, "outcomes", ndim=2)
    if not np.isin(x, (0, 1)).all() or x.shape[1] < 2:
        raise ValueError(f"outcomes must be (cases, models >= 2) of 0 and 1, but are {x.shape}")
    n, k = x.shape
    rows, columns = x.sum(axis=1), x.sum(axis=0)
    bottom = float(np.sum(rows * (k - rows)))
    if bottom == 0:
        return TestResult(
            0.0,
            1.0,
            None,
            None,
            n,
            unit,
            "Cochran Q",
            ("all models agree on every case",),
            df=k - 1,
        )
    q = float(k * (k - 1) * np.sum((columns - columns.mean()) ** 2) / bottom)
    return TestResult(
        q,
        float(special.chdtrc(k - 1, q)),
        None,
        None,
        n,
        unit,
        "Cochran Q",
        df=k - 1,
        details={"rates": (columns / n).tolist()},
        name="paired rates",
    )


def _square(table: ArrayLike) -> Floats:
    t = finite(table, "table", ndim=2)
    if t.shape[0] != t.shape[1] or t.shape[0] < 2 or t.min() < 0:
        raise ValueError(f"table must be square, 2 x 2 or more, of counts, but is {t.shape}")
    return t


def stuart_maxwell_test(table: ArrayLike, *, unit: str = "case") -> TestResult:
    """Test whether two raters use the classes equally often (marginal homogeneity).

    Args:
        table: (classes, classes) counts of the same cases.
        unit: name of the counted unit.

    Returns:
        The test, chi-square with classes - 1 degrees of freedom; classes never used are left out.

    Raises:
        ValueError: for a table that is not square.

    References:
        Stuart (1955), Biometrika 42:412. Maxwell (1970), Br J Psychiatry 116:651.

    Examples:
        >>> round(stuart_maxwell_test([[20, 10], [5, 15]]).statistic, 4)  # McNemar's
        1.6667
    """
    t = _square(table)
    # A class on which both always agree adds nothing and would make the covariance singular.
    used = (t.sum(axis=0) + t.sum(axis=1) - 2 * np.diag(t)) > 0
    t = t[np.ix_(used, used)]
    k = len(t)
    n = int(as_array(table, "table").sum())
    if k < 2:
        return TestResult(
            0.0, 1.0, None, None, n, unit, "Stuart-Maxwell", ("the two agree on every case",), df=0
        )
    d = (t.sum(axis=1) - t.sum(axis=0))[:-1]
    s = -(t + t.T)
    np.fill_diagonal(s, t.sum(axis=0) + t.sum(axis=1) - 2 * np.diag(t))
    chi2 = float(d @ np.linalg.solve(s[:-1, :-1], d))
    return TestResult(
        chi2,
        float(special.chdtrc(k - 1, chi2)),
        None,
        None,
        n,
        unit,
        "Stuart-Maxwell",
        df=k - 1,
        name="marginal rates",
    )


def bowker_test(table: ArrayLike, *, unit: str = "case") -> TestResult:
    """Test whether disagreements of two raters are symmetric.

    Args:
        table: (classes, classes) counts of the same cases.
        unit: name of the counted unit.

    Returns:
        The test, chi-square, with one degree of freedom per pair of classes.

    Raises:
        ValueError: for a table that is not square.

    References:
        Bowker (1948), JASA 43:572.

    Examples:
        >>> round(bowker_test([[20, 10], [5, 15]]).statistic, 4)
        1.6667
    """
    t = _square(table)
    upper = np.triu_indices(len(t), 1)
    a, b = t[upper], t.T[upper]
    both = a + b > 0
    chi2 = float(np.sum((a[both] - b[both]) ** 2 / (a[both] + b[both])))
    df = len(a)
    notes = () if both.all() else (f"{int((~both).sum())} pairs of classes have no disagreement",)
    return TestResult(
        chi2,
        float(special.chdtrc(df, chi2)),
        None,
        None,
        int(t.sum()),
        unit,
        "Bowker symmetry",
        notes,
        df=df,
        name="symmetry",
    )


def chi_square_test(table: ArrayLike, *, unit: str = "case") -> TestResult:
    """Test whether rows and columns of a table are independent (Pearson, no correction).

    Args:
        table: (rows, columns) counts.
        unit: name of the counted unit.

    Returns:
        The test; `effect` is Cramer's V.

    Raises:
        ValueError: for a table smaller than 2 x 2, with negative counts or an empty line.

    References:
        Pearson (1900). Cramer (1946), Mathematical Methods of Statistics.

    Examples:
        >>> round(chi_square_test([[10, 20], [20, 10]]).statistic, 4)
        6.6667
    """
    t = finite(table, "table", minimum=2, ndim=2)
    if t.shape[1] < 2 or t.min() < 0:
        raise ValueError(f"table must be 2 x 2 or more, of counts, but is {t.shape}")
    if (t.sum(axis=0) == 0).any() or (t.sum(axis=1) == 0).any():
        raise ValueError("a row or column of the table is empty: leave it out")
    n = t.sum()
    expected = np.outer(t.sum(axis=1), t.sum(axis=0)) / n
    chi2 = float(np.sum((t - expected) ** 2 / expected))
    df = (t.shape[0] - 1) * (t.shape[1] - 1)
    notes = ("expected counts below 5: the chi-square law is rough here",) * bool(
        (expected < 5).any()
    )
    effect = float(np.sqrt(chi2 / (n * (min(t.shape) - 1))))
    return TestResult(
        chi2,
        float(special.chdtrc(df, chi2)),
        effect,
        None,
        int(n),
        unit,
        "Pearson chi-square",
        notes,
        df=df,
        name="independence",
    )
