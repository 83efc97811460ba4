"""Which column of a table holds what: as it is named, by a usual other name, or as one is told."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from jaxmed.data.tables._table import Table, table_fault

# Names under which published tables hold each role, as they are compared: lower case, no blanks.
_USUAL: dict[str, tuple[str, ...]] = {
    "image": (
        "image", "img", "image_path", "img_path", "image_file", "image_name", "image_id", "file",
        "filename", "file_name", "filepath", "file_path", "path", "scan", "dicom",
    ),
    "label": ("label", "labels", "class", "target"),
    "mask": (
        "mask", "mask_path", "mask_file", "seg", "seg_path", "segmentation", "segmentation_path",
        "annotation",
    ),
    "patient": (
        "patient", "patient_id", "patientid", "subject", "subject_id", "subjectid", "participant",
        "participant_id",
    ),
    "case": ("case", "case_id"),
    "split": ("split", "subset", "partition"),
    "site": ("site", "centre", "center", "hospital", "institution"),
}  # fmt: skip
ROLES = tuple(_USUAL)

# The same of tables of predictions.
_PREDICTED: dict[str, tuple[str, ...]] = {
    "case": (
        *_USUAL["case"], *_USUAL["image"], "id", "uid", "study_id", "sample", "sample_id", "name",
    ),
    "label": (
        *_USUAL["label"], "y_true", "y_test", "y", "truth", "true", "true_label", "true_class",
        "ground_truth", "gt", "actual", "observed",
    ),
    "score": (
        "score", "scores", "prob", "probs", "proba", "probability", "probabilities", "y_score",
        "y_scores", "y_prob", "y_proba", "logit", "logits", "output", "pred_prob", "pred_proba",
        "predicted_probability",
    ),
    "prediction": (
        "prediction", "predictions", "predicted", "pred", "preds", "y_pred", "y_hat", "yhat",
        "pred_label", "pred_class", "predicted_label", "predicted_class",
    ),
}  # fmt: skip


class Columns(NamedTuple):
    """The column of each role that a table has, and a line for each that has another name."""

    of: dict[str, str]
    notes: tuple[str, ...]


def find_columns(
    table: Table, given: Mapping[str, str] | None = None, *, leave: Collection[str] = ()
) -> Columns:
    """Find the columns of a table.

    A role has the column that ``given`` names; else the one of its own name; else the only one
    with another usual name (``image_path``, ``subject_id``, ...), of any case.

    Args:
        table: the table.
        given: ``{role: column}``; roles are ``image``, ``label``, ``mask``, ``patient``, ``case``,
            ``split`` and ``site``.
        leave: roles that are not looked for, since nobody asks or something else says, unless
            ``given`` names them.

    Raises:
        DataError: no image column, a column that is not there, or several that could be meant.
        ValueError: no such role.
    """
    given = dict(given or {})
    if unknown := [role for role in given if role not in ROLES]:
        raise ValueError(f"columns has roles {', '.join(ROLES)}, not {unknown[0]!r}")
    plain = {column: _plain(column) for column in table.columns}
    found: dict[str, str] = {}
    notes = []
    for role, usual in _USUAL.items():
        if role in given:
            exact = [c for c in plain if c == given[role]]
            alike = exact or [c for c, p in plain.items() if p == _plain(given[role])]
            if len(alike) != 1:
                raise table_fault(
                    table.path,
                    f"there is no column {given[role]!r} for {role}; there are {table.columns}",
                )
            found[role] = alike[0]
            continue
        if role in leave:
            continue
        named = [c for c, p in plain.items() if p == role and c not in given.values()]
        others = [c for c, p in plain.items() if p in usual and c not in given.values()]
        options = named if len(named) == 1 else others
        if len(options) > 1:
            raise table_fault(
                table.path,
                f"the columns {', '.join(map(repr, options))} could each be the {role}: say which "
                f"with columns={{{role!r}: ...}} (--columns {role}=NAME)",
            )
        if options:
            found[role] = options[0]
            if plain[options[0]] != role:
                notes.append(f"Column {options[0]!r} is read as the {role}.")
    if "image" not in found:
        raise table_fault(
            table.path,
            f"there is no column 'image'; there are {table.columns}: say which holds the files "
            "with columns={'image': ...} (--columns image=NAME)",
        )
    return Columns(found, tuple(notes))


def names_images(table: Table, given: Mapping[str, str] | None = None) -> bool:
    """Whether a table has a column of images: the one that is told, or one of a usual name."""
    asked = (given or {}).get("image")
    plain = {_plain(column) for column in table.columns}
    return bool(plain & ({_plain(asked)} if asked else {*_USUAL["image"]}))


def predicted_column(table: Table, role: str, options: str = "") -> str | None:
    """Return the column of a role of a table of predictions that has another usual name.

    Of several columns ``NAME_X``, one a class, it is ``NAME``.

    Args:
        table: the table.
        role: ``case``, ``label``, ``score`` or ``prediction``.
        options: the option that names the column, for messages.

    Raises:
        DataError: several columns could be meant.
    """
    plain = {column: _plain(column) for column in table.columns}
    usual = _PREDICTED[role]
    found = [column for column, name in plain.items() if name in usual]
    if not found and role != "case":
        bases = {
            column[: len(name)]
            for column, whole in plain.items()
            for name in usual
            if whole.startswith(f"{name}_") and len(whole) > len(name) + 1
        }
        # Of pred_prob_A it is pred_prob, not pred.
        found = [b for b in sorted(bases) if not any(o != b and o.startswith(b) for o in bases)]
    if len(found) > 1 and role != "case":
        raise table_fault(
            table.path,
            f"the columns {', '.join(map(repr, found))} could each be the {role}: say which "
            f"with --{options or role}",
        )
    return found[0] if found else None


def parse_columns(pairs: Sequence[str]) -> dict[str, str]:
    """Read columns as they are written on the command line.

    Raises:
        ValueError: a pair that is not ``ROLE=COLUMN``.

    >>> parse_columns(["image=file", "patient=who"])
    {'image': 'file', 'patient': 'who'}
    """
    parts = [pair.partition("=") for pair in pairs]
    if wrong := [role for role, sign, name in parts if not sign or not name]:
        raise ValueError(f"--columns is ROLE=COLUMN, such as image=file, got {wrong[0]!r}")
    return {role: name for role, _, name in parts}


def label_columns(table: Table, asked: str | tuple[str, ...] | None, columns: Columns) -> list[str]:
    """Return the columns of the labels: those asked for, ``label``, or all ``label_NAME``.

    None are read where none are asked for, by an empty tuple.

    Raises:
        DataError: a column that is asked for is not there.
    """
    if asked is None:
        if "label" in columns.of:
            return [columns.of["label"]]
        several = [c for c in table.columns if re.match(r"label[_ :]", c, re.IGNORECASE)]
        return several if len(several) > 1 else []
    wanted = [asked] if isinstance(asked, str) else [*asked]
    plain = {_plain(column): column for column in table.columns}
    for name in wanted:
        if name not in table.columns and _plain(name) not in plain:
            detail = f"there is no column {name!r} of labels; there are {table.columns}"
            raise table_fault(table.path, detail)
    return [name if name in table.columns else plain[_plain(name)] for name in wanted]


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())
