"""Series of DICOM files that the tests write themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

try:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid
except ImportError:  # a conftest cannot skip
    collect_ignore_glob = ["test_*.py"]

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
}
PATIENT = {
    "PatientName": "Zebrafinch^Quentin",
    "PatientID": "MRN-7731946",
    "PatientBirthDate": "19470313",
    "StudyDate": "20190817",
    "StudyTime": "112358",
    "AccessionNumber": "ACC-550127",
    "ReferringPhysicianName": "Oxbowlake^Hermia",
    "InstitutionName": "Marigold Infirmary",
    "SeriesDescription": "Ax Zebrafinch",
    "StationName": "SCANNER-9-MARI",
}


def dataset(
    pixels: np.ndarray, modality: str = "CT", tags: Mapping[str, object] | None = None
) -> Dataset:
    """A data set with the pixels (rows, columns), (rows, columns, 3) or (frames, rows, columns)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CLASSES[modality]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.FrameOfReferenceUID = "1.2.3.5"
    ds.Modality, ds.InstanceNumber, ds.StudyID = modality, 1, "1"
    ds.SeriesNumber, ds.PatientSex, ds.Manufacturer = 1, "O", ""
    for name, value in PATIENT.items():
        setattr(ds, name, value)
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    if pixels.ndim == 3 and not colour:
        ds.NumberOfFrames = len(pixels)
    ds.Rows, ds.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in (tags or {}).items():
        setattr(ds, name, value)
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path,
    volume: np.ndarray,
    *,
    positions: np.ndarray | None = None,
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    spacing: tuple[float, float] = (0.8, 0.5),
    distance: float = 2.0,
    modality: str = "CT",
    tags: Mapping[str, object] | None = None,
    each: list[Mapping[str, object]] | None = None,
    order: np.ndarray | None = None,
) -> Path:
    """Write a volume (slices, rows, columns), a file a slice, under numbers in any order."""
    row, column = np.reshape(orientation, (2, 3))
    if positions is None:
        step = np.cross(row, column) * distance
        positions = [[10, -20, 30] + step * k for k in range(len(volume))]
    order = np.arange(len(volume))[::-1] if order is None else order
    for k, (pixels, position) in enumerate(zip(volume, positions, strict=True)):
        place = {
            "ImagePositionPatient": [f"{v:.6f}" for v in position],
            "ImageOrientationPatient": [f"{v:.8f}" for v in orientation],
            "PixelSpacing": [*spacing],
            "SliceThickness": 9.0,
            "InstanceNumber": int(order[k]) + 1,
        }
        ds = dataset(pixels, modality, {**place, **(tags or {}), **(each[k] if each else {})})
        save(ds, folder / f"{int(order[k]):03}")
    return folder


@pytest.fixture(scope="session")
def write():
    """The three functions above by name, and the patient that they write."""

    class Write:
        pass

    Write.dataset, Write.save, Write.series = map(staticmethod, (dataset, save, series))
    Write.patient = PATIENT
    return Write


@pytest.fixture
def volume() -> np.ndarray:
    """(slices, rows, columns) of signed numbers, each voxel another."""
    return np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7) - 60
