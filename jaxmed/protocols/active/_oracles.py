"""Oracles of active learning: tables of labels, and persons who fill them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxmed._csv import csv_text
from jaxmed._files import write_whole
from jaxmed.data.tables._table import read_table
from jaxmed.protocols.active._units import Rows


class LabelsAwaited(RuntimeError):
    """Raised by :func:`person_oracle` while cases that are asked for have no label.

    Attributes:
        cases: their names, in the order in which they are asked for.
    """

    def __init__(self, message: str, cases: Sequence[str]):
        super().__init__(message)
        self.cases = tuple(cases)


def table_oracle(
    answers: Mapping[str, int], cases: Sequence[str]
) -> Callable[[Rows], NDArray[np.int64]]:
    """An oracle that looks labels up by the names of cases.

    Args:
        answers: case to class, such as a table's column of one's own labels.
        cases: the names, in the order of the positions that are asked for.

    Returns:
        The oracle. It raises KeyError with the names of the cases that have no label yet: add them
        and make the same call again.
    """

    def ask(rows: Rows) -> NDArray[np.int64]:
        wanted = [str(cases[int(i)]) for i in rows]
        if missing := [name for name in wanted if name not in answers]:
            raise KeyError(f"no label yet of {len(missing)} cases that are asked for: {missing}")
        return np.array([answers[name] for name in wanted])

    return ask


def person_oracle(
    labels: str | Path,
    cases: Sequence[str],
    classes: Sequence[str],
    *,
    ask: str | Path,
    data: str | Path = "DATA",
    wait: float | None = None,
) -> Callable[[Rows], NDArray[np.int64]]:
    """An oracle that is a person: what is asked for is written down, and answered in the browser.

    ``jaxmed label DATA --ask ASK --out LABELS --classes ...`` shows the images that are asked for
    and keeps the answers; the same call of :func:`active_rounds` then goes on. Any other program
    that writes such a table will do.

    Args:
        labels: the table of answers, a CSV with the columns ``case`` and ``label``; all rounds
            write into the same one. It need not exist yet.
        cases: the names, in the order of the positions that are asked for.
        classes: names of the classes in their order, as ``label`` spells them.
        ask: the table in which the cases without a label are listed, in the order in which the
            acquisition asks for them.
        data: the images, for the command that the error tells.
        wait: seconds between two looks at the table, to go on by itself as soon as all are
            answered. By default the oracle does not wait.

    Returns:
        The oracle. Unless it waits, it raises :class:`LabelsAwaited` while labels are missing.

    Raises:
        ValueError: for fewer than two classes, or ``wait`` that is not positive.
    """
    names = [str(case) for case in cases]
    spelled = [str(name) for name in classes]
    if len(set(spelled)) < max(2, len(spelled)):
        raise ValueError(f"classes are two different names or more, got {spelled}")
    if wait is not None and wait <= 0:
        raise ValueError(f"wait is a time above 0 in seconds, got {wait}")
    command = shlex.join(
        ["jaxmed", "label", str(data), "--ask", str(ask), "--out", str(labels), "--classes",
         *spelled]
    )  # fmt: skip

    def answer(rows: Rows) -> NDArray[np.int64]:
        wanted = [names[int(i)] for i in rows]
        told = False
        while True:
            known = _answers(Path(labels), spelled)
            missing = [name for name in wanted if name not in known]
            if not missing:
                return np.array([known[name] for name in wanted], np.int64)
            if not told:
                write_whole(ask, csv_text(["case"], [[name] for name in missing]))
            message = (
                f"{len(missing)} of {len(wanted)} cases that are asked for have no label yet "
                f"(listed in {ask}): {command}"
            )
            if wait is None:
                raise LabelsAwaited(f"{message}, and make the same call again", missing)
            if not told:
                print(message, flush=True)
                told = True
            time.sleep(wait)

    return answer


def _answers(path: Path, classes: list[str]) -> dict[str, int]:
    """Case to class, of a table that may not be there yet, or have no rows."""
    if not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) < 2:
        return {}
    table = read_table(path, "case", "label")
    if absent := [name for name in ("case", "label") if name not in table.columns]:
        raise table.fault(f"there is no column {absent[0]!r}; there are {table.columns}")
    found = {}
    for i, row in enumerate(table.rows):
        if row["label"] not in classes:
            raise table.fault(
                f"{table.where(i)}: the label {row['label']!r} of {row['case']!r} is none of the "
                f"classes {', '.join(classes)}"
            )
        found[row["case"]] = classes.index(row["label"])
    return found
