"""Folders of images without a table: what their names say of classes, masks, splits, patients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmed._files import files_below
from jaxmed.data._error import fault
from jaxmed.data.formats._folder import images_in, segmentations_in
from jaxmed.data.formats._registry import CUT, ENDINGS, SLIDES, stem
from jaxmed.data.sources._channels import joined, subject
from jaxmed.data.sources._pairs import holds_images, is_named_mask, left_out, paired, said

_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_MANY = 10  # folders that are rather patients than classes
_HOW = "patient='folder' (--patient folder)"


class Layout(NamedTuple):
    """What a folder holds: a dict for each image, and what was assumed.

    ``rows`` have ``image``, ``case``, and, where the names say so, ``mask``, ``label``, ``split``
    and ``patient``; files are relative to the folder. ``channels`` are named where a case has a
    file for each.
    """

    rows: list[dict[str, Any]]
    notes: tuple[str, ...]
    channels: tuple[str, ...] = ()


def read_folder(
    path: Path,
    *,
    patient: str | None = None,
    masks: str | None = None,
    channels: Sequence[str] = (),
) -> Layout:
    """Find the images of a folder and what belongs to each.

    Masks are told by names (`paired`), or are DICOM segmentations, which name their series. Folders
    named ``train``, ``val`` and ``test`` are splits; the folder an image lies in is its label, if
    the images lie in several; but not where each holds one image alone, with its mask. Files that
    are channels of one case are joined (`joined`). Names of BIDS (``sub-01_T1w``) tell the patient.

    Args:
        path: the folder.
        masks: the folder of the masks, or the ending of their names, where several could be meant.
        patient: how the patient is known: ``"folder"``, the folder an image lies in; or a regular
            expression with one group, found in the path of the image from ``path``.
        channels: endings of the files of a case's channels, in order.

    Raises:
        DataError: no images, a mask without an image, or a path without the pattern of a patient.
    """
    inside = images_in(path)
    named = {file for file in inside if is_named_mask(path, file)}
    if masks is not None:
        named |= {file for file in inside if said(path, file, masks)}
    several = joined(path, inside, named, channels)
    images, found, notes = paired(path, several.files, masks)
    if several.channels and named and not found:
        # What is named as masks are is the masks of nothing, such as a class called `lesion`.
        several = joined(path, inside, set(), channels)
        images, found, notes = paired(path, several.files, masks)
    notes = [*several.notes, *notes]
    if several.channels:
        images = [image for image in images if image in several.channels]
    elif not found:
        images, found, more = _segmented(path, images)
        notes += more
    if not images:
        detail = f"no images: no file ends in {', '.join(ENDINGS)}, nor is one marked as DICOM"
        if slides := [p for p in files_below(path) if p.name.lower().endswith(SLIDES)]:
            detail = f"no images, but {slides[0].name} is {CUT}"
        raise fault(path, "non-empty", detail)
    rows = []
    for image in images:
        inner = image.relative_to(path)
        folders = [part for part in inner.parts[:-1] if part.casefold() not in _SPLITS]
        if patient == "folder":
            folders = folders[:-1]  # what is left tells the class
        splits = [_SPLITS[p.casefold()] for p in inner.parts[:-1] if p.casefold() in _SPLITS]
        files = [str(p.relative_to(path)) for p in several.channels.get(image, (image,))]
        row: dict[str, Any] = {"image": files, "case": _case(path, inner)}
        if found:
            row["mask"] = str(found[image].relative_to(path))
        if splits:
            row["split"] = splits[0]
        if folders and not holds_images(folders[-1]):
            row["label"] = folders[-1]
        if patient is not None:
            row["patient"] = _patient(path, inner, patient)
        elif (who := subject(inner)) is not None:
            row["patient"] = who
        rows.append(row)
    _check_splits(path, rows)
    rows, more = _whole(rows)
    if patient is None and "patient" in rows[0]:
        more.append("Patients are the subjects of BIDS's names (--patient says otherwise).")
    return Layout(rows, (*notes, *more), several.names)


def _case(root: Path, inner: Path) -> str:
    """The name of a case: its path without the ending, or the folder that is the image itself."""
    return str(inner.parent / stem(root / inner)) if inner.name else root.resolve().name


def _segmented(root: Path, images: list[Path]) -> tuple[list[Path], dict[Path, Path], list[str]]:
    """The DICOM series with their segmentations, which name them; all images if there are none."""
    masks = segmentations_in(root)
    for image, several in masks.items():
        if len(several) > 1:
            shown = ", ".join(str(m.relative_to(root)) for m in several[:3])
            raise fault(image, "unique", f"{len(several)} segmentations are of it: {shown}")
    if not masks:
        return images, {}, []
    found = {image: several[0] for image, several in masks.items()}
    return [p for p in images if p in masks], found, left_out(images, masks)


def _patient(path: Path, inner: Path, how: str) -> str:
    if how == "folder":
        if len(inner.parts) < 2:
            raise fault(path / inner, "table", "it lies in no folder of a patient")
        return inner.parts[-2]
    match = re.search(how, inner.as_posix())
    if not match or not match.groups():
        raise fault(
            path / inner,
            "table",
            f"the pattern {how!r} of the patient, which needs one group in brackets, is not found "
            f"in {inner.as_posix()!r}",
        )
    return match[1]


def _check_splits(path: Path, rows: list[dict[str, Any]]) -> None:
    """Refuse images beside ``train`` and ``test``: they would undo the split of all the others."""
    outside = [row["image"][0] for row in rows if "split" not in row]
    if outside and len(outside) < len(rows):
        names = " and ".join(sorted({row["split"] for row in rows if "split" in row}))
        raise fault(
            path,
            "table",
            f"{len(outside)} of {len(rows)} images lie in no folder of the splits {names}, such as "
            f"{outside[0]}: move them there, or away",
        )


def _whole(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Keep the columns that every row has: an image outside all folders has no class.

    Nor has any where all lie in one folder, which tells nothing apart.
    """
    common = set.intersection(*(set(row) for row in rows))
    notes = []
    bare = [row["image"][0] for row in rows if "label" not in row]
    if bare and len(bare) < len(rows) and "mask" not in common:
        notes.append(
            f"Folders are no classes: {len(bare)} of {len(rows)} images lie in none, such as "
            f"{bare[0]}."
        )
    labels = {row.get("label") for row in rows}
    alone = "mask" in common and len(labels) == len(rows)  # a folder a case
    if len(labels) == 1 or alone:
        common -= {"label"}
    elif "label" in common and len(labels) > _MANY and "patient" not in common:
        notes.append(f"Each of the {len(labels)} folders is a class; if it is a patient: {_HOW}.")
    return [{key: row[key] for key in row if key in common} for row in rows], notes
