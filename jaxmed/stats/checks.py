"""Input checks, for this subpackage and those that import it.

Each failure names the argument, its value and the rule.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
ORDER = "the order is (labels, scores)"
"""The end of a message about arguments that may have been swapped."""


def quantile(level: float) -> float:
    """Return the two-sided normal quantile of a confidence level, checking the level."""
    check_level(level)
    return float(special.ndtri(0.5 + level / 2.0))


def check_level(level: float, name: str = "level") -> float:
    """Return `level` if it lies in (0, 1)."""
    if not 0.0 < float(level) < 1.0:
        raise ValueError(f"{name} must lie in (0, 1), such as 0.95, but is {level!r}")
    return float(level)


def check_rate(value: float, name: str) -> float:
    """Return `value` if it lies in (0, 1), as NaN does not."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie in (0, 1), but is {value}")
    return float(value)


def check_number(
    value: float,
    name: str,
    *,
    above: float | None = None,
    within: tuple[float, float] | None = None,
) -> float:
    """Return `value` if it is a finite number, above a bound or within two where given."""
    if above == 0 and not value > 0:
        raise ValueError(f"{name} must be positive, but is {value}")
    if above is not None and not value > above:
        raise ValueError(f"{name} must be above {above:g}, but is {value}")
    if within is not None and not within[0] <= value <= within[1]:
        raise ValueError(f"{name} must lie in [{within[0]:g}, {within[1]:g}], but is {value}")
    if not np.isfinite(value):
        raise ValueError(f"{name} must be a finite number, but is {value}")
    return float(value)


def check_whole(value: float, name: str, least: int) -> int:
    """Return `value` as an int if it is a whole number of at least `least`."""
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, but is {value}")
    if not float(value).is_integer():
        raise ValueError(f"{name} must be a whole number, but is {value}")
    return int(value)


def spelled(method: str) -> str:
    """Normalise the spelling of a method's name: lower case with hyphens."""
    if not isinstance(method, str):
        raise TypeError(f"method must be a name, but is {method!r}")
    return method.strip().lower().replace("_", "-").replace(" ", "-")


def unknown(what: str, got: object, known: Any) -> ValueError:
    """Build the error for an unknown name."""
    return ValueError(f"{what} {got!r} is not known; choose one of {', '.join(sorted(known))}")


def as_array(values: Any, name: str, dtype: Any = None) -> NDArray[Any]:
    """Return `values` as an array; where there is none, the error names the argument."""
    try:
        return np.asarray(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        if not isinstance(values, list | tuple):
            raise
        told = "its rows are of several lengths" if "inhomogeneous" in str(error) else str(error)
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} must be an array of numbers: {told}") from None


def finite(values: ArrayLike, name: str, *, minimum: int = 1, ndim: int | None = 1) -> Floats:
    """Return `values` as float64, refusing NaN, infinities, wrong rank and too few of them."""
    array = as_array(values, name, np.float64)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), but its shape is {array.shape}")
    if array.ndim and array.shape[0] < minimum:
        raise ValueError(f"{name} needs at least {minimum} value(s), but has {array.shape[0]}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} holds {bad} value(s) that are NaN or infinite; drop or impute")
    return array


def binary_labels(labels: ArrayLike, name: str = "labels") -> NDArray[np.bool_]:
    """Return labels as booleans; only 0/1 and booleans are accepted."""
    array = as_array(labels, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must be (cases,), but its shape is {array.shape}{_order(name)}")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    if array.dtype == np.bool_:
        return array
    if not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"{name} must be 0/1 or booleans, but is of type {array.dtype}")
    positive = array == 1
    if not (positive | (array == 0)).all():
        odd = np.unique(array[~(positive | (array == 0))])[:3]
        raise ValueError(
            f"{name} must be 0 or 1, but holds {', '.join(map(str, odd))}; "
            f"for more than two classes use the multi-class functions{_order(name, odd)}"
        )
    return positive


def _order(name: str, odd: NDArray | None = None) -> str:
    """A hint that labels and scores may have been swapped: labels with an axis, or fractions."""
    if name != "labels" or (odd is not None and (odd == np.round(odd)).all()):
        return ""
    return f"; {ORDER}"


def binary_scores(
    labels: ArrayLike, scores: ArrayLike, *, name: str = "scores", of: str = "labels"
) -> tuple[NDArray[np.bool_], Floats]:
    """Return labels as booleans and scores as float64 of the same length, without NaN.

    `name` and `of` are what the caller's own arguments are called, for errors.
    """
    positive = binary_labels(labels, of)
    array = as_array(scores, name, np.float64)
    if array.ndim == 2 and array.shape[1] == 2:
        array = array[:, 1]
    elif array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must be (cases,) or (cases, 2), but the shape is {array.shape}")
    same_length(**{of: positive, name: array})
    if np.isnan(array).any():
        raise ValueError(f"{name}: {int(np.isnan(array).sum())} value(s) are NaN")
    return positive, array


def both_classes(positive: NDArray[np.bool_]) -> tuple[int, int]:
    """Return (positives, negatives), refusing data of one class."""
    n1 = int(positive.sum())
    n0 = positive.size - n1
    if n1 == 0 or n0 == 0:
        have = "positive" if n0 == 0 else "negative"
        raise ValueError(f"all {positive.size} labels are {have}: this needs both classes")
    return n1, n0


def probabilities(labels: ArrayLike, probs: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    """Return labels as booleans and probabilities in [0, 1]."""
    positive, array = binary_scores(labels, probs, name="probs")
    if array.min() < 0.0 or array.max() > 1.0:
        raise ValueError(
            f"probabilities must lie in [0, 1], but range from {array.min():g} to {array.max():g}; "
            "apply a sigmoid or softmax to logits first"
        )
    return positive, array


def same_length(**arrays: Any) -> int:
    """Return the common length of the arrays, or name those that differ."""
    sizes = {name: len(value) for name, value in arrays.items() if value is not None}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(f"lengths differ: {listed}")
    return next(iter(sizes.values()))


@overload
def group_codes(groups: None, n: int) -> tuple[None, int]: ...
@overload
def group_codes(groups: ArrayLike, n: int) -> tuple[NDArray[np.intp], int]: ...
@overload
def group_codes(groups: ArrayLike | None, n: int) -> tuple[NDArray[np.intp] | None, int]: ...


def group_codes(groups: ArrayLike | None, n: int) -> tuple[NDArray[np.intp] | None, int]:
    """Return group labels as codes 0..k-1 and k; (None, n) without groups."""
    if groups is None:
        return None, n
    array = as_array(groups, "groups")
    if array.ndim != 1:
        raise ValueError(f"groups must be (cases,), but their shape is {array.shape}")
    same_length(data=range(n), groups=array)
    # `np.unique` takes all NaN for one value, so that unknown patients would count as one.
    missing = [
        i for i, name in enumerate(array.tolist()) if name is None or name == "" or name != name
    ]
    if missing:
        raise ValueError(
            f"groups has no name for {len(missing)} of {n} rows, the first at index {missing[0]}; "
            "give each row a group, its own if the patient is unknown"
        )
    names, codes = np.unique(array, return_inverse=True)
    return codes.astype(np.intp), len(names)
