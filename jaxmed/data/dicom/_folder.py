"""Paths by which the series in a folder are read one by one."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxmed.data._error import DataError
from jaxmed.data.dicom._dataset import read_header
from jaxmed.data.dicom._frames import Frame, read_frames
from jaxmed.data.dicom._series import listed
from jaxmed.data.dicom._stack import group


def series_paths(folder: Path, files: Sequence[Path]) -> list[Path]:
    """List what `read_dicom` is given for each series of some files below a folder.

    A file that cannot be read is listed as it is, so that its fault is met when it is opened.
    """
    return [path for path, _ in _series(folder, files)]


def segmented_series(folder: Path, files: Sequence[Path]) -> dict[Path, list[Path]]:
    """List the segmentations among some files, by the path of the series that each is of.

    A segmentation names the series that it was made from; one of a series that is not among the
    files is left out.
    """
    masks: dict[str, list[Path]] = {}
    for file in files:
        with contextlib.suppress(DataError):
            header = read_header(file)
            if header.get("Modality") == "SEG":
                for item in header.get("ReferencedSeriesSequence") or ():
                    masks.setdefault(str(item.get("SeriesInstanceUID")), []).append(file)
    if not masks:
        return {}
    return {path: masks[uid] for path, uid in _series(folder, files) if uid in masks}


def _series(folder: Path, files: Sequence[Path]) -> list[tuple[Path, str]]:
    """The path and the UID of each series; no UID of a file that cannot be read."""
    frames: list[Frame] = []
    paths: list[tuple[Path, str]] = []
    for file in files:
        if file.name == "DICOMDIR":
            continue
        try:
            frames += read_frames(file)
        except DataError:
            paths.append((file, ""))
    groups = group([frame for frame in frames if frame.modality != "SEG"])
    uses = Counter(file for alike in groups for file in {frame.file for frame in alike})
    for alike in groups:
        own = sorted({frame.file for frame in alike})
        if len(own) == 1 and uses[own[0]] == 1:
            path = own[0]
        elif len(own) == 1:
            path = _numbered(folder, own[0], alike, groups)
        else:
            home = Path(os.path.commonpath([file.parent for file in own]))
            path = _numbered(folder, home, alike, groups)
        paths.append((path, alike[0].series))
    return paths


def _numbered(
    folder: Path, home: Path, alike: Sequence[Frame], groups: Sequence[Sequence[Frame]]
) -> Path:
    """The place that holds a series, with its number there if it is not the only one."""
    inside = [f for g in groups for f in g if f.file == home or home in f.file.parents]
    found = listed(home, inside, ())
    if len(found) == 1:
        return home
    own = {(frame.file, frame.index, frame.corner) for frame in alike}
    firsts = [made.slices[0][0] for _, made in found]
    number = next(k for k, f in enumerate(firsts) if (f.file, f.index, f.corner) in own)
    said = f"#series={number}"
    return home / said if home == folder else home.with_name(f"{home.name}{said}")
