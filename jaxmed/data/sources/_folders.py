"""Folders of images without a table: what their names say of classes, masks, splits, patients."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxmed.data._error import fault
from jaxmed.data.formats._folder import images_in, segmentations_in
from jaxmed.data.formats._registry import ENDINGS, stem
from jaxmed.data.sources._find_files import holds_masks

# Ends of a mask's name beside its image's, as published folders have them.
_ENDS = ("_mask", "_gt", "_seg", "_segmentation", "_label", "_labels", "_annotation", "_lesion")
_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


class Layout(NamedTuple):
    """What a folder holds: a dict for each image, and what was assumed.

    ``rows`` have ``image``, ``case``, and, where the names say so, ``mask``, ``label``, ``split``
    and ``patient``; files are relative to the folder.
    """

    rows: list[dict[str, Any]]
    notes: tuple[str, ...]


def read_folder(path: Path, *, patient: str | None = None) -> Layout:
    """Find the images of a folder and what belongs to each.

    Masks are files beside an image that end in ``_mask``, ``_gt``, ``_seg``, ..., or files of the
    same name in a folder whose name says so (``masks``, ``labelsTr``, ``1st_manual``), or DICOM
    segmentations, which name their series. Folders
    named ``train``, ``val`` and ``test`` are splits; the folder an image lies in is its label.

    Args:
        path: the folder.
        patient: how the patient is known: ``"folder"``, the folder an image lies in; or a regular
            expression with one group, found in the path of the image from ``path``.

    Raises:
        DataError: no images, a mask without an image, or a path without the pattern of a patient.
    """
    images, masks, notes = _paired(path, images_in(path))
    if not masks:
        images, masks, notes = _segmented(path, images)
    if not images:
        detail = f"no images: no file ends in {', '.join(ENDINGS)}, nor is one marked as DICOM"
        raise fault(path, "non-empty", detail)
    rows = []
    for image in images:
        inner = image.relative_to(path)
        folders = [part for part in inner.parts[:-1] if part.casefold() not in _SPLITS]
        splits = [_SPLITS[p.casefold()] for p in inner.parts[:-1] if p.casefold() in _SPLITS]
        row: dict[str, Any] = {"image": [str(inner)], "case": _case(path, inner)}
        if masks:
            row["mask"] = str(masks[image].relative_to(path))
        if splits:
            row["split"] = splits[0]
        if folders and patient != "folder" and not _holds_images(folders[-1]):
            row["label"] = folders[-1]
        if patient is not None:
            row["patient"] = _patient(path, inner, patient)
        rows.append(row)
    return Layout(_whole(rows), tuple(notes))


def _case(root: Path, inner: Path) -> str:
    """The name of a case: its path without the ending, or the folder that is the image itself."""
    return str(inner.parent / stem(root / inner)) if inner.name else root.resolve().name


def _paired(root: Path, files: list[Path]) -> tuple[list[Path], dict[Path, Path], list[str]]:
    """Tell masks from images."""
    by_name = {(p.parent, stem(p)): p for p in files}
    beside: dict[Path, Path] = {}
    for file in files:
        for end in _ENDS:
            base = by_name.get((file.parent, stem(file).removesuffix(end)))
            if stem(file).endswith(end) and base is not None:
                beside[base] = file
    if beside:
        taken = set(beside.values())
        images = [p for p in files if p not in taken]
        bare = [p for p in images if p not in beside]
        notes = []
        if bare:
            notes.append(f"{len(bare)} images without a mask are left out, such as {bare[0].name}.")
        return [p for p in images if p in beside], beside, notes
    inside = [p for p in files if any(holds_masks(d) for d in p.relative_to(root).parts[:-1])]
    images = [p for p in files if p not in set(inside)]
    if not inside or not images:
        return files, {}, []
    found: dict[Path, Path] = {}
    for image in images:
        alike = [m for m in inside if _same_case(image, m) and _apart(image, m, root)]
        if len(alike) > 1:
            shown = ", ".join(str(m.relative_to(root)) for m in alike[:3])
            raise fault(image, "unique", f"{len(alike)} masks could belong to it: {shown}")
        if alike:
            found[image] = alike[0]
    bare = [p for p in images if p not in found]
    notes = []
    if bare:
        notes.append(f"{len(bare)} images without a mask are left out, such as {bare[0].name}.")
    return [p for p in images if p in found], found, notes


def _segmented(root: Path, images: list[Path]) -> tuple[list[Path], dict[Path, Path], list[str]]:
    """The DICOM series with their segmentations, which name them; all images if there are none."""
    masks = segmentations_in(root)
    for image, several in masks.items():
        if len(several) > 1:
            shown = ", ".join(str(m.relative_to(root)) for m in several[:3])
            raise fault(image, "unique", f"{len(several)} segmentations are of it: {shown}")
    if not masks:
        return images, {}, []
    bare = [p for p in images if p not in masks]
    notes = []
    if bare:
        notes.append(f"{len(bare)} images without a mask are left out, such as {bare[0].name}.")
    found = {image: several[0] for image, several in masks.items()}
    return [p for p in images if p in masks], found, notes


def _same_case(image: Path, mask: Path) -> bool:
    name, other = stem(image), stem(mask)
    if name == other:
        return True
    return any(other == name + end or other == name.removesuffix("_0000") for end in _ENDS)


def _apart(image: Path, mask: Path, root: Path) -> bool:
    """Whether the two paths differ in the folder of images and of masks alone."""
    one = [p for p in image.relative_to(root).parts[:-1] if not _holds_images(p)]
    other = [p for p in mask.relative_to(root).parts[:-1] if not holds_masks(p)]
    return one == other


def _holds_images(folder: str) -> bool:
    return bool(re.fullmatch(r"(im(g|age)s?|scans?|pictures?|photos?)(Tr|Ts|_.*)?", folder, re.I))


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


def _whole(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the columns that every row has: an image outside all folders has no class."""
    common = set.intersection(*(set(row) for row in rows))
    return [{key: row[key] for key in row if key in common} for row in rows]
