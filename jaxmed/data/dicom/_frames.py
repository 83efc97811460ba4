"""The frames of DICOM files: where each lies, and what else tells it from another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data.dicom._dataset import quiet, read_header
from jaxmed.data.dicom._mosaic import is_mosaic, mosaic

Mark = float | str

# Rays cross the whole patient, so that a place that is stated is no slice's.
_PROJECTIONS = ("CR", "DX", "MG", "IO", "PX", "RG", "XA", "RF")
_ORIGIN = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")


class Frame(NamedTuple):
    """One image of a DICOM file.

    Attributes:
        file: the file, and ``index`` the frame's number in it, from 0.
        index: see ``file``.
        number: the instance number of the file, by which nothing is ordered that has a place.
        series: UID of the series.
        origin: patient, study and frame of reference: images of two are never one volume.
        modality: ``CT``, ``MR``, ...
        description: of the series, as its operator wrote it: may name the patient.
        size: rows and columns.
        channels: 1, or 3 of a colour image.
        position: (3,) centre of the first pixel in the patient, in mm towards left, back and head;
            None for an image without a place.
        axes: (2, 3) unit vectors along a row and along a column; None as ``position``.
        spacing: mm between rows and between columns; None where the file does not know.
        thickness: mm from one slice to the next as the header states it, for a slice on its own.
        marks: what may differ between images of one place, name to value.
        corner: row and column of the first pixel in the file's picture, of a mosaic's tile.
    """

    file: Path
    index: int
    number: int
    series: str
    origin: str
    modality: str
    description: str
    size: tuple[int, int]
    channels: int
    position: np.ndarray | None
    axes: np.ndarray | None
    spacing: tuple[float, float] | None
    thickness: float | None
    marks: Mapping[str, Mark]
    corner: tuple[int, int] = (0, 0)


def read_frames(path: Path) -> list[Frame]:
    """List the frames of a file from its header; none if it holds no image.

    Raises:
        DataError: the file cannot be read, or is a tile of a whole slide, which has no place in a
            patient.
    """
    dataset = read_header(path)
    with reading(path, "the DICOM header"), quiet():
        return frames_of(path, dataset)


def frames_of(path: Path, dataset: Any) -> list[Frame]:
    """List the frames of a data set that was read from a file."""
    if not dataset.get("Rows") or not dataset.get("Columns"):
        return []
    _check_kind(path, dataset)
    count = int(dataset.get("NumberOfFrames") or 1)
    palette = dataset.get("PhotometricInterpretation") == "PALETTE COLOR"
    channels = 3 if palette else int(dataset.get("SamplesPerPixel") or 1)
    shared = {
        "file": path,
        "number": _instance(dataset),
        "series": str(dataset.get("SeriesInstanceUID") or ""),
        "origin": "|".join(str(dataset.get(name) or "") for name in _ORIGIN),
        "modality": str(dataset.get("Modality") or ""),
        "description": str(dataset.get("SeriesDescription") or ""),
        "size": (int(dataset.Rows), int(dataset.Columns)),
        "channels": channels,
    }
    places = _places(dataset, count)
    if is_mosaic(dataset):
        place, marks = next(places)
        return _tiles(path, dataset, Frame(**shared, index=0, **place, marks=marks))
    return [
        Frame(**shared, index=index, **place, marks=marks)
        for index, (place, marks) in enumerate(places)
    ]


def _tiles(path: Path, dataset: Any, whole: Frame) -> list[Frame]:
    """The slices of a mosaic."""
    if whole.axes is None:
        raise fault(path, "shape", "a Siemens mosaic without a place in the patient")
    found = mosaic(path, dataset, whole.axes, whole.thickness or 1.0)
    return [
        whole._replace(size=found.size, corner=corner, position=position)
        for corner, position in zip(found.corners, found.positions, strict=True)
    ]


def _check_kind(path: Path, dataset: Any) -> None:
    if "TotalPixelMatrixRows" in dataset and dataset.get("Modality") != "SEG":
        raise fault(path, "shape", "a tile of a whole slide, which is no image in a patient")


def _places(dataset: Any, count: int) -> Iterator[tuple[dict[str, Any], dict[str, Mark]]]:
    """The place and the marks of each frame."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups:
        common = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
        for own in groups:
            find = _finder(own, common)
            measures = find("PixelMeasuresSequence")
            yield (
                _place(
                    find("PlanePositionSequence").get("ImagePositionPatient"),
                    find("PlaneOrientationSequence").get("ImageOrientationPatient"),
                    measures.get("PixelSpacing") or _spacing(dataset),
                    measures.get("SpacingBetweenSlices") or measures.get("SliceThickness"),
                ),
                _marks_of_group(find, dataset),
            )
        return
    thickness = dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness")
    axes, position = dataset.get("ImageOrientationPatient"), dataset.get("ImagePositionPatient")
    if dataset.get("Modality") in _PROJECTIONS:
        position = None
    offsets: Sequence[float] = ()
    if dataset.get("GridFrameOffsetVector"):  # doses
        offsets = [float(offset) for offset in dataset.GridFrameOffsetVector]
        offsets = [offset - offsets[0] for offset in offsets]
    elif count > 1 and "TOMO" in [*(dataset.get("ImageType") or ())][2:3]:  # nuclear medicine
        detector = (dataset.get("DetectorInformationSequence") or [{}])[0]
        axes = axes or detector.get("ImageOrientationPatient")
        position = position or detector.get("ImagePositionPatient")
        offsets = [k * float(thickness or 1) for k in range(count)]
    place = _place(position, axes, _spacing(dataset), thickness)
    marks = {name: value for name, get in _MARKS.items() if (value := get(dataset)) is not None}
    for index in range(count):
        if count == 1 or place["position"] is None:
            yield place, marks
        elif index < len(offsets):
            along = np.cross(*place["axes"]) * offsets[index]
            yield {**place, "position": place["position"] + along}, marks
        else:
            yield {**place, "position": None, "axes": None}, marks


