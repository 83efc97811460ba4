"""Inference: from a trained network to a mask in the scan's own space.

:func:`sliding_window` applies a network of one patch size to images of any size; :func:`mirrored`
averages over mirror images; :func:`keep_largest` clears a mask of stray components;
:func:`instance_map` paints the scores of a bag's instances where they lie in the image. A
:class:`Segmenter` is a network, its weights and the :class:`Recipe` of what is done to a scan
before and after; :func:`save_segmenter` and :func:`load_segmenter` keep it in a folder,
:func:`segment` applies it to one scan, which :func:`prepare` brings to what the network was
trained on.
"""

from jaxmed.inference._instance_map import instance_map
from jaxmed.inference._largest import keep_largest
from jaxmed.inference._mirror import mirrored
from jaxmed.inference._segment import prepare, probabilities, segment
from jaxmed.inference._segmenter import (
    Recipe,
    Segmenter,
    SegmenterError,
    load_segmenter,
    save_segmenter,
    segmenter,
)
from jaxmed.inference._sliding import sliding_window

__all__ = [
    "Recipe",
    "Segmenter",
    "SegmenterError",
    "instance_map",
    "keep_largest",
    "load_segmenter",
    "mirrored",
    "prepare",
    "probabilities",
    "save_segmenter",
    "segment",
    "segmenter",
    "sliding_window",
]
