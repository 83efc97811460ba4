"""Images as a person looks at them: planes of volumes, one window of grey values for all."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

_LONGEST = 2048  # Pixels of a side that are sent.
_KEPT = 4  # Scans in memory: the one that is shown, and the next.


class Shown(NamedTuple):
    """An image as planes.

    Attributes:
        planes: (slices, height, width, channels) uint8, views of one array.
        colour: whether the channels are colours, shown together.
        aspect: width of a pixel over its height.
    """

    planes: np.ndarray
    colour: bool
    aspect: float

    @property
    def slices(self) -> int:
        """How many planes there are; 1 of a picture."""
        return self.planes.shape[0]

    @property
    def channels(self) -> int:
        """How many images can be looked at; colours are one."""
        return 1 if self.colour else self.planes.shape[3]


def shown(scan: Any) -> Shown:
    """An image as it is looked at.

    Pictures are read as 0 to 1 and keep how bright they are. Other grey values have no unit in
    common: each channel is brought between its own 1st and 99.5th percentile, of all planes, so
    that slices of one scan can be compared. Volumes in right-anterior-superior order are shown
    with the first axis to the right, the second upwards, the third by slices.
    """
    x = np.asarray(scan.array, np.float32)
    step = [float(s) for s in scan.spacing]
    if x.ndim == 4:
        x = x.transpose(2, 1, 0, 3)[:, ::-1]
        aspect = step[0] / step[1]
    else:
        x = x[None]
        aspect = step[1] / step[0]
    bright = x.min() >= 0 and x.max() <= 1
    if not bright:
        flat = x.reshape(-1, x.shape[-1])
        low, high = np.percentile(flat, [1, 99.5], axis=0)
        x = (x - low) / np.maximum(high - low, 1e-12)
    planes = np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)
    return Shown(planes, colour=bool(bright and x.shape[-1] == 3), aspect=aspect)


def png(image: Shown, plane: int, channel: int) -> bytes:
    """One plane as a PNG; the longest side at most 2,048 pixels.

    Raises:
        IndexError: a plane or channel that is not there.
    """
    from PIL import Image

    if not (0 <= plane < image.slices and 0 <= channel < image.channels):
        raise IndexError(
            f"plane {plane}, channel {channel}: there are {image.slices} and {image.channels}"
        )
    pixels = image.planes[plane]
    pixels = pixels if image.colour else pixels[..., channel]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((_LONGEST, _LONGEST))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class Pictures:
    """The images of a source, read when they are looked at, the last few kept."""

    def __init__(self, source: Any, rows: list[int]):
        """Look at ``rows`` of ``source``, by their place in this list."""
        self._source, self._rows = source, rows
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Shown] = OrderedDict()

    def __getitem__(self, case: int) -> Shown:
        with self._lock:
            found = self._kept.get(case)
            if found is None:
                found = shown(self._source.image(self._rows[case]))
                self._kept[case] = found
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(case)
            return found
