"""Paths by which the series in a folder are read one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxmed.data._error import DataError
from jaxmed.data.dicom._frames import Frame, read_frames
from jaxmed.data.dicom._series import listed
from jaxmed.data.dicom._stack import group


def series_paths(folder: Path, files: Sequence[Path]) -> list[Path]:
    """List what `read_dicom` is given for each series of some files below a folder.

    A file that cannot be read is listed as it is, so that its fault is met when it is opened.
    """
    frames: list[Frame] = []
    paths: list[Path] = []
    for file in files:
        if file.name == "DICOMDIR":
            continue
        try:
            frames += read_frames(file)
        except DataError:
            paths.append(file)
    groups = group([frame for frame in frames if frame.modality != "SEG"])
    uses = Counter(file for alike in groups for file in {frame.file for frame in alike})
    for alike in groups:
        own = sorted({frame.file for frame in alike})
        if len(own) == 1 and uses[own[0]] == 1:
            paths.append(own[0])
        elif len(own) == 1:
            paths.append(_numbered(folder, own[0], alike, groups))
        else:
            home = Path(os.path.commonpath([file.parent for file in own]))
            paths.append(_numbered(folder, home, alike, groups))
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
