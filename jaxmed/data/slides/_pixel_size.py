"""How many micrometres the pixels of a TIFF measure, where its file says so."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

# To micrometres, by the names that OME and ImageJ write.
_UNITS = {
    "nm": 1e-3, "µm": 1.0, "um": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0,
    "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0, "in": 25400.0,
}  # fmt: skip
_INCH, _CENTIMETRE = 2, 3
# Programs write the resolution of screens and printers (72 to 1200 an inch) where none is known.
_COARSEST = 20.0


def pixel_size(tiff: Any) -> tuple[float, float] | None:
    """Micrometres a pixel along (rows, columns) of a file's first image; None if it tells none.

    OME's ``PhysicalSize``, Aperio's ``MPP``, ImageJ's unit and TIFF's resolution are asked in that
    order; a resolution coarser than 20 micrometres is that of a screen, and tells nothing.

    Args:
        tiff: a ``tifffile.TiffFile``.
    """
    for found in (_ome(tiff), _aperio(tiff), _resolution(tiff)):
        if found is not None and min(found) > 0:
            return found
    return None


def _ome(tiff: Any) -> tuple[float, float] | None:
    if not tiff.is_ome:
        return None
    for element in ET.fromstring(tiff.ome_metadata).iter():
        if element.tag.rpartition("}")[2] != "Pixels":
            continue
        sizes = [_length(element, axis) for axis in "YX"]
        return None if None in sizes else (sizes[0], sizes[1])  # type: ignore[return-value]
    return None


def _length(pixels: Any, axis: str) -> float | None:
    size = pixels.get(f"PhysicalSize{axis}")
    unit = _UNITS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    return float(size) * unit if size and unit else None


def _aperio(tiff: Any) -> tuple[float, float] | None:
    said = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", tiff.pages[0].description or "")
    return (float(said[1]), float(said[1])) if tiff.is_svs and said else None


def _resolution(tiff: Any) -> tuple[float, float] | None:
    tags = tiff.pages[0].tags
    found = [tags.get(name) for name in ("YResolution", "XResolution")]
    if None in found:
        return None
    try:
        rows, columns = (float(tag.value[0]) / float(tag.value[1]) for tag in found)
    except ZeroDivisionError:
        return None
    unit = tags.get("ResolutionUnit")
    lengths = {_INCH: 25400.0, _CENTIMETRE: 10000.0}
    length = lengths.get(int(unit.value) if unit is not None else _INCH)
    if tiff.is_imagej:
        length = _UNITS.get(str((tiff.imagej_metadata or {}).get("unit", "")).strip())
    if length is None or min(rows, columns) <= 0:
        return None
    sizes = (length / rows, length / columns)
    return sizes if max(sizes) <= _COARSEST else None
