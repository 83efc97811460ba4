"""What `evaluate` and `compare` share: the study's own words, patients, subgroups, the ledger."""

from __future__ import annotations

import math
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmed.cli._place import refuse_run, writing

# Columns that name a patient, whatever --unit says.
_PATIENTS = ("group", "patient", "patient_id", "patientid", "subject", "subject_id", "participant")


def checked_study(options: Any) -> dict[str, str]:
    """The study's own words, once what can be refused before any data is read has been.

    Raises:
        ValueError: a level that is none, a study's file that cannot be read, or the folder of a
            training.
    """
    if not 0 < options.level < 1:
        raise ValueError(f"--level must be between 0 and 1, got {options.level}")
    if not 0 <= options.tolerance < math.inf:
        raise ValueError(f"--tolerance must be 0 or more, got {options.tolerance:g}")
    refuse_run(options.out)
    return read_study(options.study)


def read_study(path: Path | None) -> dict[str, str]:
    """Read what only the authors know of the study (fields of `report.FIELDS`), from TOML."""
    if path is None:
        return {}
    from jaxmed import report

    if not path.is_file():  # nor a pipe, of which no end may come
        raise ValueError(f"--study: there is no file {path}")
    try:
        return report.check_study(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def pick(columns: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> dict[str, Sequence[str]]:
    """The columns to group by.

    Raises:
        ValueError: one that is not there.
    """
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ValueError(
            f"--groups: there is no column {missing[0]!r}; there are {', '.join(columns)}"
        )
    return {name: columns[name] for name in wanted}


def column_of(unit: str) -> str:
    """The column that `--unit` names; by default `group`, and none for rows."""
    return "" if unit == "case" else unit or "group"


def reading(options: Any, task: str | None) -> dict[str, Any]:
    """How tables are read, as `report.read_scores` takes it."""
    return {
        "label": options.label,
        "score": options.score,
        "case": options.case,
        "task": task,
        "positive": options.positive,
        "scale": options.scale,
        "unknown": options.unknown,
    }


class Units(NamedTuple):
    """What is resampled, and else the patients to warn of.

    Attributes:
        groups: (cases,) what is resampled, or None for rows.
        patients: (cases,) of a column that was not asked for and shows repeats, or None.
        remedy: the option that would resample these patients.
    """

    groups: Sequence[str] | None
    patients: Sequence[str] | None = None
    remedy: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """For the whole report."""
        if self.patients is None:
            return ()
        column = self.remedy.rpartition(" ")[2]
        return (f"rows that share a {column} were counted as independent: {self.remedy}",)

    def warn(self, results: Any) -> Any:
        """Note the repeats at each number."""
        from jaxmed import report

        return report.warn_of_repeats(results, self.patients, remedy=self.remedy)


def units(unit: str, groups: Sequence[str] | None, columns: Mapping[str, Sequence[str]]) -> Units:
    """What is resampled, and else the patients to warn of.

    Args:
        unit: as `--unit` gives it.
        groups: of the table's own column, if it has it.
        columns: all further columns.

    Raises:
        ValueError: a column that is not there.
    """
    wanted = column_of(unit)
    found = groups if groups is not None else columns.get(wanted)
    if found is not None and wanted:
        return Units(found)
    if wanted and unit:
        raise ValueError(
            f"--unit: there is no column {unit!r}; there are {', '.join(columns) or 'no others'}"
        )
    named = next((name for name in columns if name.lower() in _PATIENTS), None)
    patients = None if named is None else columns[named]
    if patients is None or len(set(patients)) == len(patients):
        return Units(None)
    return Units(None, patients, f"give --unit {named}")


def known_columns(options: Any, cases: Any) -> dict[str, Any]:
    """The further columns of `--cases`, in the order of the cases; none without it."""
    from jaxmed import report

    if options.cases is None:
        return {}
    return report.read_columns(options.cases, cases, case=options.case)


def images(options: Any) -> Any:
    """The function from a case to its image that `--images` gives; None without it."""
    from jaxmed import report

    if options.images is None:
        return None
    return report.read_case_images(options.images, options.reference)


def reader(predictions: Path, reference: Path, missing: Any, classes: Sequence[str]) -> Any:
    """A function from names of cases to their masks, which are read again to be shown."""
    from jaxmed import report

    return lambda cases: report.read_mask_pairs(
        predictions, reference, missing=missing, classes=len(classes), only=cases
    )[1]


def measured(path: Path, measure: Callable[..., Any], *data: Any, **about: Any) -> Any:
    """Call a function of what a file holds; what it refuses names the file."""
    try:
        return measure(*data, **about)
    except ValueError as error:
        raise ValueError(f"{path}: {in_words(str(error))}") from None


def in_words(text: str) -> str:
    """A message in the words of the command line, where it gives both.

    >>> in_words("give task='regression' (--task regression)")
    'give --task regression'
    >>> in_words("say columns={'image': ...} (--columns image=NAME)")
    'say --columns image=NAME'
    """
    return re.sub(r"\w+=(?:\{[^}]*\}|\[[^]]*\]|\S+) \((--[^)]+)\)", r"\1", text)


def finish(
    results: Any,
    columns: Mapping[str, Sequence[str]],
    options: Any,
    study: Mapping[str, str],
    command: Sequence[str],
) -> int:
    """Measure by subgroup, open the ledger, write the report, and print what was found.

    Args:
        results: as measured.
        columns: by case, for the subgroups.
        options: with `groups`, `ledger` and `out`.
        study: as :func:`checked_study` gives it.
        command: the words of the command line.

    Returns:
        The command's exit status.
    """
    from jaxmed import report

    if options.groups:
        results = report.with_subgroups(results, pick(columns, options.groups))
    line = shlex.join(command)
    results = opened(results, options.ledger, line).replace(
        command=line, environment=report.environment(), study={**results.study, **study}
    )
    with writing(options.out):
        page = report.write(results, options.out).report
    tell(results, page)
    return 0


def tell(results: Any, page: Path) -> None:
    """Print the summary, the notes, and where the report is."""
    from jaxmed import report

    print(report.summary(results))
    for note in results.notes:
        print(f"note: {note}")
    print(f"report: {page}")


def opened(results: Any, ledger: Path | None, why: str) -> Any:
    """Record in the ledger that these cases were looked at, and say in the report how often."""
    if ledger is None:
        return results
    from jaxmed import protocols

    held = next(iter(results.predictions().values()))
    looks = protocols.open_test(ledger, held.cases, getattr(held, "labels", None), why=why)
    return results.replace(openings=looks.count, notes=(*results.notes, *looks.notes))
