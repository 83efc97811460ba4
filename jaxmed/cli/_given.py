"""What `evaluate` and `compare` share: the study's own words, patients, subgroups, the ledger."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Columns that name a patient, whatever --group says.
_PATIENTS = ("patient", "patient_id", "patientid", "subject", "subject_id", "participant")


def read_study(path: Path | None) -> dict[str, str]:
    """Read what only the authors know of the study (fields of `report.FIELDS`), from TOML."""
    if path is None:
        return {}
    from jaxmed import report

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
            f"--subgroup: there is no column {missing[0]!r}; there are {', '.join(columns)}"
        )
    return {name: columns[name] for name in wanted}


def patients_in(
    groups: Sequence[str] | None, columns: Mapping[str, Sequence[str]], *, independent: bool
) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """Tell `(groups, patients)`: the unit of resampling, or patients that are not used as one."""
    named = next((name for name in columns if name.lower() in _PATIENTS), None)
    if groups is not None and not independent:
        return groups, None
    return None, groups if groups is not None else columns.get(named)


def opened(results: Any, ledger: Path | None, why: str) -> Any:
    """Record in the ledger that these cases were looked at, and say in the report how often."""
    if ledger is None:
        return results
    from jaxmed import protocols

    compared = results.comparison
    held = results.scores or results.overlap
    if held is None and compared is not None:
        held = next(iter({**compared.scores, **compared.overlaps}.values()))
    looks = protocols.open_test(ledger, held.cases, getattr(held, "labels", None), why=why)
    return results.replace(openings=looks.count, notes=(*results.notes, *looks.notes))
