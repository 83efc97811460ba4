"""Pairs of images that were registered, measured before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.report.results._results import RegistrationResults

_BOUNDS = {
    "dice": (0, 1), "correlation": (-1, 1), "local_correlation": (-1, 1),
    "sd_log_jacobian": (0, np.inf), "folds_percent": (0, 100),
}  # fmt: skip
_FIRST = ("dice", "local_correlation", "correlation")


class RegisteredPairs(NamedTuple):
    """What was measured of each pair.

    Attributes:
        cases: names of the pairs.
        values: measure to (pairs,) values, such as `dice/before` and `dice/after`; NaN where one is
            not defined.
        groups: patient of each pair, or None.
    """

    cases: Sequence[str]
    values: Mapping[str, NDArray[np.floating]]
    groups: Sequence[Any] | None = None


class PairPicture(NamedTuple):
    """A pair to be looked at, all on the fixed image's grid.

    Attributes:
        case: its name.
        rank: why it is shown: `best`, `median`, `worst`.
        fixed: (*spatial,) brightness in [0, 1].
        moving: (*spatial,), as it lay.
        moved: (*spatial,).
        spacing: voxel edge lengths.
        caption: what is said of it.
    """

    case: str
    rank: str
    fixed: NDArray[Any]
    moving: NDArray[Any]
    moved: NDArray[Any]
    spacing: Sequence[float]
    caption: str = ""


def registration(
    values: Mapping[str, ArrayLike],
    *,
    cases: Sequence[str],
    groups: Sequence[Any] | None = None,
    drawn: Sequence[PairPicture] = (),
    level: float = 0.95,
    title: str = "Registration",
    **about: Any,
) -> RegistrationResults:
    """Average what was measured of pairs of images, before and after they were registered.

    Args:
        values: measure to (pairs,) values; `NAME/before` and `NAME/after` of those that a warp
            changes. The first of `dice`, `local_correlation` and `correlation` leads the page. NaN
            is left out of means, and counted.
        cases: names of the pairs.
        groups: patient of each pair, by which intervals are made.
        drawn: pairs to be looked at.
        level: of all intervals.
        title: of the report.
        **about: further fields of the results.

    Returns:
        The results.

    Raises:
        ValueError: no pair, or values that are not one a pair.

    Examples:
        >>> found = registration({"dice/before": [0.5, 0.6], "dice/after": [0.8, 0.8]}, cases="ab")
        >>> print(found.metrics["dice/after"].value, found.headline)
        0.8 ('dice/before', 'dice/after')
    """
    names = tuple(cases)
    held = {name: np.asarray(v, float) for name, v in values.items()}
    if not names:
        raise ValueError("there is no pair to be measured")
    for name, v in held.items():
        if v.shape != (len(names),):
            raise ValueError(f"{name} has shape {v.shape}, a value for each of {len(names)} pairs")
    metrics = {
        name: stats.mean(
            v, groups=groups, level=level, bounds=_BOUNDS.get(name.partition("/")[0]), name=name,
            missing="drop",
        )
        for name, v in held.items()
        if np.isfinite(v).any()
    }  # fmt: skip
    first = next((m for m in _FIRST if f"{m}/after" in metrics), None)
    headline = (f"{first}/before", f"{first}/after", "sd_log_jacobian", "folds_percent")
    results = RegistrationResults(
        title=title, classes=(), metrics=metrics, level=level,
        pairs=RegisteredPairs(names, held, groups), drawn=tuple(drawn),
        headline=tuple(name for name in headline if name in metrics),
    )  # fmt: skip
    return results.replace(**about)
