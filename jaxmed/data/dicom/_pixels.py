"""Pixels of DICOM files: decoded, and as the quantity that the scanner means by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data._optional import optional
from jaxmed.data.dicom import _codecs
from jaxmed.data.dicom._dataset import pydicom, read_whole

# Here a number has a unit and no side of bright, so that white at 0 is a matter of display.
_MEASURED = ("CT", "MR", "PT", "NM", "RTDOSE")


def read_pixels(path: Path, frames: Sequence[int], *, padding: float | None = None) -> np.ndarray:
    """Read some frames of a file as quantities: (frames, rows, columns, channels) float32.

    Stored numbers pass the modality's table, or slope and intercept (of each frame, where each has
    its own): Hounsfield units of a CT. Pictures of X-rays, ultrasound and the like whose 0 is white
    are turned so that bright is high. Colours are red, green, blue as they are stored, 0 to 255.

    Args:
        path: the file.
        frames: numbers of its frames.
        padding: what replaces the pixels that the header declares to be padding; None keeps them.

    Raises:
        DataError: the file is damaged (``readable``), or no decoder of its compression is installed
            (``codec-missing``).
    """
    dataset = read_whole(path)
    with reading(path, "the pixels"):
        stored = decoded(path, dataset, frames)
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            colours = _processing().apply_color_lut(stored[..., 0], dataset)
            deep = colours.dtype.itemsize > 1  # the upper byte is the colour that is shown
            return (colours >> 8 if deep else colours)[..., :3].astype(np.float32)
        if stored.shape[-1] > 1:
            return stored.astype(np.float32)
        values = np.empty(stored.shape, np.float32)
        for k, index in enumerate(frames):
            values[k] = _quantity(dataset, index, stored[k])
        if padding is not None:
            values[_padded(dataset, stored)] = padding
        return values


def decoded(path: Path, dataset: Any, frames: Sequence[int]) -> np.ndarray:
    """Decode some frames of a data set: (frames, rows, columns, channels), as stored."""
    count = int(dataset.get("NumberOfFrames") or 1)
    array = _decode(path, dataset, None if len(frames) == count else list(frames))
    size = (int(dataset.Rows), int(dataset.Columns))
    array = array.reshape(len(frames), *size, -1)
    if len(frames) == count and list(frames) != list(range(count)):
        array = array[list(frames)]
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated and array.dtype.kind in "iu":
        array = _stored_bits(dataset, array)
    return array


def _decode(path: Path, dataset: Any, frames: list[int] | None) -> np.ndarray:
    if "TransferSyntaxUID" not in dataset.file_meta:
        # A file without a preamble: pydicom has guessed how it is written.
        uids = pydicom().uid
        little, implicit = dataset.original_encoding[::-1]
        dataset.file_meta.TransferSyntaxUID = (
            uids.ImplicitVRLittleEndian
            if implicit
            else uids.ExplicitVRLittleEndian
            if little
            else uids.ExplicitVRBigEndian
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    _codecs.register()
    if syntax.is_encapsulated and not _has_decoder(syntax):
        detail = f"its pixels are compressed as {syntax.name}, of which no decoder is installed"
        raise fault(path, "codec-missing", f"{detail}: pip install 'jaxmed[formats]'")
    try:
        if frames is None:
            return _processing().pixel_array(dataset)
        return np.stack([_processing().pixel_array(dataset, index=k) for k in frames])
    except RuntimeError as error:
        if syntax.is_encapsulated and not _codecs.is_available(str(syntax)):
            detail = f"no installed decoder reads its {syntax.name} ({error})"
            raise fault(
                path, "codec-missing", f"{detail}: pip install 'jaxmed[formats]'"
            ) from error
        raise


def _processing() -> Any:
    return optional("pydicom.pixels", "DICOM")


def _has_decoder(syntax: Any) -> bool:
    try:
        return _processing().get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _stored_bits(dataset: Any, array: np.ndarray) -> np.ndarray:
    """Keep the bits that are the pixel's: older files hide overlays in those above them."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", stored - 1))
    if stored == allocated or allocated == 1:
        return array
    return (array << (allocated - 1 - high)) >> (allocated - stored)


def _quantity(dataset: Any, index: int, stored: np.ndarray) -> np.ndarray:
    """One frame in the unit of its modality."""
    transform = _transformation(dataset, index)
    table = (dataset.get("ModalityLUTSequence") or [None])[0]
    slope = transform.get("RescaleSlope")
    intercept = transform.get("RescaleIntercept")
    low, high = _range(dataset)
    if "DoseGridScaling" in dataset:
        slope, intercept = dataset.DoseGridScaling, 0
    if table is not None:
        values = _processing().apply_modality_lut(stored, dataset).astype(np.float64)
        low, high = 0, 2 ** int(table.LUTDescriptor[2]) - 1
    else:
        scale = 1.0 if slope in (None, "") else float(slope)
        shift = 0.0 if intercept in (None, "") else float(intercept)
        values = stored.astype(np.float64) * scale + shift
        low, high = low * scale + shift, high * scale + shift
    measured = dataset.get("Modality") in _MEASURED or stored.dtype.kind == "f"
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" and not measured:
        values = low + high - values
    return values


def _transformation(dataset: Any, index: int) -> Any:
    """What holds slope and intercept of a frame: its own group, the common one, the data set."""
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    groups = [own[index]] if own and index < len(own) else []
    groups += [*(dataset.get("SharedFunctionalGroupsSequence") or ())][:1]
    for group in groups:
        found = group.get("PixelValueTransformationSequence")
        if found:
            return found[0]
    return dataset


def _range(dataset: Any) -> tuple[float, float]:
    """The least and the largest number that a pixel can store."""
    bits = int(dataset.get("BitsStored") or 1)
    if dataset.get("PixelRepresentation") == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _padded(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """Mark the pixels that stand outside of what was scanned."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_signed(dataset, value), _signed(dataset, value if limit is None else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _signed(dataset: Any, value: Any) -> int:
    """A padding value in the sign of the pixels: some files state it in the other one."""
    bits, value = int(dataset.BitsAllocated), int(value)
    if dataset.get("PixelRepresentation") == 1:
        return value - 2**bits if value >= 2 ** (bits - 1) else value
    return value + 2**bits if value < 0 else value