def _place(position: Any, axes: Any, spacing: Any, thickness: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "position": None,
        "axes": None,
        "spacing": _positive(spacing),
        "thickness": None if not thickness else abs(float(thickness)),
    }
    if position is None or axes is None or len(position) != 3 or len(axes) != 6:
        return found
    found["position"] = np.array([float(value) for value in position])
    if found["spacing"] is None:
        raise ValueError("it states a place in the patient, but no distance between its pixels")
    vectors = np.array([float(value) for value in axes]).reshape(2, 3)
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.all(np.isfinite([*lengths, *found["position"]])) or np.abs(lengths - 1).max() > 0.01:
        raise ValueError(f"the orientation {vectors.ravel().tolist()} is not of two unit vectors")
    if abs(vectors[0] @ vectors[1]) > 0.01:
        raise ValueError(f"the orientation {vectors.ravel().tolist()} is not at right angles")
    found["axes"] = vectors / lengths[:, None]
    return found


def _positive(spacing: Any) -> tuple[float, float] | None:
    if not isinstance(spacing, str) and spacing is not None and len(spacing) == 2:
        rows, columns = float(spacing[0]), float(spacing[1])
        if 0 < rows < np.inf and 0 < columns < np.inf:
            return rows, columns
    return None


def _spacing(dataset: Any) -> Any:
    """The distance of rows and of columns; of ultrasound that of its only region."""
    spacing = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    if spacing is None:
        spacing = dataset.get("NominalScannedPixelSpacing")
    regions = dataset.get("SequenceOfUltrasoundRegions") or ()
    if spacing is None and len(regions) == 1:
        region = regions[0]
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        if units == (3, 3):  # centimetres
            return [
                10 * abs(float(region.PhysicalDeltaY)),
                10 * abs(float(region.PhysicalDeltaX)),
            ]
    return spacing


