"""Classes that segmentations name themselves, in DICOM and in 3D Slicer's files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from jaxmed.data._error import DataError, Fault
from jaxmed.data.formats._segments import names_segments, read_segments


def segment_classes(masks: Iterable[Path]) -> tuple[tuple[str, ...], list[Fault]]:
    """Read the names of the classes from the masks' files, which number them each for itself.

    Args:
        masks: files of a data set; those of formats without names say nothing.

    Returns:
        The classes, the background first, where the numbers of all files are 1, 2, ...; empty
        otherwise. And a fault for each file that calls a number otherwise than an earlier one.
    """
    names: dict[int, tuple[str, Path]] = {}
    faults = []
    for mask in masks:
        if not names_segments(mask):
            continue
        with contextlib.suppress(DataError):  # the fault of a file is met when it is read
            for segment in read_segments(mask):
                name, first = names.setdefault(segment.number, (segment.name, mask))
                if name != segment.name:
                    detail = (
                        f"segment {segment.number} is {segment.name!r}, in {first} {name!r}; write "
                        "all masks by one numbering"
                    )
                    faults.append(Fault(str(mask), "mask-values", detail))
                    break
    numbers = sorted(names)
    if numbers != [*range(1, len(numbers) + 1)] or not numbers:
        return (), faults
    return ("background", *(names[number][0] for number in numbers)), faults
