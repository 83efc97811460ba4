"""Writing of DICOM segmentations by highdicom, each frame with its place in the patient."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed import __version__
from jaxmed._files import replacing
from jaxmed.data._error import reading
from jaxmed.data._optional import optional
from jaxmed.data.dicom._dataset import quiet, read_header
from jaxmed.data.dicom._series import DicomSource, SeriesInfo, read_dicom_space
from jaxmed.data.images._geometry import to_space
from jaxmed.data.images._segments import Code, Segment
from jaxmed.data.images._space import Scan, Space

_TO_LPS = np.array([-1.0, -1.0, 1.0])
_LARGEST = 2**16 - 1


def write_dicom_seg(
    path: str | os.PathLike,
    mask: np.ndarray,
    source: Scan | SeriesInfo | str | os.PathLike,
    segments: Sequence[Segment | str] | Mapping[int, str] | None = None,
    *,
    algorithm: str | None = "jaxmed",
    description: str = "Segmentation",
    series_number: int = 100,
) -> Path:
    """Write a mask as a DICOM segmentation of the series it was made from.

    The file belongs to the patient and the study of the series, as the standard asks, and so names
    the patient as the series does. Every frame states its position and orientation. Labels that
    are numbered from 1 without a gap are stored a bit a voxel and segment, others as a map of
    labels (DICOM 2024), which keeps their numbers.

    Args:
        path: the file, ``.dcm``.
        mask: (*spatial,) whole numbers on the grid of the scan, or (*spatial, segments) bool or
            0/1, of structures that may overlap.
        source: the scan as `read_dicom` or `read_image` gave it, turned or resampled since if need
            be; or the series or folder that it would read, whose grid the mask is on.
        segments: the structures by name: `Segment` with codes, names of the labels 1, 2, ..., or
            ``{number: name}``. The labels that occur, by number, if none are named.
        algorithm: what made the mask, for the file's record; None if a person drew it.
        description: of the new series.
        series_number: of the new series.

    Returns:
        ``path``. The file appears whole or not at all.

    Raises:
        ValueError: the mask is not on the scan's grid, holds labels that are not named, or the
            scan did not come from DICOM.

    Examples:
        >>> import numpy as np
        >>> from jaxmed import data
        >>> plain = data.Scan(np.zeros((2, 2, 1)), np.eye(3), data.Space((2, 2), np.eye(3)))
        >>> data.write_dicom_seg("a.dcm", np.zeros((2, 2), int), plain)
        Traceback (most recent call last):
        ValueError: a.dcm: a DICOM segmentation belongs to a series, and this scan was not read ...
    """
    path = Path(path)
    file, affine, shape = _grid(path, source)
    mask = np.asarray(mask)
    if mask.shape[: len(shape)] != shape or mask.ndim not in (len(shape), len(shape) + 1):
        raise ValueError(f"{path}: the mask is {mask.shape}, the scan's grid {shape}")
    if mask.dtype.kind not in "iub":
        raise ValueError(f"{path}: a mask holds whole numbers, got {mask.dtype}")
    several = mask.ndim == len(shape) + 1
    layers = [mask[..., k] for k in range(mask.shape[-1])] if several else [mask]
    layers = [to_space(layer, affine, file) for layer in layers]
    named = _named(path, layers, segments, several=several)
    folder = file.header.slices[0][0].parent
    with replacing(path) as partial:
        # A segmentation refers to each file by tags that a reader of images needs not.
        with reading(folder, "what a segmentation refers to"):
            built = _build(
                path, layers, file, named, several, algorithm, description, series_number
            )
        with quiet():
            built.save_as(partial)
    return path


def _grid(
    path: Path, source: Scan | SeriesInfo | str | os.PathLike
) -> tuple[Space, np.ndarray, tuple[int, ...]]:
    """The grid of the files, and the affine and shape of the grid that the mask is on."""
    if isinstance(source, Scan):
        if not isinstance(source.file.header, DicomSource):
            raise ValueError(
                f"{path}: a DICOM segmentation belongs to a series, and this scan was not read "
                "from one; write .nii.gz or .nrrd"
            )
        return source.file, source.affine, source.space.shape
    if isinstance(source, SeriesInfo):
        file, _ = read_dicom_space(Path(os.path.commonpath(source.files)), series=source)
    else:
        file, _ = read_dicom_space(Path(source))
    return file, file.affine, file.shape


def _named(
    path: Path,
    layers: Sequence[np.ndarray],
    segments: Sequence[Segment | str] | Mapping[int, str] | None,
    *,
    several: bool,
) -> list[Segment]:
    """The segments by number, and a check that each label has one."""
    present = np.unique(layers[0])
    if several:
        if any(layer.min() < 0 or layer.max() > 1 for layer in layers if layer.dtype != bool):
            raise ValueError(f"{path}: a mask with an axis of segments holds 0 and 1 alone")
        present = np.arange(len(layers) + 1)
    labels = [int(v) for v in present if v != 0]
    if segments is None:
        named = [Segment(label, str(label)) for label in labels or [1]]
    elif isinstance(segments, Mapping):
        named = [Segment(int(number), name) for number, name in sorted(segments.items())]
    else:
        named = [
            s if isinstance(s, Segment) else Segment(k, s) for k, s in enumerate(segments, start=1)
        ]
    numbers = [segment.number for segment in named]
    if several and len(named) != len(layers):
        raise ValueError(f"{path}: {len(layers)} masks and {len(named)} segments")
    if len(set(numbers)) < len(numbers) or min(numbers, default=1) < 1:
        raise ValueError(f"{path}: segments are numbered from 1, each once, got {numbers}")
    lacking = [] if several else [label for label in labels if label not in numbers]
    if lacking:
        raise ValueError(f"{path}: the labels {lacking} have no name among the segments {numbers}")
    if max(numbers) > _LARGEST:
        raise ValueError(f"{path}: a DICOM segment has a number up to {_LARGEST}; renumber them")
    return sorted(named, key=lambda segment: segment.number) if not several else named


def _build(
    path: Path,
    layers: Sequence[np.ndarray],
    file: Space,
    segments: Sequence[Segment],
    several: bool,
    algorithm: str | None,
    description: str,
    series_number: int,
) -> Any:
    """Make the data set, with all functional groups stated."""
    hd = optional("highdicom", "writing DICOM segmentations")
    seg = optional("highdicom.seg", "writing DICOM segmentations")
    uids = [hd.UID() for _ in range(2)]
    source: DicomSource = file.header
    files = dict.fromkeys(file for file, _ in source.slices)
    headers = _sources([read_header(file) for file in files])
    letters = _letters(hd, headers[0])
    _mend(hd, headers[0])
    numbers = [segment.number for segment in segments]
    plain = several or numbers == [*range(1, len(numbers) + 1)]
    if several:
        pixels = np.stack([_slices(layer) for layer in layers], axis=-1).astype(np.uint8)
        segments = [s._replace(number=k) for k, s in enumerate(segments, start=1)]
    else:
        pixels = _slices(layers[0]).astype(np.uint8 if max(numbers) < 256 else np.uint16)
    placed = len(file.affine) == 4 and "FrameOfReferenceUID" in headers[0]
    with quiet():
        return seg.Segmentation(
            source_images=headers,
            pixel_array=pixels,
            segmentation_type="BINARY" if plain else "LABELMAP",
            segment_descriptions=[_described(hd, seg, s, algorithm) for s in segments],
            series_instance_uid=uids[0],
            series_number=series_number,
            sop_instance_uid=uids[1],
            instance_number=1,
            manufacturer="jaxmed",
            manufacturer_model_name=algorithm or "jaxmed",
            software_versions=__version__,
            device_serial_number="0",
            series_description=description,
            specific_character_set=letters,
            **(_geometry(hd, file) if placed else {}),
        )


def _sources(headers: list[Any]) -> list[Any]:
    """The headers as highdicom asks for them: one of several frames, or one for each slice."""
    if "PerFrameFunctionalGroupsSequence" not in headers[0]:
        return headers
    first = headers[0]  # it takes no second file of several frames
    common = first.SharedFunctionalGroupsSequence[0]
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        own = first.PerFrameFunctionalGroupsSequence[0].get(name)
        if name not in common and own:  # which it looks for among the common ones alone
            setattr(common, name, own)
    return [first]


def _letters(hd: Any, header: Any) -> str | None:
    """The character set of what is copied: the header's own, or else one that holds all letters.

    Scanners write an empty one, the default by its name, or several of which the first is empty.
    """
    given = header.get("SpecificCharacterSet")
    if not given or given == "ISO_IR 6":
        return None
    header.decode()
    known = [found.value for found in hd.SpecificCharacterSetValues]
    alone = isinstance(given, str) and given in known and "2022" not in given
    return str(given) if alone else "ISO_IR 192"


def _mend(hd: Any, header: Any) -> None:
    """Empty what the standard lets be empty and the header lacks, or has in no form of DICOM's."""
    from pydicom.valuerep import DA, TM

    forms = {
        "PatientBirthDate": DA, "PatientSex": hd.PatientSexValues, "StudyDate": DA,
        "StudyTime": TM, "PatientID": str, "PatientName": str, "AccessionNumber": str,
        "StudyID": str,
    }  # fmt: skip
    for name, form in forms.items():
        value = header.get(name)
        try:
            whole = value not in (None, "") and form(value) is not None
        except ValueError:
            whole = False
        if not whole:
            setattr(header, name, "")


