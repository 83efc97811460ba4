"""Paths by which the series in a folder are read one by one."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxmed.data._error import DataError
from jaxmed.data.dicom._dataset import is_directory, read_header
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
        if is_directory(file):
            continue
        try:
            frames += read_frames(file)
        except DataError:
            paths.append((file, ""))
    groups = group([frame for frame in frames if frame.modality != "SEG"])
    uses = Counter(file for alike in groups for file in {frame.file for frame in alike})
    whole: dict[tuple[str, str], list[Frame]] = {}
    for alike in groups:
        whole.setdefault((alike[0].series, alike[0].origin), []).extend(alike)
    lists: dict[Path, list[Frame]] = {}
    for alike in groups:
        home = _home(alike)
        series = whole[alike[0].series, alike[0].origin]
        if len(series) > len(alike) and alike[0].position is not None:
            # A localizer within: listed whole, so that reading it names the rule that it breaks.
            around = _home(series)
            if len(_inside(around, groups)) == len(series):
                if (around, alike[0].series) not in paths:
                    paths.append((around, alike[0].series))
                continue
        alone = home.is_file() and uses[home] == 1
        if not alone and home not in lists:
            found = listed(home, _inside(home, groups), ())
            lists[home] = [made.slices[0][0] for _, made in found]
        path = home if alone else _numbered(folder, home, alike, lists[home])
        paths.append((path, alike[0].series))
    return paths


def _home(frames: Sequence[Frame]) -> Path:
    """The file that holds all frames, or the folder."""
    files = {frame.file for frame in frames}
    if len(files) == 1:
        return next(iter(files))
    return Path(os.path.commonpath([file.parent for file in files]))


def _inside(home: Path, groups: Sequence[Sequence[Frame]]) -> list[Frame]:
    return [f for g in groups for f in g if f.file == home or home in f.file.parents]


def _numbered(folder: Path, home: Path, alike: Sequence[Frame], firsts: Sequence[Frame]) -> Path:
    """The place that holds a series, with its number there if it is not the only one.

    ``firsts`` are the first frames of the series there, in the order of `dicom_series`.
    """
    if len(firsts) == 1:
        return home
    own = {(frame.file, frame.index, frame.corner) for frame in alike}
    number = next(k for k, f in enumerate(firsts) if (f.file, f.index, f.corner) in own)
    said = f"#series={number}"
    return home / said if home == folder else home.with_name(f"{home.name}{said}")
