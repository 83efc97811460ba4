"""The series in a folder, and the reading of one of them as an image."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from scipy import ndimage

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data.dicom._dataset import dicom_files
from jaxmed.data.dicom._frames import Frame, Mark, read_frames
from jaxmed.data.dicom._pixels import read_pixels
from jaxmed.data.dicom._stack import ALLOWED, Stack, group, lifted, one_direction, stack
from jaxmed.data.images._space import Scan, Space


class SeriesInfo(NamedTuple):
    """What can be read as one image; made by `dicom_series`.

    Attributes:
        uid: identifier of the series. A series that holds several directions or sizes is listed
            once for each.
        modality: ``CT``, ``MR``, ``DX``, ...
        description: as the operator wrote it; it may name the patient.
        shape: spatial shape of the array that `read_dicom` gives: (columns, rows, slices) in the
            patient, (rows, columns) of a picture.
        channels: channels of that array: what repeats at one place, or colours.
        spacing: voxel edge lengths in mm; 1 where the files know none.
        repeats: what tells the channels apart, such as ``{"echo time": (4.6, 9.2)}``.
        files: the files, in the order of their slices.
        faults: the rules it breaks; `read_dicom` refuses it unless they are allowed.
    """

    uid: str
    modality: str
    description: str
    shape: tuple[int, ...]
    channels: int
    spacing: tuple[float, ...]
    repeats: Mapping[str, tuple[Mark, ...]]
    files: tuple[Path, ...]
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        repeats = "".join(f", {len(v)} by {name}" for name, v in self.repeats.items())
        return f"{self.modality or 'image'} of {size} in {len(self.files)} files{repeats}"


class DicomSource(NamedTuple):
    """What a scan keeps of its DICOM files: where they are, and nothing that is in them.

    Attributes:
        slices: the file and the number of the frame in it, of each slice of the first channel.
        modality: ``CT``, ``MR``, ...
    """

    slices: tuple[tuple[Path, int], ...]
    modality: str


def dicom_series(folder: str | os.PathLike) -> tuple[SeriesInfo, ...]:
    """List what a folder of DICOM files holds, from the headers alone.

    Files are known by their first bytes, whatever their names; folders below are searched. Images
    belong together that have one series, size, spacing and direction. What is no image (reports,
    presentation states, segmentations) is left out.

    Args:
        folder: the folder, or one file.

    Returns:
        The series, those with the most slices first.

    Raises:
        DataError: there is no such folder, it holds no DICOM image, or a file is damaged.

    Examples:
        >>> from jaxmed import data
        >>> data.dicom_series("no/such/folder")
        Traceback (most recent call last):
        jaxmed.data.DataError: no/such/folder: there is no such file or folder [rule exists: ...]
    """
    return tuple(info for info, _ in _found(Path(folder), ()))


def read_dicom(
    path: str | os.PathLike,
    *,
    canonical: bool = False,
    series: int | str | SeriesInfo | None = None,
    frame: int | str | None = None,
    allow: str | Collection[str] = (),
    padding: float | None = None,
) -> Scan:
    """Read a DICOM series as one image in the patient.

    Slices are ordered by their place along the normal. The affine's columns are the vectors along
    rows, along columns and from the first slice to the last over the number of steps, so that a
    tilted gantry is a shear. What repeats at one place (echoes, b-values, times) becomes channels.

    Intensities are the stored ones through slope and intercept or the modality's table, per slice
    where each has its own: Hounsfield units of a CT. They are not scaled to [0, 1], not even those
    of a picture. X-rays, ultrasound and other pictures whose 0 is white (MONOCHROME1) are turned so
    that bright is high; palettes and YBR become red, green, blue.

    Args:
        path: a folder of files, searched with those below it, or one file: a slice of its own, as
            deep as its header says or else 1 mm, unless it holds several frames.
        canonical: whether to turn a volume to RAS+.
        series: which of the folder's series: its number in `dicom_series`, its UID, or what
            `dicom_series` gave. A folder with one needs none.
        frame: which of the images that repeat at a place, or of a picture's frames: its number, or
            what tells it from the others, as ``"echo time:4.6"``. All by default.
        allow: names of rules that may be broken: ``"slice-missing"`` fills gaps linearly from the
            slices around them and drops what not all places have, ``"spacing-uneven"`` brings
            slices to one distance linearly, ``"slice-twice"`` takes the first of each, and
            ``"orientation-mixed"`` the direction with the most slices.
        padding: replaces the pixels that the header declares to be outside of what was scanned;
            without it they keep the value that the file gives them.

    Returns:
        The scan: ``array`` (columns, rows, slices, channels) float32 with its place; of a picture
        (rows, columns, channels), and (rows, columns, frames, channels) of several. It keeps where
        the files are and nothing that identifies the patient.

    Raises:
        DataError: the series breaks a rule (``spacing-uneven``, ``slice-missing``,
            ``slice-twice``, ``orientation-mixed``), there are several (``one-series``), or its
            pixels cannot be decoded (``codec-missing``, ``readable``).
    """
    path = Path(path)
    allowed = _allowed(allow)
    info, found = _choose(path, series, allowed)
    if info.faults:
        raise DataError.of(info.faults)
    found = _framed(path, found, frame)
    array = _voxels(found, padding)
    file = _space(found)
    affine = file.affine
    if canonical and found.placed:
        turn = nib.io_orientation(affine)
        affine = affine @ nib.orientations.inv_ornt_aff(turn, file.shape)
        array = nib.apply_orientation(array, turn)
    return Scan(np.ascontiguousarray(array), affine, file)


def read_dicom_space(
    path: Path,
    *,
    series: int | str | SeriesInfo | None = None,
    frame: int | str | None = None,
    allow: str | Collection[str] = (),
) -> tuple[Space, int]:
    """The grid and the number of channels that `read_dicom` gives, from the headers."""
    info, found = _choose(path, series, _allowed(allow))
    if info.faults:
        raise DataError.of(info.faults)
    found = _framed(path, found, frame)
    return _space(found), len(found.slices[0]) * found.slices[0][0].channels


def _space(found: Stack) -> Space:
    """The grid of a stack, and where its files are."""
    slices = tuple((place[0].file, place[0].index) for place in found.slices)
    source = DicomSource(slices, found.slices[0][0].modality)
    return Space(found.size, found.affine, source)


def _allowed(allow: str | Collection[str]) -> tuple[str, ...]:
    names = (allow,) if isinstance(allow, str) else tuple(allow)
    unknown = [name for name in names if name not in ALLOWED]
    if unknown:
        raise ValueError(f"allow takes {', '.join(ALLOWED)}, not {unknown[0]!r}")
    return names


def _found(path: Path, allow: Collection[str]) -> list[tuple[SeriesInfo, Stack]]:
    """The series of a folder or file and their stacks; those with the most slices first."""
    if not path.exists():
        raise fault(path, "exists", "there is no such file or folder")
    files = [path] if path.is_file() else [*dicom_files(path)]
    frames = [frame for file in files for frame in read_frames(file)]
    images = [frame for frame in frames if frame.modality != "SEG"]
    if not images:
        if frames:
            what = "a segmentation (data.read_dicom_seg reads it) and no image"
        elif len(files) == 1:
            what = "a DICOM object without an image, such as a report, a plan or a contour"
        else:
            what = f"{len(files)} DICOM files, none of them an image" if files else "no DICOM file"
        raise fault(path, "non-empty", what)
    return listed(path, images, allow)


def listed(
    path: Path, frames: Sequence[Frame], allow: Collection[str]
) -> list[tuple[SeriesInfo, Stack]]:
    """The series of some frames and their stacks, those with the most slices first."""
    found = []
    for alike in group(frames):
        made, faults = stack(str(path), alike, allow)
        found.append((_info(alike, made, faults), made))
    found.sort(key=lambda pair: (-len(pair[1].slices), str(pair[0].files[0])))
    return found


def _info(frames: Sequence[Frame], made: Stack, faults: tuple[Fault, ...]) -> SeriesInfo:
    first = made.slices[0][0]
    files = dict.fromkeys(frame.file for place in made.slices for frame in place)
    return SeriesInfo(
        uid=first.series,
        modality=first.modality,
        description=first.description,
        shape=made.size,
        channels=len(made.slices[0]) * first.channels,
        spacing=Space(made.size, made.affine).spacing,
        repeats=dict(made.repeats),
        files=(*files, *dict.fromkeys(f.file for f in frames if f.file not in files)),
        faults=faults,
    )


def _choose(
    path: Path, series: int | str | SeriesInfo | None, allow: Collection[str]
) -> tuple[SeriesInfo, Stack]:
    """The one series that is meant, or the error that lists those there are."""
    found = _found(path, allow)
    if isinstance(series, SeriesInfo):
        wanted = ({*series.files}, series.shape)
        found = [pair for pair in found if ({*pair[0].files}, pair[0].shape) == wanted]
        if not found:
            raise fault(path, "one-series", f"it holds no series of {series}")
        return found[0]
    if isinstance(series, str) and not (series.isdecimal() and len(series) < 6):
        found = [pair for pair in found if pair[0].uid == series]
        if not found:
            raise fault(path, "one-series", "it holds no series of that UID")
    elif series is not None:
        number = int(series)
        if not 0 <= number < len(found):
            raise fault(
                path, "one-series", f"it holds {len(found)} series, none of number {number}"
            )
        return found[number]
    if len(found) == 1:
        return found[0]
    there = "; ".join(f"{k}: {info}" for k, (info, _) in enumerate(found[:6]))
    there += "; ..." if len(found) > 6 else ""
    choose = "choose one by its number, series=0 (behind the path: #series=0)"
    if len({info.uid for info, _ in found}) == 1 and _directions(found) > 1:
        if "orientation-mixed" in allow:
            return found[0]
        raise fault(
            path,
            "orientation-mixed",
            f"one series with images of {_directions(found)} directions, as a localizer among them "
            f"({there}); {choose}, or {lifted('orientation-mixed')}",
        )
    raise fault(path, "one-series", f"{len(found)} images in one folder ({there}); {choose}")


def _directions(found: Sequence[tuple[SeriesInfo, Stack]]) -> int:
    different: list[Frame] = []
    for _, made in found:
        first = made.slices[0][0]
        if not any(one_direction(first, other) for other in different):
            different.append(first)
    return len(different)


def _framed(path: Path, found: Stack, frame: int | str | None) -> Stack:
    """Keep the images of one frame."""
    if frame is None:
        return found
    pages = not found.placed
    count = found.depth if pages else len(found.slices[0])
    if isinstance(frame, str) and not frame.isdecimal():
        name, _, value = frame.partition(":")
        values = found.repeats.get(name.strip())
        if values is None:
            there = ", ".join(found.repeats) or "nothing"
            raise fault(path, "shape", f"{name!r} does not repeat at one place; {there} does")
        keep = [c for c, got in enumerate(values) if _equal(got, value.strip())]
        if not keep:
            raise fault(
                path, "shape", f"no {name} of {value}; there are {', '.join(map(str, values))}"
            )
    else:
        if not 0 <= int(frame) < count:
            raise fault(path, "shape", f"no frame {frame}; there are {count}, from 0")
        keep = [int(frame)]
    if pages:
        slices = tuple(found.slices[k] for k in keep)
        affine = found.affine[np.ix_([0, 1, -1], [0, 1, -1])]
        return Stack(slices, {}, affine, np.arange(len(keep)), len(keep), found.aside[keep])
    slices = tuple(tuple(place[c] for c in keep) for place in found.slices)
    repeats = {n: tuple(v[c] for c in keep) for n, v in found.repeats.items()}
    return found._replace(slices=slices, repeats=repeats if len(keep) > 1 else {})


def _equal(found: Mark, wanted: str) -> bool:
    try:
        return bool(np.isclose(float(found), float(wanted), rtol=1e-3))
    except ValueError:
        return str(found).casefold() == wanted.casefold()


def _voxels(found: Stack, padding: float | None) -> np.ndarray:
    """Read and place the pixels: (*spatial, channels) float32."""
    repeats, colours = len(found.slices[0]), found.slices[0][0].channels
    rows, columns = found.slices[0][0].size
    wanted: dict[Path, list[tuple[Frame, int, int]]] = {}
    for k, place in enumerate(found.slices):
        for c, frame in enumerate(place):
            wanted.setdefault(frame.file, []).append((frame, k, c))
    out = np.empty((len(found.slices), rows, columns, repeats * colours), np.float32)
    for file, targets in wanted.items():
        indices = sorted({frame.index for frame, _, _ in targets})
        values = dict(zip(indices, read_pixels(file, indices, padding=padding), strict=True))
        for frame, k, c in targets:
            top, left = frame.corner
            value = values[frame.index][top : top + rows, left : left + columns]
            out[k, :, :, c * colours : (c + 1) * colours] = value
    if not found.placed:
        return np.moveaxis(out, 0, 2) if len(out) > 1 else out[0]
    for k in np.flatnonzero(np.any(found.aside != 0, axis=1)):
        across, down = found.aside[k]
        out[k] = ndimage.shift(out[k], (down, across, 0), order=1, mode="nearest")
    if found.depth != len(out) or not np.array_equal(found.at, np.arange(len(out))):
        out = _even(out, found.at, found.depth)
    return np.transpose(out, (2, 1, 0, 3))


def _even(slices: np.ndarray, at: np.ndarray, depth: int) -> np.ndarray:
    """Interpolate slices that lie ``at`` uneven places on an even grid."""
    wanted = np.arange(depth)
    after = np.clip(np.searchsorted(at, wanted - 1e-9), 1, len(at) - 1)
    share = ((wanted - at[after - 1]) / (at[after] - at[after - 1])).astype(np.float32)
    share = np.clip(share, 0, 1)[:, None, None, None]
    return slices[after - 1] * (1 - share) + slices[after] * share
