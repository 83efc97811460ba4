"""Phantoms: seeded 2D and 3D images with exactly known ground truth.

`classification`, `segmentation`, `detection`, `modalities` and `bags` draw analytic shapes;
`head` draws heads of known pose; `cells` draws cells that touch, each with a number;
`beat` draws cines of a muscle that contracts, whose motion is known;
`brain` draws synthetic MR scans from the MNI152 tissue maps, and `brain_template` is the real T1
template to evaluate on. Each returns an `ArraySource`; example i depends only on the seed and i.
"""

from jaxmed.data.phantoms._beat import beat
from jaxmed.data.phantoms._brain import TISSUES, brain, brain_template
from jaxmed.data.phantoms._cells import cells
from jaxmed.data.phantoms._head import head
from jaxmed.data.phantoms._tasks import bags, classification, detection, modalities, segmentation

__all__ = [
    "TISSUES",
    "bags",
    "beat",
    "brain",
    "brain_template",
    "cells",
    "classification",
    "detection",
    "head",
    "modalities",
    "segmentation",
]