def _finder(own: Any, common: Any) -> Callable[[str], Any]:
    """A function to the first item of a functional group, the frame's own before the common one."""

    def find(name: str) -> Any:
        found = own.get(name) or common.get(name)
        return found[0] if found else {}

    return find


def _instance(dataset: Any) -> int:
    try:
        return int(dataset.get("InstanceNumber") or 0)
    except (TypeError, ValueError):
        return 0  # nothing depends on it but the choice between equals


def _number(name: str) -> Callable[[Any], float | None]:
    def get(dataset: Any) -> float | None:
        value = dataset.get(name)
        return None if value is None or value == "" else float(value)

    return get


def _text(name: str) -> Callable[[Any], str | None]:
    def get(dataset: Any) -> str | None:
        value = dataset.get(name)
        if value is None or value == "":
            return None
        return value if isinstance(value, str) else "\\".join(str(part) for part in value)

    return get


def _b_value(dataset: Any) -> float | None:
    """The b-value, where makers keep it in elements of their own too."""
    for name in ("DiffusionBValue", *_PRIVATE_B.get(str(dataset.get("Manufacturer"))[:7], ())):
        element = dataset.get(name)
        value = getattr(element, "value", element)
        try:
            return float(value.decode() if isinstance(value, bytes) else value)
        except (AttributeError, TypeError, ValueError):
            continue
    return None


_PRIVATE_B: Mapping[str, tuple[tuple[int, int], ...]] = {
    "SIEMENS": ((0x0019, 0x100C),),
    "Siemens": ((0x0019, 0x100C),),
    "Philips": ((0x2001, 0x1003),),
}
# What can tell two images of one place from each other, the first the most telling.
_MARKS: Mapping[str, Callable[[Any], Mark | None]] = {
    "image type": _text("ImageType"),
    "stack": _text("StackID"),
    "echo time": _number("EchoTime"),
    "b-value": _b_value,
    "gradient": _text("DiffusionGradientOrientation"),
    "inversion time": _number("InversionTime"),
    "flip angle": _number("FlipAngle"),
    "kernel": _text("ConvolutionKernel"),
    "kilovolt": _number("KVP"),
    "time": _number("TemporalPositionIdentifier"),
    "acquisition": _number("AcquisitionNumber"),
    "trigger time": _number("TriggerTime"),
    "frame time": _number("FrameReferenceTime"),
    "acquired": _text("AcquisitionTime"),
}
RANKED = ("trigger time", "frame time", "acquired")
"""Marks that differ from slice to slice too, so that only their order at a place tells."""


def _marks_of_group(find: Callable[[str], Any], dataset: Any) -> dict[str, Mark]:
    content = find("FrameContentSequence")
    diffusion = find("MRDiffusionSequence")
    direction = (diffusion.get("DiffusionGradientDirectionSequence") or [{}])[0]
    kind = find("MRImageFrameTypeSequence") or find("CTImageFrameTypeSequence")
    kind = kind or find("PETFrameTypeSequence") or {}
    modifier, timing = find("MRModifierSequence"), find("MRTimingAndRelatedParametersSequence")
    cardiac = find("CardiacSynchronizationSequence")
    found = {
        "image type": _text("FrameType")(kind),
        "stack": _text("StackID")(content),
        "echo time": _number("EffectiveEchoTime")(find("MREchoSequence")),
        "b-value": _number("DiffusionBValue")(diffusion),
        "gradient": _text("DiffusionGradientOrientation")(direction),
        "inversion time": _text("InversionTimes")(modifier),
        "flip angle": _number("FlipAngle")(timing),
        "time": _number("TemporalPositionIndex")(content),
        "acquisition": _number("FrameAcquisitionNumber")(content),
        "trigger time": _number("NominalCardiacTriggerDelayTime")(cardiac),
        "acquired": _text("FrameAcquisitionDateTime")(content),
    }
    return {name: value for name, value in found.items() if value is not None}
