"""What the numbers of a plan must keep, so that one that was edited is refused by its field."""

from __future__ import annotations

import math
from collections.abc import Sequence


def above(name: str, value: float, least: float = 0.0) -> None:
    """Refuse a number that is not finite and above the least."""
    if not (math.isfinite(value) and value > least):
        raise ValueError(f"{name} is a number above {least:g}, got {value!r}")


def at_least(name: str, value: float, least: float) -> None:
    """Refuse a number below the least."""
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{name} is {least:g} or more, got {value!r}")


def between(name: str, value: float, low: float, high: float, *, below: bool = False) -> None:
    """Refuse a number outside of a range; ``below`` leaves its upper end out."""
    if not (low <= value < high if below else low <= value <= high):
        raise ValueError(f"{name} is from {low:g} to {'below ' * below}{high:g}, got {value!r}")


def length(name: str, values: Sequence, wanted: int, why: str) -> None:
    """Refuse a list of another length."""
    if len(values) != wanted:
        raise ValueError(f"{name} has {len(values)} entries, but there are {wanted} {why}")


def names(name: str, values: Sequence[str], least: int) -> None:
    """Refuse names that repeat, or too few of them."""
    if len(values) < least or len(set(values)) < len(values):
        raise ValueError(f"{name} are {least} different names or more, got {list(values)}")


def some(name: str, values: Sequence[str], least: int) -> None:
    """Refuse too few names."""
    if len(values) < least:
        raise ValueError(f"{name} are {least} names or more, got {list(values)}")


def axes(name: str, values: Sequence[int], rank: int) -> None:
    """Refuse axes that an image of a rank does not have."""
    if len(set(values)) < len(values) or not set(values) <= {*range(rank)}:
        raise ValueError(f"{name} lists axes from 0 to {rank - 1}, each once, got {list(values)}")


def ends(name: str, values: Sequence[int], total: int) -> None:
    """Refuse ends of a training that do not lie in their order before the last."""
    if [*values] != sorted({*values}) or (values and not 0 < values[0] <= values[-1] < total):
        raise ValueError(f"{name} rises from above 0 to below {total}, got {list(values)}")
