"""A ledger of test sets: when each was opened, and for what."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import DataError, Fault


class Opening(NamedTuple):
    """One look at a test set: when, for what, and which cases (their digest and number)."""

    when: str
    why: str
    digest: str
    cases: int


class Openings(NamedTuple):
    """All looks at a test set so far, the present one last.

    Attributes:
        count: number of cases.
        openings: each of them.
        notes: a sentence for the report where there is more than one, else empty.
    """

    count: int
    openings: tuple[Opening, ...]
    notes: tuple[str, ...]


def open_test(
    ledger: str | os.PathLike, cases: Sequence[Any], labels: Any = None, *, why: str
) -> Openings:
    """Record that a test set is opened, and tell how often it has been.

    A test set is what it was only the first time: what is changed after a look at it has been
    chosen on it. The ledger holds a line a look; a set is known by its cases and labels, in any
    order, whatever its file is called. A set that shares cases with one opened before is told too.

    Args:
        ledger: a file of JSON lines, made where it is missing; keep it with the data.
        cases: names of the cases.
        labels: their truth, if the names may be those of other cases elsewhere.
        why: what is measured: the model, the command.

    Returns:
        The looks at this set, the present one last.

    Raises:
        DataError: a ledger that cannot be read, or a case that comes twice.

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
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**opening._asdict(), "marks": marks}) + "\n")
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
    """A short digest of each case with its label, sorted."""
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
    rows = []
    for i, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            row = json.loads(line)
            row["digest"], row["marks"], row["when"], row["why"], row["cases"]
        except (ValueError, KeyError, TypeError):
            raise DataError.of(
                [Fault(str(path), "readable", f"line {i + 1} is no record of a test set")]
            ) from None
        rows.append(row)
    return rows
