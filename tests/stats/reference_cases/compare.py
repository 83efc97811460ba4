"""A reference case, its data, and the comparison of answers."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np


class Unsupported(Exception):
    """jaxmed has no counterpart for a case; the message says why."""


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


class Case:
    """One case of a file."""

    def __init__(self, file: str, raw: Mapping[str, Any], folder: Path) -> None:
        self.file = file
        self.input = raw["input"]
        # R writes an empty list of parameters as [].
        self.params = raw["params"] or {}
        self.expected = raw["expected"]
        self.command = raw.get("command", "")
        self.rtol, self.atol = raw["rtol"], raw["atol"]
        self.folder = folder

    def path(self, name: str = "file") -> Path:
        return self.folder / self.input[name]

    def table(self, name: str | None = None) -> dict[str, np.ndarray]:
        """Columns of the case's CSV file."""
        return _table(str(self.folder / (name or self.input["file"])))

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
        return self.params.get(name, default) if isinstance(self.params, Mapping) else default


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
    a, b = number(got), number(want)
    if math.isnan(a) and math.isnan(b):
        return []
    if math.isinf(b):
        return [] if a == b else [f"{where}: got {a!r}, expected {b!r}"]
    if not abs(a - b) <= atol + rtol * abs(b):
        return [f"{where}: got {a!r}, expected {b!r} (off by {abs(a - b):.3g})"]
    return []
