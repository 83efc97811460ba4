"""An arm that is no learner: it trains and predicts by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Procedure(NamedTuple):
    """An arm of a study that trains and predicts by itself.

    For what no stack of arrays holds, such as scans of different sizes that are cut into patches
    and segmented on their own grids.

    Attributes:
        run: ``(train, test, seed, out) -> (test cases, ...)`` outputs, such as the Dice of each
            case. `train` and `test` are positions in the data. The seed is the same for all arms of
            a split and a seed of the study. `out` is an empty folder at first; a training that was
            cut finds there what it left, and the folder is deleted once the outputs are recorded.
        settings: what else decides the outputs, by name; records of other settings are refused.

    Examples:
        >>> def mean_of(train, test, seed, out):
        ...     return np.full(len(test), np.mean(train))
        >>> Procedure(mean_of, {"version": 1}).run(np.arange(4), np.array([4, 5]), 0, None)
        array([1.5, 1.5])
    """

    run: Callable[[np.ndarray, np.ndarray, int, Path], ArrayLike]
    settings: Mapping[str, Any] = {}
