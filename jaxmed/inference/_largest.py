"""Selection of the largest connected component."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def keep_largest(
    mask: np.ndarray, *, classes: Sequence[int] | None = None, connectivity: int = 1
) -> np.ndarray:
    """Set to background all but the largest connected component.

    Decide on validation cases whether it helps: it suits structures that occur once per scan (a
    liver, a left ventricle), but not lesions.

    Args:
        mask: (*spatial), integers or bool, 0 the background.
        classes: each of these keeps its own largest component, and other classes are unchanged;
            None: all foreground counts as one object.
        connectivity: voxels are neighbours if they differ by 1 along at most this many axes.

    Returns:
        A new mask. Among components of equal size the first in memory order is kept; an absent
        class stays absent.

    Raises:
        ValueError: if the mask is not of integers, or a class is the background.

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021 (postprocessing).

    Examples:
        >>> keep_largest(np.array([1, 2, 0, 1, 0, 2, 2, 2])).tolist()
        [0, 0, 0, 0, 0, 2, 2, 2]
        >>> keep_largest(np.array([1, 2, 0, 1, 0, 2, 2, 2]), classes=(2,)).tolist()
        [1, 0, 0, 1, 0, 2, 2, 2]
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "iub":
        raise ValueError(f"a mask holds integers, got {mask.dtype}; take argmax of probabilities")
    if classes is not None and 0 in classes:
        raise ValueError(f"classes are those of objects, 0 is the background; got {classes}")
    if not 1 <= connectivity <= max(mask.ndim, 1):
        raise ValueError(
            f"connectivity is from 1 to {mask.ndim}, the number of axes, got {connectivity}"
        )
    structure = ndimage.generate_binary_structure(mask.ndim, connectivity)
    out = mask.copy()
    for inside in [mask != 0] if classes is None else [mask == c for c in classes]:
        labels, count = ndimage.label(inside, structure)
        if count > 1:
            sizes = np.bincount(labels.ravel())[1:]
            out[inside & (labels != 1 + sizes.argmax())] = 0
    return out
