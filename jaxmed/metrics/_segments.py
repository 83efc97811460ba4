"""Agreement of two divisions of an image into segments: splits and mergers, not outlines.

Of cells between membranes it matters which of them were cut apart and which run together, and not
where exactly a membrane lies. Both scores are restricted to what is a segment in the truth, so that
the true borders do not count, and by default borders that were found are thinned to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from jaxmed import quantities


class SegmentScores(NamedTuple):
    """Agreement of two divisions into segments, each from 0 to 1.

    Attributes:
        score: the harmonic mean of the other two.
        split: falls where a true segment was cut apart; mergers do not lower it.
        merge: falls where true segments run together; cuts do not lower it.
    """

    score: float
    split: float
    merge: float


def v_rand(prediction: ArrayLike, target: ArrayLike, *, thin: bool = True) -> SegmentScores:
    """Return the Rand score of segments, of pairs of voxels within the true segments.

    ``split`` is the share of pairs that are together in the truth and were left together, ``merge``
    the share of pairs that were put together and are together in the truth. Pairs are ordered, and
    a voxel makes one with itself.

    Args:
        prediction: (*spatial) whole numbers, one for each segment that was found; 0 is border.
        target: (*spatial) whole numbers, one for each true segment; 0 is border.
        thin: whether found segments grow first until no border is left between them, each voxel to
            the nearest segment, so that broad borders are no error. Otherwise, and where nothing
            was found, each border voxel is a segment of its own.

    Returns:
        The scores; NaN where the truth has no segment.

    Raises:
        ValueError: for different shapes, no voxel, or labels that are no whole numbers from 0 on.

    References:
        Arganda-Carreras et al. (2015), Crowdsourcing the creation of image segmentation algorithms
        for connectomics, Frontiers in Neuroanatomy 9:142.

    Examples:
        >>> v_rand([1, 1, 0, 2, 2], [1, 1, 1, 1, 1])
        SegmentScores(score=0.684..., split=0.52, merge=1.0)
    """
    return _scores(quantities.pair_shares, prediction, target, thin)


def v_info(prediction: ArrayLike, target: ArrayLike, *, thin: bool = True) -> SegmentScores:
    """Return the mutual information of segments within the true ones, over their entropies.

    ``split`` is the share of the entropy of the segments that were found, ``merge`` that of the
    true ones', ``score`` twice the information over their sum.

    Args:
        prediction: (*spatial) whole numbers, one for each segment that was found; 0 is border.
        target: (*spatial) whole numbers, one for each true segment; 0 is border.
        thin: as :func:`v_rand`.

    Returns:
        The scores; NaN where the truth has no segment, or an entropy is that of one segment alone.

    Raises:
        ValueError: for different shapes, no voxel, or labels that are no whole numbers from 0 on.

    References:
        Arganda-Carreras et al. (2015), Crowdsourcing the creation of image segmentation algorithms
        for connectomics, Frontiers in Neuroanatomy 9:142.

    Examples:
        >>> round(v_info([1, 1, 0, 2, 3], [1, 1, 0, 2, 2]).split, 3)  # 1 bit of 1.5
        0.667
    """
    return _scores(quantities.information_shares, prediction, target, thin)


def grown(segments: ArrayLike) -> NDArray[np.intp]:
    """Let segments grow until no border is left: each border voxel goes to the nearest segment.

    Args:
        segments: (*spatial) whole numbers, one a segment; 0 is border.

    Returns:
        (*spatial) the segments; all 0 where there is none.

    Raises:
        ValueError: for no voxel, or labels that are no whole numbers from 0 on.

    Examples:
        >>> grown([0, 1, 0, 0, 0, 2])
        array([1, 1, 1, 1, 2, 2])
    """
    labels = _labels(segments, "segments")
    if not labels.any() or labels.all():
        return labels
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    return labels[tuple(nearest)]


def _labels(values: ArrayLike, name: str) -> NDArray[np.intp]:
    array = np.asarray(values)
    if not array.size:
        raise ValueError(f"{name} has no voxel: its shape is {array.shape}")
    if array.ndim < 1 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(
            f"{name} must be (*spatial) whole numbers, one a segment and 0 for border, but is "
            f"{array.dtype} of shape {array.shape}; of a mask of borders, "
            "scipy.ndimage.label(mask == 0)[0] numbers the segments"
        )
    if array.min() < 0:
        raise ValueError(f"{name} must be numbers from 0 on, but holds {array.min()}")
    return array.astype(np.intp)


def _scores(
    shares: Callable[..., Any], prediction: ArrayLike, target: ArrayLike, thin: bool
) -> SegmentScores:
    found, true = _labels(prediction, "prediction"), _labels(target, "target")
    if found.shape != true.shape:
        raise ValueError(f"segments differ in shape: prediction {found.shape}, target {true.shape}")
    found = grown(found) if thin else found
    inside = true > 0
    found, true = found[inside], true[inside]
    border = found == 0
    found[border] = np.arange(1, border.sum() + 1) + found.max(initial=0)
    pairs = np.unique(np.stack([true, found]), axis=1, return_counts=True)[1]
    counts = [np.unique(part, return_counts=True)[1] for part in (true, found)]
    return SegmentScores(*(float(value) for value in shares(pairs, *counts)))
