"""How many micrometres the pixels of a TIFF measure, where its file says so."""

from __future__ import annotations

import re
from typing import Any

from jaxmed.data.formats._ome_tiff import UNITS, physical_sizes

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
    sizes = physical_sizes(tiff)
    return (sizes["Y"], sizes["X"]) if {"Y", "X"} <= sizes.keys() else None


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
        length = UNITS.get(str((tiff.imagej_metadata or {}).get("unit", "")).strip())
    if length is None or min(rows, columns) <= 0:
        return None
    sizes = (length / rows, length / columns)
    return sizes if max(sizes) <= _COARSEST else None
