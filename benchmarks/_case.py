"""What a suite is made of: cases, and the sides that are timed against each other in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Run(NamedTuple):
    """One side, ready to be timed.

    Attributes:
        call: runs once; returns when the work is done, or, if there is a `wait`, when it is begun.
        result: what a call computes, as NumPy arrays in the layout that all sides share; None
            if there is nothing to compare.
        wait: returns when the work of all calls is done. Accelerators have one: their calls
            follow one another without the host between them.
        memory: bytes that the compiled program needs, where it can tell.
    """

    call: Callable[[], Any]
    result: Callable[[], Any] | None = None
    wait: Callable[[], Any] | None = None
    memory: int | None = None

    def finish(self) -> None:
        """Wait, where there is something to wait for."""
        if self.wait is not None:
            self.wait()


@dataclass(frozen=True)
class Case:
    """One row of a table: the same work done by several sides.

    Attributes:
        name: of the case, unique in its suite.
        sides: name to a function that makes the `Run`; the first side is ours.
        group: by which geometric means are taken.
        flops: multiplications and additions of one call, 0 if that says nothing.
        precision: in which they are done.
        items: things processed by one call, 0 if that says nothing.
        unit: what an item is.
        tolerance: largest difference of results, relative to the largest value.
    """

    name: str
    sides: Mapping[str, Callable[[], Run]]
    group: str = ""
    flops: float = 0.0
    precision: str = "float32"
    items: float = 0.0
    unit: str = ""
    tolerance: float = 1e-3


class UnavailableError(Exception):
    """A peer that is not installed, with how to install it."""


@dataclass(frozen=True)
class Options:
    """What a suite may look at.

    Attributes:
        quick: tiny shapes, to see that everything runs.
        threads: for the peers that have a setting.
        only: a part of the names of the cases wanted.
    """

    quick: bool = False
    threads: int = 1
    only: str = ""
    extra: dict[str, str] = field(default_factory=dict)


def difference(ours: Any, theirs: Any) -> float:
    """Largest absolute difference of two nests of arrays, relative to the largest value."""
    if isinstance(ours, dict):
        ours, theirs = ([x[k] for k in sorted(x)] for x in (ours, theirs))
    if isinstance(ours, list | tuple):
        return max(difference(a, b) for a, b in zip(ours, theirs, strict=True))
    ours, theirs = (np.asarray(x, np.float64) for x in (ours, theirs))
    if ours.shape != theirs.shape:
        raise ValueError(f"sides disagree on the shape: {ours.shape} and {theirs.shape}")
    scale = max(float(np.abs(theirs).max(initial=0)), 1e-12)
    return float(np.abs(ours - theirs).max(initial=0)) / scale
