"""Where the labelled voxels of a mask lie: looked up, or stored beside a mask on disk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class MappedMask(np.memmap):
    """A mask on disk that knows its labelled voxels, so that nobody has to read it for them.

    What is computed from it, a part of it too, is an array like any other and knows nothing.

    Attributes:
        foreground: from each class above 0, in rising order, to the flat indices of its voxels.
    """

    foreground: Mapping[int, np.ndarray] | None = None


def labelled_classes(mask: np.ndarray) -> np.ndarray:
    """The classes above 0 that a mask holds, in rising order."""
    known = getattr(mask, "foreground", None)
    if known is not None:
        return np.array(list(known), mask.dtype)
    classes = np.unique(mask)
    return classes[classes > 0]


def labelled_voxels(mask: np.ndarray, label: np.integer) -> np.ndarray:
    """The flat indices of the voxels of one class, in rising order."""
    known = getattr(mask, "foreground", None)
    return np.flatnonzero(mask == label) if known is None else known[int(label)]
