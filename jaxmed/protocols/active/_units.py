"""What is asked for round by round: cases, or patients with all their cases; what that costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.protocols.active._pool import Pool, pool_of
from jaxmed.stats import checks

Rows = NDArray[np.intp]
Look = Callable[[Rows], Mapping[str, ArrayLike]]
"""From positions to ``samples`` (samples, cases, classes), ``features`` (cases, f), ``scores``
(cases,), or several of these."""


_SEEN = ("samples", "features", "scores")


class Units:
    """What is asked for: cases, or patients with all their cases.

    Attributes:
        of: (cases,) the unit of each.
        count: how many units there are.
        name: of the units, in words.
        costs: (units,) what each costs, None where all cost 1.
    """

    def __init__(self, n: int, groups: Sequence[Any] | None, costs: ArrayLike | None):
        codes, count = (np.arange(n), n) if groups is None else checks.group_codes(list(groups), n)
        self.of: Any = codes
        self.count = count
        self.name = "cases" if groups is None else "patients"
        self.costs: Any = None
        if costs is not None:
            each = checks.finite(costs, "costs")
            if len(each) != n or each.min() <= 0:
                raise ValueError(f"costs are a number above 0 for each of {n} cases")
            self.costs = np.bincount(codes, each, minlength=count)

    @property
    def total(self) -> float:
        """What all units cost together."""
        return self.count if self.costs is None else float(self.costs.sum())

    def spent(self, rows: Sequence[int]) -> float:
        """What the units of some cases cost."""
        units = sorted(set(self.of[list(rows)].tolist())) if len(rows) else []
        return len(units) if self.costs is None else float(self.costs[units].sum())

    def rows(self, unit: int) -> list[int]:
        """The cases of a unit."""
        return np.flatnonzero(self.of == unit).tolist()

    def mean(self, values: np.ndarray, units: list[int], rows: Rows) -> np.ndarray:
        """Means over the cases of each unit, along the first axis."""
        where = np.searchsorted(units, self.of[rows])
        total = np.zeros((len(units), *values.shape[1:]))
        np.add.at(total, where, values)
        return total / np.bincount(where).reshape(-1, *[1] * (values.ndim - 1))


def _looked(look: Look, rows: Rows) -> dict[str, Any]:
    """What a model sees of some cases, if it is of these."""
    given = look(rows)
    if not isinstance(given, Mapping) or not set(given) <= set(_SEEN):
        got = sorted(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise ValueError(f"what is seen of cases is a dict of {', '.join(_SEEN)}; got {got}")
    for name, values in given.items():
        shape = checks.as_array(values, name).shape
        axis = 1 if name == "samples" and len(shape) == 3 else 0
        if len(shape) <= axis or shape[axis] != len(rows):
            raise ValueError(f"{name} are to be of {len(rows)} cases, got the shape {shape}")
    return dict(given)


def seen_pool(
    units: Units,
    free: list[int],
    known: list[int],
    look: Look | None,
    features: np.ndarray | None,
) -> Pool:
    """What the present model sees of the units that may be asked for, and of those that are known.

    Where there is neither a model nor features, a pool that tells them apart by nothing.
    """

    def seen(chosen: list[int]) -> tuple[Any, Any, Any]:
        rows = np.array([i for u in chosen for i in units.rows(u)], np.intp)
        found = {} if look is None else _looked(look, rows)
        samples, own, scores = (found.get(name) for name in _SEEN)
        if own is None and features is not None:
            own = features[rows]
        if samples is not None:
            p = np.asarray(samples, np.float64)
            p = p[None] if p.ndim == 2 else p
            samples = np.moveaxis(units.mean(np.moveaxis(p, 1, 0), chosen, rows), 0, 1)
        if own is not None:
            flat = np.asarray(own, np.float64).reshape(len(rows), -1)
            own = units.mean(flat, chosen, rows)
        if scores is not None:
            scores = units.mean(np.asarray(scores, np.float64), chosen, rows)
        return samples, own, scores

    samples, own, scores = seen(free)
    if samples is None and own is None and scores is None:  # there are so many: no more is known
        own = np.zeros((len(free), 1))
    labelled = seen(known)[1] if known and own is not None else None
    costs = None if units.costs is None else units.costs[free]
    return pool_of(samples, own, labelled, scores=scores, costs=costs)
