"""A reference case, its data, and the comparison of answers."""

from __future__ import annotations

import csv
import gzip
import io
import math
import operator
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np


class Unsupported(Exception):
    """jaxmed has no counterpart for a case; the message says why."""


class SchemaError(Exception):
    """A case lacks what its kind needs; the message names the field."""


# What a parameter is where a case does not say: the defaults of the tools that made the cases.
DEFAULTS: dict[str, Any] = {
    "alpha": 0.05,
    "alternative": "two.sided",
    "alt": "two.sided",
    "axis": "specificity",
    "a0": 1.0,
    "b0": 1.0,
    "bins": 10,
    "boundary": "",
    "cases": "random",
    "conf_level": 0.95,
    "confidence": "",
    "covariance": "jackknife",
    "delta": 0.0,
    "k_reg": 0,
    "kappa": 1.0,
    "logit_clip": 20.0,
    "modalityB": "NO_MOD",
    "n_bins": 10,
    "n_resamples": 2000,
    "power": 0.8,
    "prevalence": 0.5,
    "prior": [1, 1],
    "prior_precision": 1.0,
    "readers": "random",
    "stratified": True,
    "threshold": 0.5,
    "tolerances": [],
    "type": "two.sample",
}


class Fields(dict):
    """Inputs or parameters of a case: what is absent has its default, or is named.

    `read` collects the names that an adapter asked for.
    """

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.kind, self.read = kind, set()

    def __missing__(self, name: str) -> Any:
        if name in DEFAULTS:
            return DEFAULTS[name]
        given = ", ".join(sorted(self)) or "none"
        raise SchemaError(f"the case has no {self.kind} {name!r} (given: {given})")

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.read.add(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    @property
    def unread(self) -> list[str]:
        """Names that no adapter asked for."""
        return sorted(set(self) - self.read)


class Ignored:
    """Stands in an answer for a value that is not compared, with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


@lru_cache(maxsize=64)
def _table(path: str) -> dict[str, np.ndarray]:
    raw = Path(path).read_bytes()
    text = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode()
    rows = list(csv.reader(io.StringIO(text)))
    columns = {}
    for index, name in enumerate(rows[0]):
        values = [row[index] for row in rows[1:] if row]
        try:
            columns[name] = np.array([np.nan if v in ("", "NA") else float(v) for v in values])
        except ValueError:
            columns[name] = np.array(values)
    return columns


_COMPARISONS = {
    "==": operator.eq, "=": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip


class Case:
    """One case of a file."""

    def __init__(self, file: str, raw: Mapping[str, Any], folder: Path) -> None:
        self.file = file
        self.input = Fields("input", raw["input"])
        # R writes an empty list of parameters as [].
        self.params = Fields("parameter", raw.get("params") or {})
        self.expected = raw["expected"]
        self.command = raw.get("command", "")
        self.rtol, self.atol = raw["rtol"], raw["atol"]
        self.folder = folder

    def path(self, name: str = "file") -> Path:
        return self.folder / self.input[name]

    def table(self, name: str | None = None) -> dict[str, np.ndarray]:
        """Columns of the case's CSV file."""
        return _table(str(self.folder / (name or self.input["file"])))

    def rows(self, table: dict[str, np.ndarray]) -> np.ndarray:
        """The rows that the input's filter keeps: `column==value`, joined by `&` or commas."""
        keep = np.ones(len(next(iter(table.values()))), bool)
        filter_of_rows = (self.input.get("filter") or "").partition(";")[0]  # a remark follows
        for part in re.split(r"[&,]+|\band\b", filter_of_rows):
            if not part.strip():
                continue
            found = re.fullmatch(
                r"\s*(\w+)\s*(==|=|>=|<=|!=|>|<)\s*['\"]?([\w.+-]+)['\"]?\s*", part
            )
            if found is None or found[1] not in table:
                raise SchemaError(f"no reading of the filter {part!r} of {sorted(table)}")
            values = table[found[1]]
            value = float(found[3]) if values.dtype.kind in "fiu" else found[3]
            keep &= _COMPARISONS[found[2]](values, value)
        return keep

    def binary(self, column: str) -> np.ndarray:
        """A column as 0/1: aSAH's outcome is written Good and Poor."""
        values = self.table()[column]
        if values.dtype.kind in "fiu":
            return values.astype(int)
        names = sorted(set(values))
        if len(names) != 2:
            raise Unsupported(f"column {column} has {len(names)} classes")
        return (values == names[1]).astype(int)

    def param(self, name: str, default: Any = None) -> Any:
        return self.params.get(name, default)

    def asks(self, *names: str) -> bool:
        """Whether any of these answers is expected: a case may expect some of its kind's only."""
        return any(name in self.expected for name in names)


def number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str):
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[value.lower()]
    return float(value)


def differences(got: Any, want: Any, rtol: float, atol: float, where: str = "") -> list[str]:
    """Say what differs; an empty list is agreement."""
    if isinstance(got, Ignored):
        return []
    if isinstance(want, Mapping):
        wrong = []
        for key, value in want.items():
            if not isinstance(got, Mapping) or key not in got:
                wrong.append(f"{where}/{key}: no answer (expected {value!r})")
            else:
                wrong += differences(got[key], value, rtol, atol, f"{where}/{key}")
        return wrong
    if isinstance(want, list):
        values = np.asarray(got, dtype=object).tolist() if not isinstance(got, list) else got
        if not isinstance(values, list) or len(values) != len(want):
            return [f"{where}: got {values!r}, expected {len(want)} values"]
        return [
            line
            for i, (a, b) in enumerate(zip(values, want, strict=True))
            for line in differences(a, b, rtol, atol, f"{where}[{i}]")
        ]
    if isinstance(want, bool) or (isinstance(want, str) and want not in ("inf", "-inf")):
        return [] if got == want else [f"{where}: got {got!r}, expected {want!r}"]
    try:
        a, b = number(got), number(want)
    except (TypeError, KeyError):
        return [f"{where}: got {got!r}, expected {want!r}"]
    if math.isnan(a) and math.isnan(b):
        return []
    if math.isinf(b):
        return [] if a == b else [f"{where}: got {a!r}, expected {b!r}"]
    if not abs(a - b) <= atol + rtol * abs(b):
        return [f"{where}: got {a!r}, expected {b!r} (off by {abs(a - b):.3g})"]
    return []
