"""What a person has answered: in order, and on disk before the next image is shown."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxmed._csv import csv_text
from jaxmed._files import write_whole
from jaxmed.data._error import fault
from jaxmed.data.tables._table import Table, read_table


class Conflict(ValueError):
    """Raised for an answer that does not fit what was answered before."""


class Progress(NamedTuple):
    """Where the labelling stands.

    Attributes:
        case: position of the image to be labelled, None once all are.
        following: the one after it, None if there is none.
        done: how many of those asked for have a label.
        total: how many are asked for.
        skipped: how many are put off.
        again: whether the image was put off before.
        can_undo: whether there is an answer to take back.
    """

    case: int | None
    following: int | None
    done: int
    total: int
    skipped: int
    again: bool
    can_undo: bool


class Answers:
    """Labels of cases, in the order in which they were given, in a table that is always whole.

    Each change is written before the call returns, by one rename, so that a process that is killed
    loses nothing; another one on the same table goes on where it was. What was put off is kept in a
    table of its own beside it (``labels.skipped.csv``) until it has a label. All methods may be
    called from several threads.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        rows: Mapping[str, Mapping[str, str]],
        classes: Sequence[str],
        order: Sequence[str],
    ):
        """Open the table, or begin it.

        Args:
            path: of the table.
            columns: of the table; ``case`` and ``label`` among them.
            rows: case to its cells but ``label``.
            classes: names of the classes.
            order: the cases to be labelled, in this order.

        Raises:
            DataError: a table with other columns, classes or cases.
        """
        self._path, self._columns, self._rows = path, list(columns), rows
        self._aside = path.with_name(f"{path.stem}.skipped{path.suffix}")
        self._classes = list(classes)
        self._order = list(order)
        self._lock = threading.RLock()
        self._labels = _labels(path, self._columns, rows, self._classes)
        self._skipped = [
            case
            for case in _listed(self._aside)
            if case in set(self._order) and case not in self._labels
        ]
        # What undo takes back: a case that was labelled or put off, the last one last.
        asked = set(self._order)
        self._history = [("label", case) for case in self._labels if case in asked]
        self._front: str | None = None
        self._seen = self._stamps()

    def progress(self) -> Progress:
        """Where the labelling stands."""
        with self._lock:
            put_off = set(self._skipped)
            waiting = [c for c in self._order if c not in self._labels and c not in put_off]
            waiting += [c for c in self._skipped if c not in self._labels]
            if self._front in waiting:
                waiting.remove(self._front)
                waiting.insert(0, self._front)
            places = [self._order.index(case) for case in waiting[:2]]
            return Progress(
                case=places[0] if places else None,
                following=places[1] if len(places) > 1 else None,
                done=len(self._order) - len(waiting),
                total=len(self._order),
                skipped=len(self._skipped),
                again=bool(waiting) and waiting[0] in put_off,
                can_undo=bool(self._history),
            )

    def label(self, case: int, label: str) -> None:
        """Keep a label.

        Raises:
            Conflict: there is no such case or class, or the case has a label.
        """
        with self._lock:
            name = self._name(case)
            if label not in self._classes:
                raise Conflict(f"there is no class {label!r}; there are {', '.join(self._classes)}")
            with self._kept():
                self._labels[name] = label
                self._skipped = [c for c in self._skipped if c != name]
                self._history.append(("label", name))
                self._front = None

    def skip(self, case: int) -> None:
        """Put a case off until all others are labelled.

        Raises:
            Conflict: there is no such case, or it has a label.
        """
        with self._lock:
            name = self._name(case)
            with self._kept():
                self._skipped = [*(c for c in self._skipped if c != name), name]
                self._history.append(("skip", name))
                self._front = None

    def undo(self) -> None:
        """Take the last answer back; its case is shown again.

        Raises:
            Conflict: there is none.
        """
        with self._lock:
            if not self._history:
                raise Conflict("there is no answer to take back")
            with self._kept():
                what, name = self._history.pop()
                if what == "label":
                    self._labels.pop(name, None)
                self._skipped = [c for c in self._skipped if c != name]
                self._front = name

    def _name(self, case: int) -> str:
        if not 0 <= case < len(self._order):
            raise Conflict(f"there is no case {case}; {len(self._order)} are asked for")
        name = self._order[case]
        if name in self._labels:
            raise Conflict("this case has a label already: undo takes the last one back")
        return name

    def _kept(self) -> _Change:
        return _Change(self)

    def _save(self) -> None:
        if self._stamps() != self._seen:
            raise Conflict(
                f"{self._path} was changed by another program: end this one, and start it again"
            )
        rows = [
            [{**self._rows[case], "case": case, "label": label}[c] for c in self._columns]
            for case, label in self._labels.items()
        ]
        if rows or self._path.exists():
            write_whole(self._path, csv_text(self._columns, rows))
        if self._skipped:
            write_whole(self._aside, csv_text(["case"], [[case] for case in self._skipped]))
        else:
            self._aside.unlink(missing_ok=True)
        self._seen = self._stamps()

    def _stamps(self) -> tuple[int, int, int] | None:
        """What changes when somebody else writes the table."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


class _Change:
    """A change that is written, or undone where it cannot be."""

    def __init__(self, answers: Answers):
        self._of = answers
        self._before = (
            dict(answers._labels), list(answers._skipped), list(answers._history), answers._front,
        )  # fmt: skip

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            try:
                self._of._save()
                return
            except BaseException:
                self._restore()
                raise
        self._restore()

    def _restore(self) -> None:
        a = self._of
        a._labels, a._skipped, a._history, a._front = self._before


def _labels(
    path: Path,
    columns: Sequence[str],
    rows: Mapping[str, Mapping[str, str]],
    classes: Sequence[str],
) -> dict[str, str]:
    """Case to label, of a table that was written before."""
    table = _read(path)
    if table is None:
        return {}
    if table.columns != list(columns):
        raise fault(
            path, "table",
            f"its columns are {', '.join(table.columns)}, and labels are written as "
            f"{', '.join(columns)}: name another --out",
        )  # fmt: skip
    found: dict[str, str] = {}
    for i, row in enumerate(table.rows):
        case, label = row["case"], row["label"]
        if case not in rows:
            detail = f"{table.where(i)}: the data have no case {case!r}: name another --out"
            raise fault(path, "table", detail)
        if case in found:
            raise fault(path, "unique", f"{table.where(i)}: case {case!r} is listed twice")
        if label not in classes:
            raise fault(
                path, "label-range",
                f"{table.where(i)}: the label {label!r} of {case!r} is none of the classes "
                f"{', '.join(classes)}",
            )  # fmt: skip
        found[case] = label
    return found


def _listed(path: Path) -> list[str]:
    table = _read(path)
    return [] if table is None else [row["case"] for row in table.rows]


def _read(path: Path) -> Table | None:
    """A table of ours; None if there is none, or it has no rows, as when all were taken back."""
    if not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) < 2:
        return None
    return read_table(path)
