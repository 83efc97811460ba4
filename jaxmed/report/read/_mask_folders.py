"""Reading of predicted masks: two folders, paired by file name."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from jaxmed.data import DataError, Fault, read_mask
from jaxmed.data.formats import MASKS, stem, suffix
from jaxmed.report.read._cells import refuse
from jaxmed.report.read._joined import same_cases
from jaxmed.report.results._segmentation import MaskPair


def read_mask_pairs(
    predictions: str | os.PathLike,
    reference: str | os.PathLike,
    *,
    missing: Literal["error", "empty"] = "error",
) -> tuple[list[str], Iterator[MaskPair]]:
    """Pair the masks of two folders by file name.

    Args:
        predictions: folder of predicted masks, NIfTI, PNG or TIFF.
        reference: folder of true masks.
        missing: `error`, or `empty`: a case without a predicted mask is treated as an empty
            prediction.

    Returns:
        The names of the cases, and the pairs, read lazily one by one.

    Raises:
        DataError: if a folder has no masks, or a case is in only one of them; while reading, if
            the masks of a case differ in size or affine.
    """
    found, truth = _masks(Path(predictions)), _masks(Path(reference))
    _same_names(Path(predictions), found, Path(reference), truth)
    wanted = truth if missing == "error" else {name: truth[name] for name in truth if name in found}
    refuse(same_cases(Path(predictions), found, Path(reference), wanted))

    def pairs() -> Iterator[MaskPair]:
        for name in sorted(truth):
            true = read_mask(truth[name])
            if name not in found:
                yield MaskPair(name, true.array, np.zeros_like(true.array), true.spacing)
                continue
            predicted = read_mask(found[name], like=true)
            _same_numbers(found[name], predicted.array, truth[name], true.array)
            yield MaskPair(name, true.array, predicted.array, true.spacing)

    return sorted(truth), pairs()


def cases_without_mask(
    predictions: str | os.PathLike, reference: str | os.PathLike
) -> tuple[str, ...]:
    """Return the cases that have a true mask but no predicted one."""
    return tuple(sorted(set(_masks(Path(reference))) - set(_masks(Path(predictions)))))


def _same_names(
    path: Path, found: Mapping[str, Path], reference: Path, truth: Mapping[str, Path]
) -> None:
    """Hint that all predictions differ from their references only by a suffix."""
    if not set(found) & set(truth):
        tails = {name.removeprefix(t) for name in found for t in truth if name.startswith(t)}
        hint = f" (without {tails.pop()!r} they would)" if len(tails) == 1 else ""
        detail = (
            f"no name here, such as {min(found)!r}, is one of {reference}, such as "
            f"{min(truth)!r}{hint}: give each prediction the name of its reference"
        )
        refuse([Fault(str(path), "same-cases", detail)])


def _same_numbers(path: Path, found: np.ndarray, reference: Path, truth: np.ndarray) -> None:
    """Raise if 255 stands for the reference's 1: it would count as another class."""
    for (one, a), (other, b) in itertools.permutations([(path, found), (reference, truth)]):
        if a.max() == 255 and b.max() == 1 and not np.any((a > 0) & (a < 255)):
            raise DataError.of(
                [
                    Fault(
                        str(one),
                        "mask-values",
                        f"marks with 255 what {other} marks with 1: write the number of the class",
                    )
                ]
            )


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError.of([Fault(str(folder), "exists", "there is no such folder")])
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if suffix(path) in MASKS and not path.name.startswith("."):
            found[stem(path)] = path
    if not found:
        others = sorted({p.suffix if p.is_file() else "folders" for p in folder.iterdir()})
        detail = f"no masks here ({', '.join(MASKS)}), but {', '.join(others) or 'nothing'}"
        advice = "put the masks, each with its case's name, directly into the folder"
        raise DataError.of([Fault(str(folder), "non-empty", f"{detail}; {advice}")])
    return found
