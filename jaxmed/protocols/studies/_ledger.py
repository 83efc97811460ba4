"""A ledger of test sets: when and for what each was used."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed._files import append_line
from jaxmed.data import DataError, Fault


class Opening(NamedTuple):
    """One use of a test set: time, purpose, and digest and number of its cases."""

    when: str
    why: str
    digest: str
    cases: int


class Openings(NamedTuple):
    """All uses of a test set so far, the present one last.

    Attributes:
        count: number of uses.
        openings: the uses.
        notes: a sentence for the report if there is more than one, else empty.
    """

    count: int
    openings: tuple[Opening, ...]
    notes: tuple[str, ...]


def open_test(
    ledger: str | os.PathLike, cases: Sequence[Any], labels: Any = None, *, why: str
) -> Openings:
    """Record the use of a test set, and report how often it has been used.

    A test set is unbiased only the first time: anything changed after looking at it has been
    selected on it. The ledger holds one line per use; a set is identified by its cases and labels,
    in any order, whatever its file name. A set that shares cases with an earlier one is reported.

    Args:
        ledger: a file of JSON lines, created if missing; keep it with the data.
        cases: names of the cases.
        labels: their labels, needed if other cases may have the same names.
        why: the purpose: the model, the command.

    Returns:
        The uses of this set, the present one last.

    Raises:
        DataError: if the ledger cannot be read, or a case is duplicated.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "ledger.jsonl"
        ...     first = open_test(path, ["a", "b"], why="model 1")
        ...     again = open_test(path, ["b", "a"], why="model 2")
        >>> first.notes, again.count
        ((), 2)
    """
    path = Path(ledger)
    names = [str(case) for case in cases]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError.of([Fault(str(path), "unique", f"the case {twice!r} comes twice")])
    marks = _marks(names, labels)
    digest = hashlib.sha256("".join(marks).encode()).hexdigest()[:16]
    before = _read(path)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    opening = Opening(now, why, digest, len(names))
    append_line(path, json.dumps({**opening._asdict(), "marks": marks}))
    same = [Opening(*(r[f] for f in Opening._fields)) for r in before if r["digest"] == digest]
    found = (*same, opening)
    notes = []
    if same:
        told = "; ".join(f"{o.when[:10]} for {o.why}" for o in same[-5:])
        notes.append(
            f"this test set of {len(names)} cases has been opened {len(found)} times (before: "
            f"{told}): what was chosen after the first look was chosen on it, and the numbers are "
            "then too good"
        )
    mine = set(marks)
    shared = {
        r["digest"]: len(mine & set(r["marks"])) for r in before if r["digest"] != digest
    }  # fmt: skip
    overlap = max(shared.values(), default=0)
    if overlap:
        notes.append(f"{overlap} of its cases were in another test set opened before")
    return Openings(len(found), found, tuple(notes))


def _marks(names: Sequence[str], labels: Any) -> list[str]:
    """Compute a short digest of each case with its label, sorted."""
    truth = [""] * len(names) if labels is None else [np.asarray(y).tolist() for y in labels]
    if len(truth) != len(names):
        raise ValueError(f"{len(truth)} labels for {len(names)} cases")
    return sorted(
        hashlib.sha256(json.dumps([name, y]).encode()).hexdigest()[:12]
        for name, y in zip(names, truth)
    )


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    if not path.is_file():
        raise DataError.of([Fault(str(path), "readable", "it is no file")])
    rows = []
    for i, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            row = json.loads(line)
            _ = row["digest"], row["marks"], row["when"], row["why"], row["cases"]
        except (ValueError, KeyError, TypeError):
            raise DataError.of(
                [Fault(str(path), "readable", f"line {i + 1} is not a record of a test set")]
            ) from None
        rows.append(row)
    return rows
