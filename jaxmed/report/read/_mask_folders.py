"""Reading of predicted masks: two folders, paired by file name, or two files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from jaxmed.data import DataError, Fault, read_mask
from jaxmed.data.formats import MASKS, is_picture, stem, suffix
from jaxmed.report.read._cells import refuse
from jaxmed.report.read._joined import same_cases
from jaxmed.report.read._mask_file import read_prediction
from jaxmed.report.results._segmentation import MaskPair

_READ = (*MASKS, ".npz")


def read_mask_pairs(
    predictions: str | os.PathLike,
    reference: str | os.PathLike,
    *,
    missing: Literal["error", "empty"] = "error",
    classes: int = 0,
    only: Collection[str] | None = None,
    objects: bool = False,
) -> tuple[list[str], Iterator[MaskPair]]:
    """Pair the masks of two folders by file name.

    The folder of predictions may have one ending after every case's name (``_0000``, ``_pred``),
    a folder for each case, probabilities (``.npz`` of nnU-Net or of `jaxmed predict`), a 0/1
    channel for each class, or another orientation of the same grid.

    Args:
        predictions: folder of predicted masks, or one file.
        reference: folder of true masks, or one file.
        missing: `error`, or `empty`: a case without a predicted mask is treated as an empty
            prediction.
        classes: number of classes without the background; 0 where only the references tell. A
            predicted label beyond them is refused, one that no reference has is the model's error.
        only: names of the cases to read; by default all.
        objects: whether a number names an object, as in label maps, and no class: any may occur.

    Returns:
        The names of the cases, and the pairs, read lazily one by one.

    Raises:
        DataError: if a folder has no masks, or a case is in only one of them; while reading, if
            the masks of a case differ in size or place, a prediction has a label that no reference
            has, or is no label map where objects are asked for.
    """
    found, truth = _paired(Path(predictions), Path(reference))
    wanted = truth if missing == "error" else {name: truth[name] for name in truth if name in found}
    refuse(same_cases(Path(predictions), found, Path(reference), wanted))

    def pairs() -> Iterator[MaskPair]:
        known = set(range(classes + 1))
        stray: dict[int, Path] = {}
        for name in sorted(truth if only is None else set(truth) & set(only)):
            true = read_mask(truth[name])
            unit = "px" if is_picture(truth[name]) else "mm"
            known |= set(np.unique(true.array).tolist())
            if name not in found:
                yield MaskPair(name, true.array, np.zeros_like(true.array), true.spacing, unit)
                continue
            predicted = read_prediction(found[name], true, truth[name], objects=objects)
            if objects:
                yield MaskPair(name, true.array, predicted, true.spacing, unit)
                continue
            for label in set(np.unique(predicted).tolist()) - known:
                stray.setdefault(label, found[name])
            yield MaskPair(name, true.array, predicted, true.spacing, unit)
        # At the end: a later reference may have the label.
        refuse(
            [
                Fault(
                    str(path),
                    "label-range",
                    f"the mask has the label {label}, which no reference of {reference} has (they "
                    f"have {', '.join(map(str, sorted(known)))}): it would count as a class of its "
                    "own; name all classes (--classes), or remove or renumber it",
                )
                for label, path in sorted(stray.items())
                if label not in known
            ]
        )

    return sorted(truth), pairs()


def cases_without_mask(
    predictions: str | os.PathLike, reference: str | os.PathLike
) -> tuple[str, ...]:
    """Return the cases that have a true mask but no predicted one."""
    found, truth = _paired(Path(predictions), Path(reference))
    return tuple(sorted(set(truth) - set(found)))


def _paired(predictions: Path, reference: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The files of both sides by the name of their case."""
    found, truth = mask_files(predictions), mask_files(reference)
    if predictions.is_file() and reference.is_file():
        return {min(truth): predictions}, truth
    if set(found) & set(truth):
        return found, truth
    tails = [_tail(name, truth) for name in found]
    if None not in tails and len(set(tails)) == 1:
        return {name.removesuffix(str(tails[0])): path for name, path in found.items()}, truth
    detail = (
        f"no name here, such as {min(found)!r}, is one of {reference}, such as {min(truth)!r}: "
        "give each prediction the name of its reference"
    )
    raise DataError.of([Fault(str(predictions), "same-cases", detail)])


def _tail(name: str, truth: Mapping[str, Path]) -> str | None:
    """What a prediction's name has more than that of a reference, the longest that fits."""
    fits = [case for case in truth if name.startswith(case) and name != case]
    return name.removeprefix(max(fits, key=len)) if fits else None


def mask_files(path: Path) -> dict[str, Path]:
    """The masks of a folder by name; of a folder for each case, the one mask in each."""
    if path.is_file():
        return {stem(path): path}
    if not path.is_dir():
        raise DataError.of([Fault(str(path), "exists", "there is no such file or folder")])
    found = _in(path)
    if not found:
        inner = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith(".")]
        several = {folder: _in(folder) for folder in inner}
        if inner and all(len(masks) == 1 for masks in several.values()):
            return {folder.name: min(masks.values()) for folder, masks in several.items()}
        others = sorted({p.suffix if p.is_file() else "folders" for p in path.iterdir()})
        detail = f"no masks here ({', '.join(_READ)}), but {', '.join(others) or 'nothing'}"
        advice = (
            "put the masks, each with its case's name, directly into the folder, or one mask into "
            "a folder for each case"
        )
        raise DataError.of([Fault(str(path), "non-empty", f"{detail}; {advice}")])
    return found


def _in(folder: Path) -> dict[str, Path]:
    """The masks that lie directly in a folder."""
    paths = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.is_file()]
    masks = {stem(p): p for p in paths if suffix(p) in MASKS}
    return masks or {stem(p): p for p in paths if suffix(p) == ".npz"}
