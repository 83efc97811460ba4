"""Predictions that satisfy premises, and labels that break them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.rules.formulas._formula import BOOLEAN, Formula
from jaxmed.rules.formulas._knowledge import (
    Knowledge,
    Part,
    log_probability,
    marginals,
    most_probable,
    satisfying,
)
from jaxmed.stats import checks

_SWEEPS = 50
_LARGEST = 1e9  # Of a logit in the search.


class Deduced(NamedTuple):
    """Predictions that satisfy the premises; made by :func:`deduce`.

    Attributes:
        values: (cases, statements) the most probable ones that do.
        probabilities: (cases, statements) given that the premises hold; where they are not exact,
            those of the network.
        broken: (cases, premises) which premises the thresholded outputs broke.
        changed: (cases, statements) what differs from the thresholded outputs.
        log_probability: (cases,) of the premises under the outputs: low where they contradict what
            was seen. NaN where it is not exact.
        exact: whether ``values`` are the most probable; else they are near to it, by search.
        premises: the premises, in words.
    """

    values: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    broken: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    log_probability: NDArray[np.float32]
    exact: bool
    premises: tuple[str, ...]

    def __repr__(self) -> str:
        cases = len(self.values)
        lines = [
            f"Deduced of {cases} cases, {int(self.changed.any(1).sum())} of them changed"
            + ("" if self.exact else " (by search)")
        ]
        for text, count in zip(self.premises, self.broken.sum(0), strict=True):
            lines.append(f"  {text}: broken by {int(count)}")
        return "\n".join(lines)


def deduce(known: Knowledge, logits: ArrayLike) -> Deduced:
    """Find the most probable predictions that satisfy all premises.

    Exactly, where the satisfying assignments are listed. Where they are too many, broken premises
    are mended in turn at the least loss of probability, each by the best assignment of its own
    statements, until none is broken.

    Args:
        known: the premises.
        logits: (cases, statements) of each being true, as a network gives them.

    Returns:
        The predictions, and what the premises changed.

    Raises:
        ValueError: for another number of statements, or logits that are NaN.
        RuntimeError: if the search leaves a premise broken.

    Examples:
        >>> from jaxmed.rules import exactly_one, implies, knowledge
        >>> known = knowledge(("benign", "malignant", "melanoma"),
        ...     exactly_one("benign", "malignant"), implies("melanoma", "malignant"))
        >>> found = deduce(known, [[1.0, 0.5, 3.0], [2.0, -2.0, -1.0]])
        >>> found.values.astype(int).tolist()
        [[0, 1, 1], [1, 0, 0]]
        >>> found
        Deduced of 2 cases, 1 of them changed
          exactly 1 of benign, malignant: broken by 1
          (not melanoma or malignant): broken by 0
    """
    z = np.asarray(logits, np.float32)
    if z.ndim != 2 or z.shape[1] != len(known.atoms):
        raise ValueError(f"logits must be (cases, {len(known.atoms)}), got {z.shape}")
    if np.isnan(z).any():
        raise ValueError(f"logits are NaN in {int(np.isnan(z).any(1).sum())} of {len(z)} cases")
    plain = z > 0
    if known.exact:
        seen = jnp.asarray(z)
        values = np.asarray(most_probable(known, seen))
        probabilities = np.asarray(marginals(known, seen))
        fit = np.asarray(log_probability(known, seen))
    else:
        values = np.stack([_searched(known, row) for row in z]) if len(z) else plain
        probabilities = (1 / (1 + np.exp(-z))).astype(np.float32)
        fit = np.full(len(z), np.nan, np.float32)
    words = tuple(map(str, known.premises))
    return Deduced(
        values, probabilities, ~known.holds(plain), values != plain, fit, known.exact, words
    )


def broken(
    known: Knowledge,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> dict[str, stats.Estimate]:
    """Estimate how often labels break each premise: to be looked at before it is taught.

    Args:
        known: the premises.
        labels: (cases, statements) true or not, as booleans or 0 and 1; NaN where it is not known.
            A premise is judged where all of its statements are.
        groups: (cases,) patient of each case.
        level: confidence level.

    Returns:
        Premise, in words, to the share of cases that break it; ``details["cases"]`` are their
        positions. A premise whose statements are never all known is left out.

    Raises:
        ValueError: for labels of another shape, or that are not 0, 1 or NaN.

    Examples:
        >>> from jaxmed.rules import implies, knowledge
        >>> known = knowledge(("malignant", "melanoma"), implies("melanoma", "malignant"))
        >>> found = broken(known, [[1, 1], [0, 1], [1, 0], [0, float("nan")]])
        >>> [(e.value.__round__(3), e.n, e.details["cases"]) for e in found.values()]
        [(0.333, 3, [1])]
    """
    given = np.asarray(labels, np.float64)
    if given.ndim != 2 or given.shape[1] != len(known.atoms):
        raise ValueError(f"labels must be (cases, {len(known.atoms)}), got {given.shape}")
    seen = ~np.isnan(given)
    if not np.isin(given[seen], (0, 1)).all():
        raise ValueError("labels must be 0, 1 or NaN")
    checks.same_length(labels=given, groups=groups)
    held = known.holds(np.where(seen, given, 0) == 1)
    found = {}
    for i, premise in enumerate(known.premises):
        columns = [known.atoms.index(name) for name in premise.atoms()]
        rows = np.flatnonzero(seen[:, columns].all(1))
        if not len(rows):
            continue
        wrong = ~held[rows, i]
        if groups is None:
            estimate = stats.proportion(int(wrong.sum()), len(rows), level=level)
        else:
            estimate = stats.clustered_proportion(wrong, np.asarray(groups)[rows], level=level)
        found[str(premise)] = dataclasses.replace(
            estimate,
            name=f"broken: {premise}",
            details={**estimate.details, "cases": rows[wrong].tolist()},
        )
    return found


def _searched(known: Knowledge, z: np.ndarray) -> np.ndarray:
    """Values of one case, its broken premises mended in turn."""
    values = z > 0
    # Infinite logits would give NaN beside a 0; in float64 sums of these keep their digits.
    z = np.clip(z.astype(np.float64), -_LARGEST, _LARGEST)
    for part in known.parts:
        if part.table is not None:
            own = z[part.places]
            values[part.places] = part.table[int((part.table @ own).argmax())]
        else:
            _mend(known, part, z, values)
    return values


def _mend(known: Knowledge, part: Part, z: np.ndarray, values: np.ndarray) -> None:
    # What a premise has cost grows, so that two that undo each other come to an end.
    cost = np.abs(z).astype(np.float64)
    for _ in range(_SWEEPS):
        held = known.holds(values)
        wrong = [i for i in part.premises if not held[i]]
        if not wrong:
            return
        for i in wrong:
            premise = known.premises[i]
            names = premise.atoms()
            places = np.array([known.atoms.index(name) for name in names])
            best, least = None, np.inf
            for option in _options(premise, names, values[places], cost[places]):
                flips = option != values[places]
                others = sum(
                    not known.holds(_set(values, places, option))[j] for j in part.premises
                )
                loss = float((cost[places] * flips * _towards(z[places], option)).sum()) + others
                if loss < least:
                    best, least = option, loss
            if best is not None:
                cost[places[best != values[places]]] += 1
                values[places] = best
    texts = "; ".join(str(known.premises[i]) for i in part.premises if not known.holds(values)[i])
    raise RuntimeError(f"no assignment that satisfies all premises was found; broken are: {texts}")


def _towards(z: np.ndarray, option: np.ndarray) -> np.ndarray:
    """1 where an option says other than the network, a little where it says the same."""
    return np.where(option != (z > 0), 1.0, 0.01)


def _set(values: np.ndarray, places: np.ndarray, option: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed[places] = option
    return changed


def _options(
    premise: Formula, names: tuple[str, ...], now: np.ndarray, cost: np.ndarray
) -> Iterator[np.ndarray]:
    """Assignments of a premise's statements that satisfy it."""
    if len(names) <= 12:
        table = satisfying(names, [premise])
        assert table is not None
        yield from table
        return
    # Of many statements: as few of the least certain turned as satisfies the premise.
    for value in (False, True):
        option = now.copy()
        for place in np.argsort(cost, kind="stable"):
            if option[place] != value:
                option[place] = value
                truth = {name: option[i : i + 1] for i, name in enumerate(names)}
                if bool(premise.evaluate(truth, BOOLEAN)[0]):
                    yield option.copy()
                    break