def _slices(mask: np.ndarray) -> np.ndarray:
    """(columns, rows, slices) as (slices, rows, columns); a picture as its only frame."""
    if mask.ndim == 2:
        return mask[None]
    return np.ascontiguousarray(np.transpose(mask, (2, 1, 0)))


def _geometry(hd: Any, file: Space) -> dict[str, Any]:
    """Orientation, spacing and the position of each slice, sheared grids included."""
    edges = _TO_LPS[:, None] * file.affine[:3, :3]
    origin = _TO_LPS * file.affine[:3, 3]
    lengths = np.linalg.norm(edges, axis=0)
    distance = abs(float(edges[:, 2] @ np.cross(edges[:, 0], edges[:, 1])))
    distance /= float(lengths[0] * lengths[1])
    positions = origin + np.arange(file.shape[2])[:, None] * edges[:, 2]
    return {
        "pixel_measures": hd.PixelMeasuresSequence(
            pixel_spacing=[float(lengths[1]), float(lengths[0])],
            slice_thickness=distance,
            spacing_between_slices=distance,
        ),
        "plane_orientation": hd.PlaneOrientationSequence(
            "PATIENT", [*(edges[:, 0] / lengths[0]), *(edges[:, 1] / lengths[1])]
        ),
        "plane_positions": [
            hd.PlanePositionSequence("PATIENT", [float(v) for v in place]) for place in positions
        ],
    }


def _described(hd: Any, seg: Any, segment: Segment, algorithm: str | None) -> Any:
    def coded(code: Code) -> Any:
        return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)

    return seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.name[:64],
        segmented_property_category=coded(segment.category),
        segmented_property_type=coded(segment.kind),
        algorithm_type="AUTOMATIC" if algorithm else "MANUAL",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm,
            version=__version__,
            family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        )
        if algorithm
        else None,
        tracking_uid=hd.UID(),
        tracking_id=segment.name[:64],
    )
