"""Two diagnostic tests on the same cases: their rates, predictive values, likelihood ratios."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import binary_labels, check_level, quantile, same_length, spelled, unknown
from jaxmed.stats.diagnostic._table import delta_se

_QUANTITIES = ("sensitivity", "specificity", "ppv", "npv", "lr-positive", "lr-negative")


def _cube(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike
) -> tuple[NDArray[np.float64], tuple[NDArray[np.bool_], ...]]:
    """Count cases by truth, first and second decision: (2, 2, 2)."""
    d, a, b = binary_labels(labels), binary_labels(first, "first"), binary_labels(second, "second")
    same_length(labels=d, first=a, second=b)
    cube = np.bincount(4 * d + 2 * a + b, minlength=8).reshape(2, 2, 2)
    if cube[0].sum() == 0 or cube[1].sum() == 0:
        raise ValueError("all labels are of one class: this needs both")
    return cube.astype(np.float64), (d, a, b)


def _log_value(cube: Any, quantity: str, which: int) -> Any:
    """Compute the log of one decision's quantity, for real and complex counts."""
    t = cube.sum(axis=2 if which == 0 else 1)  # (truth, decision)
    if quantity == "sensitivity":
        return np.log(t[1, 1] / t[1].sum())
    if quantity == "specificity":
        return np.log(t[0, 0] / t[0].sum())
    if quantity == "ppv":
        return np.log(t[1, 1] / t[:, 1].sum())
    if quantity == "npv":
        return np.log(t[0, 0] / t[:, 0].sum())
    at = 1 if quantity == "lr-positive" else 0
    return np.log(t[1, at] / t[1].sum()) - np.log(t[0, at] / t[0].sum())


def relative_test(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    quantity: str = "sensitivity",
    level: float = 0.95,
    unit: str = "case",
) -> TestResult:
    r"""Compare two diagnostic decisions on the same cases by the ratio of a rate.

    The log of the ratio has the delta-method error of the eight counts. For predictive values
    this is Moskowitz and Pepe's test, for likelihood ratios Gu and Pepe's regression.

    Args:
        labels: (cases,) 0 or 1.
        first: (cases,) 0/1 decisions of one.
        second: (cases,) 0/1 decisions of the other.
        quantity: `sensitivity`, `specificity`, `ppv`, `npv`, `lr-positive` or `lr-negative`.
        level: confidence level of the interval of the ratio.
        unit: name of the counted unit.

    Returns:
        The test; `effect` is the ratio first / second, the statistic its log over its error.

    Raises:
        ValueError: for one class only, or a zero cell that leaves a ratio without a log.

    References:
        Moskowitz and Pepe (2006), Clin Trials 3:272. Gu and Pepe (2009), Biostatistics 10:228.

    Examples:
        >>> d, a, b = [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 1, 1]
        >>> relative_test(d, a, b).effect
        1.5
    """
    name = spelled(quantity)
    if name not in _QUANTITIES:
        raise unknown("quantity", quantity, _QUANTITIES)
    check_level(level)
    cube, _ = _cube(labels, first, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [float(_log_value(cube, name, i)) for i in (0, 1)]
    if not np.isfinite(values).all():
        raise ValueError(f"{name} of {np.exp(values).tolist()}: a zero leaves no ratio to test")
    log_ratio = values[0] - values[1]
    se = delta_se(lambda t: _log_value(t, name, 0) - _log_value(t, name, 1), cube)
    same = se < 1e-12
    z = 0.0 if same else log_ratio / se
    half = quantile(level) * se
    limits = (float(np.exp(log_ratio - half)), float(np.exp(log_ratio + half)))
    return TestResult(
        float(z),
        2 * float(special.ndtr(-abs(z))),
        float(np.exp(log_ratio)),
        limits,
        int(cube.sum()),
        unit,
        f"ratio of {name}, delta method on the log",
        ("the two decide alike: the ratio has no error",) if same else (),
        level,
        details={
            "first": float(np.exp(values[0])),
            "second": float(np.exp(values[1])),
            "se_log": se,
        },
        name=f"ratio of {name}",
    )


def predictive_value_test(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    quantity: str = "ppv",
    method: str = "weighted-score",
    unit: str = "case",
) -> TestResult:
    r"""Compare the predictive values of two decisions on the same cases by a score test.

    Args:
        labels: (cases,) 0 or 1.
        first: (cases,) 0/1 decisions of one.
        second: (cases,) 0/1 decisions of the other.
        quantity: `ppv` or `npv`.
        method: `score` (generalised, Leisenring) or `weighted-score` (Kosinski, which agrees
            with Pearson's chi-square if no case is called by both).
        unit: name of the counted unit.

    Returns:
        The test, chi-square with one degree of freedom; `effect` is first - second.

    Raises:
        ValueError: if one of them calls no case, or for one class only.

    References:
        Leisenring, Alonzo, Pepe (2000), Biometrics 56:345. Kosinski (2013), Stat Med 32:964.

    Examples:
        >>> d, a, b = [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 1, 1]
        >>> round(predictive_value_test(d, a, b).effect, 4)
        0.25
    """
    target, name = spelled(quantity), spelled(method)
    if target not in ("ppv", "npv"):
        raise unknown("quantity", quantity, ("ppv", "npv"))
    if name not in ("score", "weighted-score"):
        raise unknown("method", method, ("score", "weighted-score"))
    _, (d, a, b) = _cube(labels, first, second)
    if target == "npv":  # the same test with truth and calls inverted
        d, a, b = ~d, ~a, ~b
    calls = np.stack([a, b], axis=1).astype(np.float64)
    counts = calls.sum(axis=0)
    if (counts == 0).any():
        raise ValueError(f"one of the two makes no such call: its {target} is undefined")
    values = (calls * d[:, None]).sum(axis=0) / counts
    pooled = float((calls * d[:, None]).sum() / counts.sum())
    share = counts[1] / counts.sum()
    if name == "score":
        # Each case's calls, marked by which of the two made them.
        mark = calls[:, 0] * (0 - share) + calls[:, 1] * (1 - share)
        top = float(np.sum(d * mark)) ** 2
        bottom = float(np.sum((d - pooled) ** 2 * mark**2))
    else:
        both = a & b
        overlap = float(np.sum((d[both] - pooled) ** 2) / counts.sum())
        top = float(values[0] - values[1]) ** 2
        bottom = (pooled * (1 - pooled) - 2 * overlap) * float(np.sum(1 / counts))
    statistic = top / bottom if bottom > 1e-15 else 0.0
    notes = () if bottom > 1e-15 else ("the two call alike: the test has no error to compare",)
    return TestResult(
        statistic,
        float(special.chdtrc(1, statistic)),
        float(values[0] - values[1]),
        None,
        d.size,
        unit,
        f"{target} {name} test",
        notes,
        df=1,
        details={"first": float(values[0]), "second": float(values[1])},
        name=f"difference of {target}",
    )
