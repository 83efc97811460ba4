"""Scans to be registered, and which are pairs: drawn, or listed by a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import DataError, ManifestSource
from jaxmed.data.sources._manifest import open_table
from jaxmed.data.tables._columns import parse_columns
from jaxmed.data.tables._table import TABLES, Table, is_missing, read_table

from ._own import mask_labels, opened

_SIDES = ("fixed", "moving")
_COLUMNS = (*_SIDES, "fixed_mask", "moving_mask", "patient", "split")


class Listed(NamedTuple):
    """Scans, and the pairs of them that a table lists.

    Attributes:
        source: the scans, each once; pairs that share a scan or a patient are one of its groups.
        pairs: (n, 2) positions of fixed and moving scans; None where pairs are to be drawn.
    """

    source: ManifestSource
    pairs: np.ndarray | None


def listed(config: Any) -> Listed:
    """The scans that the settings name, and their pairs if a table lists pairs.

    Raises:
        ValueError: no data, a table of pairs with empty cells.
        DataError: anything malformed.
    """
    given = parse_columns(config.columns)
    table, names = _table_of_pairs(config.data, given)
    if table is None:
        return Listed(
            opened(config, labels=(), mask_labels=mask_labels(config), canonical=True), None
        )
    rows: dict[str, dict[str, Any]] = {}
    whose: dict[str, str] = {}
    pairs = []
    for i, row in enumerate(table.rows):
        cells = {role: row[column] for role, column in names.items()}
        if empty := [role for role, cell in cells.items() if is_missing(cell)]:
            raise table.fault(
                f"{table.where(i)}: {empty[0]} is empty; fill it, or leave the row out"
            )
        files = [str(cells[side]) for side in _SIDES]
        if files[0] == files[1]:
            raise table.fault(f"{table.where(i)}: {files[0]} is fixed and moving at once")
        for side, file in zip(_SIDES, files, strict=True):
            mask = cells.get(f"{side}_mask")
            found = {"image": file, **({"mask": mask} if mask is not None else {})}
            found |= {"split": cells["split"]} if "split" in cells else {}
            if rows.setdefault(file, found) != found:
                raise table.fault(
                    f"{table.where(i)}: {file} has another mask or split than in an earlier row"
                )
        _join(whose, [*files, *([f"patient {cells['patient']}"] if "patient" in cells else [])])
        pairs.append(files)
    order = {file: i for i, file in enumerate(rows)}
    scans = [{**row, "patient": _root(whose, file)} for file, row in rows.items()]
    source, faults = open_table(
        Table(table.path, scans, decimal_comma=False, first=1), root=table.path.parent,
        labels=(), mask_labels=mask_labels(config), canonical=True,
    )  # fmt: skip
    if faults or source is None:
        raise DataError.of(faults)
    notes = (*source.notes, "Pairs that share a scan or a patient are on one side.")
    source = dataclasses.replace(source, notes=notes)
    return Listed(source, np.array([[order[a], order[b]] for a, b in pairs]))


def held_pairs(
    source: ManifestSource, which: Sequence[int], patients: str, seed: int
) -> list[tuple[int, int]]:
    """Pairs of scans that no training has seen, each scan in one; of three or fewer all pairs.

    Raises:
        ValueError: no pair can be made.
    """
    rng = np.random.default_rng(seed)
    groups = source.groups or source.case_ids
    by_patient: dict[str, list[int]] = {}
    for i in rng.permutation(np.asarray(which)):
        by_patient.setdefault(groups[int(i)], []).append(int(i))
    if patients == "same":
        found = [p for scans in by_patient.values() for p in _in_twos(sorted(scans))]
    else:
        one = [scans[0] for scans in by_patient.values()]
        few = one if len(one) > 1 or patients == "different" else [*map(int, which)]
        found = _in_twos(few) if len(few) > 3 else [(a, b) for a in few for b in few if a != b]
    if not found:
        raise ValueError(
            f"{source.name}: of {len(which)} scans that are held out no pair can be made "
            f"(--patients {patients}): give more scans, or a larger --held-out"
        )
    return found


def clusters(source: ManifestSource, pairs: Sequence[tuple[int, int]]) -> list[str] | None:
    """What of the pairs hangs together by a scan or a patient; None if nothing does."""
    into: dict[str, str] = {}
    names = [
        source.case_ids[i] if source.groups is None else source.groups[i]
        for i in range(len(source))
    ]
    for pair in pairs:
        _join(into, [names[i] for i in pair])
    found = [_root(into, names[a]) for a, _ in pairs]
    return found if len({*found}) < len(found) else None


def _table_of_pairs(
    data: Path | None, given: Mapping[str, str]
) -> tuple[Table | None, dict[str, str]]:
    """The table that lists pairs, and its columns by role; None if it lists none."""
    if data is None or not data.exists():
        return None, {}
    tables = [data] if data.is_file() else sorted(data.iterdir())
    for path in tables:
        if path.suffix.lower() not in TABLES:
            continue
        table = read_table(path)
        plain = {column.strip().casefold(): column for column in table.columns}
        found = {role: given.get(role, plain.get(role)) for role in _COLUMNS}
        names = {role: column for role, column in found.items() if column is not None}
        if not {*_SIDES} <= names.keys():
            continue
        if missing := [c for c in names.values() if c not in table.columns]:
            raise table.fault(f"there is no column {missing[0]!r}; there are {table.columns}")
        if ("fixed_mask" in names) != ("moving_mask" in names):
            raise table.fault("masks are of both scans: columns fixed_mask and moving_mask")
        return table, names
    return None, {}


def _root(into: Mapping[str, str], name: str) -> str:
    while into.get(name, name) != name:
        name = into[name]
    return name


def _join(into: dict[str, str], names: Sequence[str]) -> None:
    first = _root(into, names[0])
    for name in names:
        into[_root(into, name)] = first
    into[first] = first


def _in_twos(scans: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(scans[::2], scans[1::2], strict=False))
