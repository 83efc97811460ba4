"""Tiles of slides as a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._source import Example, shown
from jaxmed.data.formats import stem
from jaxmed.data.slides._slide import Slide
from jaxmed.data.slides._tissue import Tissue, tissue


@dataclass(frozen=True, repr=False)
class TileSource:
    """Tiles of one or several slides; made by `tiles`.

    Attributes:
        slides: the slides.
        size: edge of a tile in pixels.
        mpp: micrometres a pixel.
        places: (n, 3) the number of the slide, and the tile's upper left corner in pixels at
            ``mpp``.
        case_ids: the slide's name and the corner, ``slide_ROW_COLUMN``.
        groups: the slide's name, by which splits keep the tiles of a slide together; where two
            files have one name, with their folders.
    """

    slides: tuple[Slide, ...]
    size: int
    mpp: float
    places: np.ndarray
    case_ids: Sequence[str]
    groups: Sequence[Any]
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:
        number, row, column = self.places[index].tolist()
        image = self.slides[number].read(_box(row, column, self.size, self.mpp), self.mpp)
        largest = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
        return {
            "image": image.astype(np.float32) / np.float32(largest),
            "position": self._positions(self.places[index]),
        }

    def _positions(self, places: np.ndarray) -> np.ndarray:
        return (places[..., 1:] * self.mpp).astype(np.float32)

    def column(self, name: str) -> np.ndarray:
        """Read one field of all tiles; of positions no pixel is read."""
        if name == "position":
            return self._positions(self.places)
        return np.stack([self[i][name] for i in range(len(self))])


def tiles(
    slides: Slide | Sequence[Slide],
    size: int,
    mpp: float,
    *,
    overlap: float = 0.0,
    tissue: Tissue | Sequence[Tissue] | bool = False,
    least: float = 0.5,
) -> TileSource:
    """Cut slides into tiles, as a source whose images are read when they are asked for.

    Args:
        slides: a slide, or several.
        size: edge of a tile in pixels.
        mpp: micrometres a pixel, the same for all slides.
        overlap: share of a tile's edge that neighbours have in common, in [0, 1). The last tiles
            of a row and a column may reach beyond the slide.
        tissue: keep only tiles with tissue, by `jaxmed.data.tissue` (True) or by a mask for each
            slide.
        least: the share of a tile's area that has to be tissue.

    Returns:
        A source of ``image`` (size, size, channels) float32, 8 and 16 bits scaled to [0, 1], and
        ``position`` (2,) float32, the tile's upper left corner (row, column) in micrometres. Its
        ``groups`` are the slides.

    Raises:
        DataError: no tile has enough tissue.
        ValueError: size or mpp is not positive, or overlap or least is outside its range.
    """
    slides = (slides,) if isinstance(slides, Slide) else tuple(slides)
    if size < 1 or not mpp > 0 or not 0 <= overlap < 1 or not 0 <= least <= 1:
        raise ValueError(
            "tiles have at least 1 pixel of more than 0 um, an overlap in [0, 1) and a least share "
            f"in [0, 1]; got size={size}, mpp={mpp}, overlap={overlap}, least={least}"
        )
    places = [_grid(slide, size, mpp, overlap) for slide in slides]
    if tissue is not False:
        masks = _masks(slides, tissue)
        boxes = [np.concatenate([some, some + size], 1) * mpp for some in places]
        places = [
            some[mask.share(box) >= least]
            for some, mask, box in zip(places, masks, boxes, strict=True)
        ]
    names = [slide.path.name for slide in slides]
    if not sum(map(len, places)):
        what = f"{names[0]}{', ...' if len(names) > 1 else ''}"
        detail = f"no tile of {size} pixels at {mpp:g} um holds {least:.0%} of tissue"
        raise fault(what, "non-empty", f"{detail}; ask for less (least=) or give a mask")
    numbers = np.repeat(np.arange(len(slides)), [len(some) for some in places])
    all_places = np.column_stack([numbers, np.concatenate(places)])
    stems = _stems(slides)
    return TileSource(
        slides,
        int(size),
        float(mpp),
        all_places,
        tuple(f"{stems[n]}_{row}_{column}" for n, row, column in all_places.tolist()),
        tuple(stems[n] for n in numbers),
        notes=(f"tiles of {size} pixels at {mpp:g} um a pixel, overlap {overlap:g}",),
    )


def _stems(slides: Sequence[Slide]) -> list[str]:
    """The name of each slide, with as many of its folders as tell it from the others."""
    paths = [slide.path.resolve() for slide in slides]
    plain = [stem(path) for path in paths]
    found = [*plain]
    for depth in range(1, max(len(path.parts) for path in paths)):
        counts = Counter(found)
        if len(counts) == len(set(paths)):
            break
        found = [
            f"{path.parts[-1 - depth]}_{name}" if counts[name] > 1 else name
            for path, name in zip(paths, found, strict=True)
        ]
    return found


def _masks(slides: Sequence[Slide], given: Any) -> Sequence[Tissue]:
    if given is True:
        return [tissue(slide) for slide in slides]
    masks = [given] if isinstance(given, Tissue) else list(given)
    if len(masks) != len(slides):
        raise ValueError(f"tissue is a mask for each of {len(slides)} slides, got {len(masks)}")
    return masks


def _grid(slide: Slide, size: int, mpp: float, overlap: float) -> np.ndarray:
    """Upper left corners (n, 2) of the tiles that cover a slide, in pixels at ``mpp``."""
    step = max(int(size * (1 - overlap)), 1)
    corners = []
    for length in slide.extent:
        pixels = int(np.ceil(length / mpp - 1e-6))
        corners.append(np.arange(-(-max(pixels - size, 0) // step) + 1) * step)
    return np.stack(np.meshgrid(*corners, indexing="ij"), -1).reshape(-1, 2)


def _box(row: int, column: int, size: int, mpp: float) -> tuple[float, float, float, float]:
    return row * mpp, column * mpp, (row + size) * mpp, (column + size) * mpp
