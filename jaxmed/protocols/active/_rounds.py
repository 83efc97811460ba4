"""Rounds of active learning: train, ask, label, train again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed._files import write_whole
from jaxmed._json import plain
from jaxmed._named import named
from jaxmed.core import Key, stream
from jaxmed.protocols.active._pool import Acquire
from jaxmed.protocols.active._uncertain import ask_random
from jaxmed.protocols.active._units import Look, Rows, Units, seen_pool
from jaxmed.stats import checks
from jaxmed.train._identity import alike, array_summary

_ROUNDING = 1e-9  # Of sums of costs.
_LATER = ("acquire", "begin", "features", "patients")  # Not in records of earlier versions.


class ActiveRound(NamedTuple):
    """One round of :func:`active_rounds`.

    Attributes:
        asked: positions of the cases asked for, in this order.
        labels: what the oracle answered.
        labelled: how many cases have a label from this round on.
        measured: what ``measure`` said of the model that was trained on these.
        spent: what all labels so far cost: how many cases or patients, where no costs are stated.
    """

    asked: Rows
    labels: NDArray[np.int64]
    labelled: int
    measured: dict[str, Any]
    spent: float = 0.0


class ActiveRun(NamedTuple):
    """What :func:`active_rounds` returns.

    Attributes:
        rounds: the first with the cases of the start.
        rows: positions of all labelled cases, in the order in which they were asked for.
        labels: their labels.
    """

    rounds: tuple[ActiveRound, ...]
    rows: Rows
    labels: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"ActiveRun of {len(self.rounds)} rounds, {len(self.rows)} cases labelled"


def active_rounds(
    train: Callable[[Rows, NDArray[np.int64], int], Look],
    cases: Sequence[str],
    *,
    acquire: Acquire,
    oracle: Callable[[Rows], ArrayLike | None],
    classes: int | None,
    rounds: int,
    per_round: float,
    start: float | Sequence[int],
    begin: Acquire = ask_random,
    features: ArrayLike | None = None,
    groups: Sequence[Any] | None = None,
    costs: ArrayLike | None = None,
    measure: Callable[[Look, int], Mapping[str, Any]] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> ActiveRun:
    """Train on few labels, ask for those of further cases, and train again, round by round.

    Each round trains a model by itself, on all labels that there are then. What is asked for is on
    disk before the oracle is called, and every answer before the next training begins; the same
    call with the same ``out`` goes on where it was, asks for no label twice, and ends as one that
    was not interrupted, if ``train`` is a function of its arguments. A folder is of one strategy:
    what decides which labels are asked for is compared, acquisitions by their names and what they
    were made of. ``train``, ``oracle`` and ``measure`` are not: another training needs another
    folder.

    Args:
        train: ``(rows, labels, number) -> look``: trains on the cases at these positions, in the
            given round, and returns a function from positions to what is seen of them:
            ``samples`` of probabilities, ``features``, ``scores``, or several. It owns the learner,
            the steps and the seed; :func:`jaxmed.fit` with ``out=`` a folder a round resumes it
            too.
        cases: names of all cases that may be asked for.
        acquire: which of them are, such as ``ask_entropy``.
        oracle: from positions to classes: a function, :func:`table_oracle`, or a person
            (:func:`person_oracle`).
        classes: how many classes there are. None where an answer is no class, such as a mask: the
            oracle then puts it where ``train`` finds it, what it returns is not looked at, and all
            labels are 0.
        rounds: how often labels are asked for after the start.
        per_round: how many cases, or patients with ``groups``, each time; with ``costs`` what they
            may cost.
        start: how many cases begin, or which; a number with ``costs`` is what they may cost.
        begin: how the first ones are chosen if ``start`` is a number; no model is at hand then.
        features: (cases, f) of all cases, for acquisitions that need some where no model gives any.
        groups: patient of each case: patients are asked for, with all their cases; what is seen of
            them is the mean.
        costs: (cases,) what the label of each costs, such as the slices or voxels that are to be
            drawn; by default each costs 1. Where they differ, the acquisition puts all cases in
            order, and those are taken that the round can still pay for; what it leaves is added
            to the next.
        measure: ``(look, number) -> {name: number}`` of each round's model, on cases of one's own.
        seed: of all acquisitions.
        out: a folder for ``active.json``, in which every label asked for is recorded.

    Returns:
        The rounds and all labels.

    Raises:
        ValueError: for no case, names that repeat, more cases asked for than there are, positions
            that do not exist, costs that are not positive or above what a round may spend, an
            oracle that answers with something else than classes, an acquisition that asks for a
            case twice or for a labelled one, or an ``out`` that holds another run.

    Examples:
        >>> truth = np.array([0, 0, 0, 1, 1, 1])
        >>> x = np.arange(6.0)
        >>> def train(rows, labels, number):
        ...     middle = np.mean([x[rows][labels == c].mean() for c in (0, 1)])
        ...     p = lambda at: 1 / (1 + np.exp(middle - x[at]))
        ...     return lambda at: {"samples": np.stack([1 - p(at), p(at)], 1)}
        >>> from jaxmed.protocols import ask_margin
        >>> run = active_rounds(train, list("abcdef"), acquire=ask_margin, classes=2,
        ...     oracle=lambda rows: truth[rows], rounds=2, per_round=1, start=[0, 5])
        >>> sorted(run.rows.tolist())
        [0, 2, 3, 5]
    """
    names = [str(name) for name in cases]
    if not names or len(set(names)) < len(names):
        raise ValueError("cases are one or more names, each once")
    units = Units(len(names), groups, costs)
    if classes is not None:
        classes = checks.check_whole(classes, "classes", 1)
    rounds = checks.check_whole(rounds, "rounds", 0)
    per_round = _budget(per_round, "per_round", whole=costs is None)
    given = None if features is None else checks.finite(features, "features", ndim=None)
    if given is not None:
        given = given.reshape(len(given), -1)
        if len(given) != len(names):
            raise ValueError(f"features are of {len(given)} cases, and there are {len(names)}")
    listed, places = None, checks.as_array(start, "start")
    if places.ndim == 0 and not isinstance(start, str):
        first = _budget(places.item(), "start", whole=costs is None)
    else:
        listed = places.tolist()
        if (
            places.ndim != 1 or not len(places) or places.dtype.kind not in "iu"
            or len(set(listed)) < len(listed) or places.min() < 0 or places.max() >= len(names)
        ):  # fmt: skip
            raise ValueError(
                f"start must be one or more positions from 0 to {len(names) - 1}, each once, got "
                f"{start!r}"
            )
        first = units.spent(listed)
    if first + rounds * per_round > units.total:
        raise ValueError(
            f"{first:g} at the start and {rounds} rounds of {per_round:g} are more than the "
            f"{units.total:g} that all {units.count} {units.name} cost"
            if costs is not None
            else f"{first} at the start and {rounds} rounds of {per_round} are more than the "
            f"{units.count} {units.name} that there are"
        )
    record = _Record(out, {
        "cases": hashlib.sha256("\n".join(names).encode()).hexdigest()[:16], "classes": classes,
        "start": first if listed is None else listed,
        "per_round": per_round, "seed": seed, "groups": groups is not None,
        "costs": None if costs is None else _digest(units.costs),
        "acquire": named(acquire), "begin": named(begin) if listed is None else None,
        "features": None if given is None else array_summary(given),
        "patients": None if groups is None else _digest(units.of),
    })  # fmt: skip
    key = jax.random.key(seed)
    taken: list[int] = []
    answers: list[int] = []
    made: list[ActiveRound] = []
    look: Look | None = None
    for number in range(rounds + 1):
        kept = record.round(number)
        if kept is None:
            if number == 0 and listed is not None:
                rows = np.array([i for u in dict.fromkeys(units.of[listed]) for i in units.rows(u)])
            else:
                if number and look is None:  # resumed: the last model is needed once more
                    look = train(np.array(taken), np.array(answers), number - 1)
                rows = _chosen(
                    stream(key, "round", number), number, units, taken, look, given,
                    first + number * per_round - units.spent(taken),
                    acquire if number else begin,
                )  # fmt: skip
            kept = {"asked": rows.tolist(), "cases": [names[i] for i in rows]}
            record.keep(number, kept)
        if "labels" not in kept:
            rows = np.array(kept["asked"], np.intp)
            labels = _answered(oracle(rows), rows, names, classes)
            kept = {**kept, "labels": labels.tolist()}
            record.keep(number, kept)
        taken += kept["asked"]
        answers += kept["labels"]
        if "measured" not in kept or (measure is not None and not kept["measured"]):
            look = train(np.array(taken), np.array(answers), number)
            found = {} if measure is None else dict(measure(look, number))
            kept = {**kept, "measured": plain(found)}
            record.keep(number, kept)
        else:
            look = None
        made.append(
            ActiveRound(
                np.array(kept["asked"], np.intp), np.array(kept["labels"]), len(taken),
                kept["measured"], units.spent(taken),
            )
        )  # fmt: skip
    return ActiveRun(tuple(made), np.array(taken, np.intp), np.array(answers))


def _budget(value: float, name: str, *, whole: bool) -> float:
    """A number of cases, or what they may cost."""
    if whole:
        return checks.check_whole(value, name, 1)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is what the labels of a round may cost, above 0, got {value}")
    return value


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, "<f8").tobytes()).hexdigest()[:16]


def _chosen(
    key: Key,
    number: int,
    units: Units,
    taken: list[int],
    look: Look | None,
    features: np.ndarray | None,
    budget: float,
    acquire: Acquire,
) -> Rows:
    """The cases that a round asks for, within what it may spend."""
    known = set(units.of[taken].tolist()) if taken else set()
    free = [u for u in range(units.count) if u not in known]
    if number and not callable(look):
        raise ValueError(f"train returns a function from positions to what is seen, got {look!r}")
    pool = seen_pool(units, free, sorted(known), look, features)
    if pool.costs is None:
        wanted = int(budget)
    elif pool.costs.min() > budget * (1 + _ROUNDING):
        raise ValueError(
            f"round {number} may spend {budget:g}, and the cheapest of the {units.name} left "
            f"costs {pool.costs.min():g}: give a larger per_round, or smaller parts"
        )
    else:
        alike = pool.costs.min() == pool.costs.max()
        wanted = int(budget * (1 + _ROUNDING) / pool.costs[0]) if alike else len(free)
        wanted = min(wanted, len(free))
    found = checks.as_array(
        acquire(key, pool, wanted), f"what the acquisition of round {number} gives"
    )
    if found.shape != (wanted,) or len(set(found.tolist())) < wanted:
        raise ValueError(
            f"the acquisition of round {number} gave {found.shape} positions, "
            f"{len(set(found.ravel().tolist()))} of them different; {wanted} were asked for"
        )
    if found.min() < 0 or found.max() >= len(free):
        raise ValueError(f"the acquisition of round {number} asks outside a pool of {len(free)}")
    if pool.costs is not None:
        found = _paid(found, pool.costs, budget)
    return np.array([i for place in found for i in units.rows(free[int(place)])], np.intp)


def _paid(order: np.ndarray, costs: np.ndarray, budget: float) -> np.ndarray:
    """Those in an order that can be paid for one after the other; what is too dear is left."""
    kept, left = [], budget * (1 + _ROUNDING)
    for place in order:
        if costs[place] <= left:
            kept.append(place)
            left -= costs[place]
    return np.array(kept, np.intp)


def _answered(
    found: ArrayLike | None, rows: Rows, names: list[str], classes: int | None
) -> NDArray[np.int64]:
    if classes is None:
        return np.zeros(len(rows), np.int64)
    labels = checks.as_array(found, "what the oracle answers")
    if labels.shape != rows.shape:
        raise ValueError(f"the oracle was asked for {rows.shape} labels and gave {labels.shape}")
    for value, row in zip(labels.tolist(), rows, strict=True):
        if not isinstance(value, int) or not 0 <= value < classes:
            raise ValueError(
                f"the oracle answered {value!r} of {names[int(row)]}: an answer is a class, 0 to "
                f"{classes - 1}"
            )
    return labels.astype(np.int64)


def _other(kept: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """What two runs differ in, acquisitions by name."""
    told = []
    for name, value in given.items():
        if name in _LATER and name not in kept:
            continue
        before = kept.get(name)
        if not alike(before, value):
            short = name in ("acquire", "begin") and before and value
            told.append(f"{name} ({before}, not {value})" if short else name)
    return ", ".join(told)


class _Record:
    """The file of all answers and measurements."""

    def __init__(self, out: str | Path | None, settings: dict[str, Any]):
        self.path = None if out is None else Path(out) / "active.json"
        self.settings = settings
        self.rounds: list[dict[str, Any]] = []
        if self.path is not None and self.path.is_file():
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{self.path} is not JSON ({error}): name another out") from None
            if not isinstance(found, dict) or not {"settings", "rounds"} <= found.keys():
                raise ValueError(f"{self.path} is no record of active learning: name another out")
            if differ := _other(found["settings"], settings):
                raise ValueError(f"{self.path} is of a run with other {differ}: name another out")
            self.rounds = found["rounds"]

    def round(self, number: int) -> dict[str, Any] | None:
        return self.rounds[number] if number < len(self.rounds) else None

    def keep(self, number: int, record: dict[str, Any]) -> None:
        self.rounds[number:] = [record]
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            table = {"settings": self.settings, "rounds": self.rounds}
            write_whole(self.path, json.dumps(table, indent=1) + "\n")
