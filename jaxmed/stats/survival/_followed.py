"""What is common to statistics of follow-up: checked times and events."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats.checks import Floats, as_array, finite, group_codes, same_length


class Followed(NamedTuple):
    """Cases under observation: (cases,) times, and whether each ended with the event."""

    time: Floats
    event: NDArray[np.bool_]


def followed(time: ArrayLike, event: ArrayLike, *, some: bool = True) -> Followed:
    """Return times as float64 and events as booleans.

    Args:
        time: (cases,) from the start of observation to the event or to its end, 0 or later.
        event: (cases,) 1 for the event, 0 for the end of observation (censored).
        some: whether there has to be an event.
    """
    times = check_times(time)
    codes = event_codes(event, times)
    if codes.max(initial=0) > 1:
        raise ValueError(
            f"event must be 0 or 1, but holds {int(codes.max())}; several causes have "
            "`cumulative_incidence`, or say which is meant: event=(codes == cause)"
        )
    if some and not codes.any():
        raise ValueError(f"no event is 1: all {len(codes)} cases are censored")
    return Followed(times, codes > 0)


def check_times(time: ArrayLike, name: str = "time") -> Floats:
    """Return times that are finite and not negative."""
    times = finite(time, name)
    if times.min() < 0:
        raise ValueError(f"{name} must be 0 or later, but holds {times.min():g}")
    return times


def event_codes(event: ArrayLike, time: Floats) -> NDArray[np.intp]:
    """Return (cases,) codes: 0 censored, 1 and more the cause of the event."""
    array = as_array(event, "event")
    if array.ndim != 1:
        raise ValueError(f"event must be (cases,), but its shape is {array.shape}")
    same_length(time=time, event=array)
    if array.dtype == np.bool_:
        return array.astype(np.intp)
    if not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"event must be 0/1 or booleans, but is of type {array.dtype}")
    good = np.isfinite(array) & (array >= 0) & (array == np.floor(array))
    if not good.all():
        odd = ", ".join(map(str, np.unique(array[~good])[:3]))
        raise ValueError(
            f"event must be 0 (censored) or 1 (the event), but holds {odd}; the order is "
            "(time, event)"
        )
    return array.astype(np.intp)


def per_case(values: ArrayLike, name: str, cases: Floats, *, ndim: int = 1) -> Floats:
    """Return finite numbers, one row a case."""
    array = finite(values, name, ndim=ndim)
    same_length(time=cases, **{name: array})
    return array


def named_groups(values: ArrayLike, name: str, n: int) -> NDArray:
    """Return (cases,) names of groups, none of them missing."""
    array = as_array(values, name)
    try:
        group_codes(array, n)
    except ValueError as error:  # which speaks of `groups`
        raise ValueError(str(error).replace("groups", name)) from None
    return array
