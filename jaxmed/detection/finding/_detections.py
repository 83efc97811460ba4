"""What a detector finds in an image: a fixed number of boxes, of which some are there."""

from __future__ import annotations

from typing import NamedTuple

from jaxmed.core import Array


class Detections(NamedTuple):
    """Boxes found in an image, the surest first, padded to a fixed number.

    Attributes:
        boxes: ``(..., count, 2 * rank)``, lows then highs in voxels; 0 where there is none.
        scores: ``(..., count)``; 0 where there is none.
        labels: ``(..., count)`` int32 classes, from 0; -1 where there is none.
        mask: ``(..., count)``, whether there is one.
    """

    boxes: Array
    scores: Array
    labels: Array
    mask: Array
