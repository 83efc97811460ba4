"""Agreement of masks from counts of voxels: hit (in both), predicted, true; of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed.quantities._means import divide

_NAN = float("nan")


def _counts(x: Any) -> Any:
    return np.asarray(x, np.float64)


def dice(hit: Any, predicted: Any, true: Any, *, empty: float = _NAN) -> Any:
    r"""Return Dice's coefficient :math:`2 |P \cap T| / (|P| + |T|)`.

    Args:
        hit: voxels in both masks.
        predicted: voxels of the prediction.
        true: voxels of the truth.
        empty: the value where both masks are empty.

    Examples:
        >>> dice([2, 0], [3, 0], [2, 0])
        array([0.8, nan])
    """
    return divide(2 * _counts(hit), _counts(predicted) + _counts(true), empty)


def iou(hit: Any, predicted: Any, true: Any, *, empty: float = _NAN) -> Any:
    r"""Return the intersection over the union :math:`|P \cap T| / |P \cup T|` (see `dice`).

    Examples:
        >>> iou([2, 0], [3, 0], [3, 1])
        array([0.5, 0. ])
    """
    hit = _counts(hit)
    return divide(hit, _counts(predicted) + _counts(true) - hit, empty)


def volume_error(predicted: Any, true: Any) -> Any:
    r"""Return the signed relative error of the volume, :math:`(|P| - |T|) / |T|`.

    NaN where the truth is empty, whatever was predicted.

    Examples:
        >>> volume_error([3, 1], [2, 0])
        array([0.5, nan])
    """
    predicted, true = _counts(predicted), _counts(true)
    return divide(predicted - true, true, _NAN)
