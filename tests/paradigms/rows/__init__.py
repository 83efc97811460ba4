"""The registry of paradigms: a file a family, each with a dict `ROWS` from a name to a `Row`.

A new paradigm is one line in its family's file, a new family one file here: the matrix
(`test_matrix.py`) and the laws (`test_laws.py`) go over all of them.
"""

from __future__ import annotations

import importlib
import pkgutil

from rows._keys import quick_key
from rows._row import CLASSES, NORMS, SPATIAL, TASKS, Row, Task, Tiny, make_batch, noisy

__all__ = [
    "CLASSES",
    "FAMILIES",
    "NORMS",
    "ROWS",
    "SPATIAL",
    "TASKS",
    "Row",
    "Task",
    "Tiny",
    "make_batch",
    "noisy",
    "quick_key",
]

FAMILIES: dict[str, dict[str, Row]] = {
    module.name: importlib.import_module(f"rows.{module.name}").ROWS
    for module in pkgutil.iter_modules(__path__)
    if not module.name.startswith("_")
}
ROWS: dict[str, Row] = {name: row for rows in FAMILIES.values() for name, row in rows.items()}
assert len(ROWS) == sum(map(len, FAMILIES.values())), "two paradigms have one name"
