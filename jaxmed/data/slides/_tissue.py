"""Where a stained slide holds tissue, and not glass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from jaxmed.data.slides._slide import Slide

_PALE = 0.05  # Saturation below which a pixel is glass, whatever the others are.
_PIXELS = 256  # of the shorter side, that a mask has at least


class Tissue(NamedTuple):
    """A mask of tissue over a whole slide.

    Attributes:
        mask: (rows, columns) bool.
        mpp: micrometres a pixel of the mask.
    """

    mask: np.ndarray
    mpp: float

    def share(self, boxes: np.ndarray) -> np.ndarray:
        """The share of each box's area that is tissue.

        Args:
            boxes: (n, 4) top, left, bottom, right in micrometres. What lies beyond the mask is
                none.

        Returns:
            (n,) from 0 to 1.
        """
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        sums = np.pad(self.mask.astype(float).cumsum(0).cumsum(1), [(1, 0), (1, 0)])

        def until(down: np.ndarray, across: np.ndarray) -> np.ndarray:
            place = [down / self.mpp, across / self.mpp]
            return ndimage.map_coordinates(sums, place, order=1, mode="nearest")

        top, left, bottom, right = boxes.T
        inside = until(bottom, right) - until(top, right) - until(bottom, left) + until(top, left)
        return inside * self.mpp**2 / ((bottom - top) * (right - left))


def tissue(slide: Slide, *, mpp: float | None = None) -> Tissue:
    """Tell tissue from glass by Otsu's threshold on saturation, at low resolution.

    Stains have colour, glass and black marks have none. A saturation below 0.05 is glass in any
    case, so that an empty slide has no tissue.

    Args:
        slide: a slide of three channels.
        mpp: micrometres a pixel of the mask; 8 by default, or finer where the slide would have
            fewer than 256 pixels.

    Returns:
        The mask.

    Raises:
        ValueError: the slide has other than three channels.

    References:
        Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9:62, 1979.
    """
    if slide.channels != 3:
        raise ValueError(
            f"tissue is found by the saturation of red, green and blue, {slide} has "
            f"{slide.channels} channel(s); make a Tissue(mask, mpp) by another rule"
        )
    if mpp is None:
        mpp = float(np.clip(min(slide.extent) / _PIXELS, slide.mpp, max(8.0, slide.mpp)))
    colours = slide.read(mpp=mpp).astype(np.float32)
    high = colours.max(-1)
    saturation = (high - colours.min(-1)) / np.where(high > 0, high, 1)
    return Tissue(saturation > max(otsu(saturation), _PALE), mpp)


def otsu(values: np.ndarray, *, bins: int = 256) -> float:
    """Otsu's threshold: two groups, above it and not, with the largest variance between them.

    Of values that are all alike, it is that value.

    >>> 0.1 < otsu(np.array([0.1, 0.1, 0.1, 0.8, 0.8])) < 0.8
    True
    """
    if np.ptp(values) == 0:
        return float(values.flat[0])
    counts, edges = np.histogram(values, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = counts.sum() - below
    sums = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nanargmax(between[:-1])])
