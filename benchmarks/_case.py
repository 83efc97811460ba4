"""Cases of a suite, and the sides that are timed against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Run(NamedTuple):
    """One side, ready to be timed.

    Attributes:
        call: runs once; returns when the work is done or, if there is a `wait`, dispatched.
        result: result of a call, as NumPy arrays in the layout that all sides share; None
            if there is nothing to compare.
        wait: returns when the work of all calls is done. Used on accelerators, whose calls are
            queued without waiting for the host.
        memory: bytes needed by the compiled program, if known.
    """

    call: Callable[[], Any]
    result: Callable[[], Any] | None = None
    wait: Callable[[], Any] | None = None
    memory: int | None = None

    def finish(self) -> None:
        """Wait for dispatched work, if any."""
        if self.wait is not None:
            self.wait()


@dataclass(frozen=True)
class Case:
    """One row of a table: the same work done by several sides.

    Attributes:
        name: name of the case, unique in its suite.
        sides: name to a function that makes the `Run`; the first side is ours.
        group: group for geometric means.
        flops: multiplications and additions of one call, 0 if not meaningful.
        precision: precision of the arithmetic.
        items: items processed by one call, 0 if not meaningful.
        unit: name of an item.
        tolerance: largest difference of results, relative to the largest value.
        processor: on a CPU, seconds of the processor in place of those of the wall: what one core
            does, whatever else runs.
    """

    name: str
    sides: Mapping[str, Callable[[], Run]]
    group: str = ""
    flops: float = 0.0
    precision: str = "float32"
    items: float = 0.0
    unit: str = ""
    tolerance: float = 1e-3
    processor: bool = False


class UnavailableError(Exception):
    """Raised for a peer that is not installed, with install instructions."""


@dataclass(frozen=True)
class Options:
    """Options of a suite.

    Attributes:
        quick: tiny shapes, to check that everything runs.
        threads: number of threads, for peers that have a setting.
        only: substring of the names of the requested cases.
    """

    quick: bool = False
    threads: int = 1
    only: str = ""
    extra: dict[str, str] = field(default_factory=dict)


def difference(ours: Any, theirs: Any) -> float:
    """Compute the largest absolute difference of two trees, relative to the largest value."""
    if isinstance(ours, dict):
        ours, theirs = ([x[k] for k in sorted(x)] for x in (ours, theirs))
    if isinstance(ours, list | tuple):
        return max(difference(a, b) for a, b in zip(ours, theirs, strict=True))
    ours, theirs = (np.asarray(x, np.float64) for x in (ours, theirs))
    if ours.shape != theirs.shape:
        raise ValueError(f"sides disagree on the shape: {ours.shape} and {theirs.shape}")
    scale = max(float(np.abs(theirs).max(initial=0)), 1e-12)
    return float(np.abs(ours - theirs).max(initial=0)) / scale
