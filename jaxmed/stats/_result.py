"""Result types of the subpackage: estimates and test results, printable and tabular."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from jaxmed._json import plain


def _number(value: float, digits: int = 3) -> str:
    """Format a number for a reader: fixed digits, or scientific where these would show zeros."""
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value != 0 and (abs(value) < 10**-digits or abs(value) >= 1e6):
        return f"{value:.{digits}g}"
    return f"{value:.{digits}f}"


def _p_text(p_value: float) -> str:
    """Format a p-value as journals ask: exact to three digits, or `< 0.001`."""
    if math.isnan(p_value):
        return "p undefined"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


POINT = "the interval is a point, which does not mean that there is no error"
"""The note of an interval without width."""

# Notes that already say it, in words of their method.
_SAID = ("a point", "no error", "no variance", "resamples agree")


def _with_point(notes: tuple[str, ...], lower: float, upper: float) -> tuple[str, ...]:
    """The notes of a result, and :data:`POINT` where its interval has no width but rounding's."""
    if math.isnan(lower) or math.isnan(upper):
        return notes
    largest = max(abs(lower), abs(upper))
    # Of limits that are not finite no difference tells a width.
    wide = lower != upper and (math.isinf(largest) or upper - lower > 1e-13 * largest)
    if wide or any(said in note for note in notes for said in _SAID):
        return notes
    return (*notes, POINT)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval, sample size, method and notes.

    Args:
        value: the point estimate.
        lower: lower limit of the interval.
        upper: upper limit of the interval.
        level: confidence level of the interval, in (0, 1).
        n: number of independent units the interval rests on.
        unit: name of one of these: `case`, `patient`, `lesion`, `reader`, ...
        method: method of the interval, by its name in the literature.
        notes: warnings and limitations to report with the number. One is added to an interval
            without width.
        se: standard error on the scale of `value`, where the method has one.
        details: further numbers (numerator, variance, per-class values, ...).
        name: name of the estimated quantity, used when printed.

    Examples:
        >>> print(Estimate(0.85, 0.74, 0.92, 0.95, 60, "case", "wilson", name="sensitivity"))
        sensitivity 0.850 (95% CI 0.740 to 0.920; n = 60 cases, wilson)
    """

    value: float
    lower: float
    upper: float
    level: float
    n: int
    unit: str
    method: str
    notes: tuple[str, ...] = ()
    se: float | None = None
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", _with_point(self.notes, self.lower, self.upper))

    def __str__(self) -> str:
        units = self.unit if self.n == 1 else _plural(self.unit)
        interval = f"{100 * self.level:g}% CI {_number(self.lower)} to {_number(self.upper)}"
        made = f", {self.method}"
        if math.isnan(self.lower) and math.isnan(self.upper):
            interval, made = "no interval", ""
        text = f"{_number(self.value)} ({interval}; n = {self.n} {units}{made})"
        if self.name:
            text = f"{self.name} {text}"
        return text + "".join(f" [{note}]" for note in self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain Python values, ready for JSON (NaN as None)."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def to_row(self) -> dict[str, str]:
        """Return one row of a table: name, estimate, interval, n, method and notes as text."""
        return {
            "name": self.name,
            "estimate": _number(self.value),
            "interval": f"{_number(self.lower)} to {_number(self.upper)}",
            "level": f"{100 * self.level:g}%",
            "n": f"{self.n} {self.unit if self.n == 1 else _plural(self.unit)}",
            "method": self.method,
            "notes": "; ".join(self.notes),
        }

    @property
    def width(self) -> float:
        """Width of the interval."""
        return self.upper - self.lower


@dataclasses.dataclass(frozen=True)
class TestResult:
    """A test statistic with its p-value and effect.

    Args:
        statistic: the test statistic.
        p_value: probability of a statistic as extreme under the null hypothesis.
        effect: the size of the difference, in the metric's own unit (or None).
        interval: limits of the effect, or None if the test has none.
        n: number of independent units.
        unit: name of one of these.
        method: the test's name in the literature, with its variant.
        notes: warnings and limits. One is added to an interval without width.
        level: confidence level of `interval`.
        alternative: `two-sided`, `greater`, `less`, `non-inferiority`, `equivalence`.
        df: degrees of freedom (a number, or two for F), if the test has them.
        details: further numbers.
        name: name of the compared quantity, used when printed.

    Examples:
        >>> print(TestResult(2.1, 0.036, 0.05, (0.01, 0.09), 120, "case", "paired t"))
        paired t: effect 0.050 (95% CI 0.010 to 0.090), statistic 2.100, p = 0.036, n = 120 cases
    """

    __test__ = False  # not a pytest class

    statistic: float
    p_value: float
    effect: float | None
    interval: tuple[float, float] | None
    n: int
    unit: str
    method: str
    notes: tuple[str, ...] = ()
    level: float = 0.95
    alternative: str = "two-sided"
    df: float | tuple[float, float] | None = None
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.interval is not None:
            object.__setattr__(self, "notes", _with_point(self.notes, *self.interval))

    def __str__(self) -> str:
        parts = []
        if self.effect is not None:
            effect = f"effect {_number(self.effect)}"
            if self.interval is not None:
                low, high = (_number(limit) for limit in self.interval)
                effect += f" ({100 * self.level:g}% CI {low} to {high})"
            parts.append(effect)
        parts.append(f"statistic {_number(self.statistic)}")
        parts.append(_p_text(self.p_value))
        parts.append(f"n = {self.n} {self.unit if self.n == 1 else _plural(self.unit)}")
        if self.alternative != "two-sided":
            parts.append(self.alternative)
        title = f"{self.name}, {self.method}" if self.name else self.method
        return f"{title}: " + ", ".join(parts) + "".join(f" [{note}]" for note in self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain Python values, ready for JSON (NaN as None)."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def to_row(self) -> dict[str, str]:
        """Return one row of a table as text."""
        interval = ""
        if self.interval is not None:
            interval = f"{_number(self.interval[0])} to {_number(self.interval[1])}"
        return {
            "name": self.name,
            "effect": "" if self.effect is None else _number(self.effect),
            "interval": interval,
            "level": f"{100 * self.level:g}%",
            "statistic": _number(self.statistic),
            "p": _p_text(self.p_value).removeprefix("p ").removeprefix("= "),
            "n": f"{self.n} {self.unit if self.n == 1 else _plural(self.unit)}",
            "method": self.method,
            "alternative": self.alternative,
            "notes": "; ".join(self.notes),
        }


def of_one_group(
    value: float,
    bounds: tuple[float, float],
    *,
    rows: int,
    level: float,
    unit: str | None,
    method: str,
    name: str,
    details: Mapping[str, Any] | None = None,
) -> Estimate:
    """The estimate of rows that are all of one group (patient): its interval is the whole range.

    Args:
        value: the point estimate.
        bounds: the range that the quantity may have.
        rows: number of rows.
        level: confidence level.
        unit: name of the group's unit; `patient` by default.
        method: method of the interval that was asked for.
        name: name of the estimated quantity.
        details: further numbers.
    """
    note = f"all {rows} rows are of one group: nothing says how groups differ, no interval"
    return Estimate(
        value,
        *bounds,
        level,
        1,
        unit or "patient",
        method,
        (note,),
        details=details or {},
        name=name,
    )


def _plural(unit: str) -> str:
    """English plural of a unit's name."""
    if unit.endswith("y"):
        return unit[:-1] + "ies"
    return unit if unit.endswith("s") else unit + "s"
