"""Rounds of active learning: train, ask, label, train again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed._files import write_whole
from jaxmed._json import plain
from jaxmed.core import Key, stream
from jaxmed.protocols.active._pool import Acquire, Pool, pool_of
from jaxmed.protocols.active._uncertain import ask_random
from jaxmed.stats import checks

Rows = NDArray[np.intp]
Look = Callable[[Rows], Mapping[str, ArrayLike]]
"""From positions to ``samples`` (samples, cases, classes), ``features`` (cases, f), or both."""


class ActiveRound(NamedTuple):
    """One round of :func:`active_rounds`.

    Attributes:
        asked: positions of the cases asked for, in this order.
        labels: what the oracle answered.
        labelled: how many cases have a label from this round on.
        measured: what ``measure`` said of the model that was trained on these.
    """

    asked: Rows
    labels: NDArray[np.int64]
    labelled: int
    measured: dict[str, Any]


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
    oracle: Callable[[Rows], ArrayLike],
    classes: int,
    rounds: int,
    per_round: int,
    start: int | Sequence[int],
    begin: Acquire = ask_random,
    features: ArrayLike | None = None,
    groups: Sequence[Any] | None = None,
    measure: Callable[[Look, int], Mapping[str, Any]] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> ActiveRun:
    """Train on few labels, ask for those of further cases, and train again, round by round.

    Each round trains a model by itself, on all labels that there are then. Every answer is on disk
    before the next training begins; the same call with the same ``out`` goes on where it was, asks
    for no label twice, and ends as one that was not interrupted, if ``train`` is a function of its
    arguments.

    Args:
        train: ``(rows, labels, number) -> look``: trains on the cases at these positions, in the
            given round, and returns a function from positions to what is seen of them:
            ``samples`` of probabilities, ``features``, or both. It owns the learner, the steps and
            the seed; :func:`jaxmed.fit` with ``out=`` a folder a round resumes it too.
        cases: names of all cases that may be asked for.
        acquire: which of them are, such as ``ask_entropy``.
        oracle: from positions to classes: a function, :func:`table_oracle`, a person behind either.
        classes: how many classes there are.
        rounds: how often labels are asked for after the start.
        per_round: how many cases, or patients with ``groups``, each time.
        start: how many cases begin, or which.
        begin: how the first ones are chosen if ``start`` is a number; no model is at hand then.
        features: (cases, f) of all cases, for acquisitions that need some where no model gives any.
        groups: patient of each case: patients are asked for, with all their cases; what is seen of
            them is the mean.
        measure: ``(look, number) -> {name: number}`` of each round's model, on cases of one's own.
        seed: of all acquisitions.
        out: a folder for ``active.json``, in which every label asked for is recorded.

    Returns:
        The rounds and all labels.

    Raises:
        ValueError: for no case, names that repeat, more cases asked for than there are, positions
            that do not exist, an oracle that answers with something else than classes, an
            acquisition that asks for a case twice or for a labelled one, or an ``out`` that holds
            another run.

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
    units = _Units(len(names), groups)
    rounds = checks.check_whole(rounds, "rounds", 0)
    per_round = checks.check_whole(per_round, "per_round", 1)
    given = None if features is None else checks.finite(features, "features", ndim=None)
    if given is not None:
        given = given.reshape(len(given), -1)
        if len(given) != len(names):
            raise ValueError(f"features are of {len(given)} cases, and there are {len(names)}")
    first = start if isinstance(start, int) else len({units.of[i] for i in start})
    if first + rounds * per_round > units.count:
        raise ValueError(
            f"{first} at the start and {rounds} rounds of {per_round} are more than the "
            f"{units.count} {units.name} that there are"
        )
    record = _Record(out, {
        "cases": hashlib.sha256("\n".join(names).encode()).hexdigest()[:16], "classes": classes,
        "start": start if isinstance(start, int) else [int(i) for i in start],
        "per_round": per_round, "seed": seed, "groups": groups is not None,
    })  # fmt: skip
    key = jax.random.key(seed)
    taken: list[int] = []
    answers: list[int] = []
    made: list[ActiveRound] = []
    look: Look | None = None
    for number in range(rounds + 1):
        kept = record.round(number)
        if kept is None:
            if number and look is None:  # resumed: the last model is needed once more
                look = train(np.array(taken), np.array(answers), number - 1)
            rows = _chosen(
                stream(key, "round", number), number, units, taken, look, given,
                start if number == 0 else per_round, begin if number == 0 else acquire,
            )  # fmt: skip
            labels = _answered(oracle(rows), rows, names, classes)
            kept = {
                "asked": rows.tolist(), "cases": [names[i] for i in rows],
                "labels": labels.tolist(),
            }  # fmt: skip
            record.keep(number, kept)
        taken += kept["asked"]
        answers += kept["labels"]
        if "measured" not in kept:
            look = train(np.array(taken), np.array(answers), number)
            found = {} if measure is None else dict(measure(look, number))
            kept = {**kept, "measured": plain(found)}
            record.keep(number, kept)
        else:
            look = None
        made.append(
            ActiveRound(
                np.array(kept["asked"], np.intp), np.array(kept["labels"]), len(taken),
                kept["measured"],
            )
        )  # fmt: skip
    return ActiveRun(tuple(made), np.array(taken, np.intp), np.array(answers))


def table_oracle(
    answers: Mapping[str, int], cases: Sequence[str]
) -> Callable[[Rows], NDArray[np.int64]]:
    """An oracle that looks labels up by the names of cases.

    Args:
        answers: case to class, such as a table's column of one's own labels.
        cases: the names, in the order of the positions that are asked for.

    Returns:
        The oracle. It raises KeyError with the names of the cases that have no label yet: add them
        and make the same call again.
    """

    def ask(rows: Rows) -> NDArray[np.int64]:
        wanted = [str(cases[int(i)]) for i in rows]
        if missing := [name for name in wanted if name not in answers]:
            raise KeyError(f"no label yet of {len(missing)} cases that are asked for: {missing}")
        return np.array([answers[name] for name in wanted])

    return ask


class _Units:
    """What is asked for: cases, or patients with all their cases."""

    def __init__(self, n: int, groups: Sequence[Any] | None):
        codes, count = (np.arange(n), n) if groups is None else checks.group_codes(list(groups), n)
        self.of: Any = codes
        self.count = count
        self.name = "cases" if groups is None else "patients"

    def rows(self, unit: int) -> list[int]:
        return np.flatnonzero(self.of == unit).tolist()

    def mean(self, values: np.ndarray, units: list[int], rows: Rows) -> np.ndarray:
        """Means over the cases of each unit, along the first axis."""
        where = np.searchsorted(units, self.of[rows])
        total = np.zeros((len(units), *values.shape[1:]))
        np.add.at(total, where, values)
        return total / np.bincount(where).reshape(-1, *[1] * (values.ndim - 1))


def _chosen(
    key: Key,
    number: int,
    units: _Units,
    taken: list[int],
    look: Look | None,
    features: np.ndarray | None,
    wanted: int | Sequence[int],
    acquire: Acquire,
) -> Rows:
    if not isinstance(wanted, int):
        rows = np.array(wanted, np.intp)
        if len(set(wanted)) < len(rows) or rows.min() < 0 or rows.max() >= len(units.of):
            raise ValueError(f"start must be positions from 0 to {len(units.of) - 1}, each once")
        return np.array([i for u in dict.fromkeys(units.of[rows]) for i in units.rows(u)])
    known = set(units.of[taken].tolist()) if taken else set()
    free = [u for u in range(units.count) if u not in known]
    pool = _pool(units, free, sorted(known), look, features)
    found = np.asarray(acquire(key, pool, wanted))
    if found.shape != (wanted,) or len(set(found.tolist())) < wanted:
        raise ValueError(
            f"the acquisition of round {number} gave {found.shape} positions, "
            f"{len(set(found.ravel().tolist()))} of them different; {wanted} were asked for"
        )
    if found.min() < 0 or found.max() >= len(free):
        raise ValueError(f"the acquisition of round {number} asks outside a pool of {len(free)}")
    return np.array([i for place in found for i in units.rows(free[int(place)])], np.intp)


def _pool(
    units: _Units,
    free: list[int],
    known: list[int],
    look: Look | None,
    features: np.ndarray | None,
) -> Pool:
    def seen(chosen: list[int]) -> tuple[np.ndarray | None, np.ndarray | None]:
        rows = np.array([i for u in chosen for i in units.rows(u)], np.intp)
        found = {} if look is None else dict(look(rows))
        samples, own = found.get("samples"), found.get("features")
        if own is None and features is not None:
            own = features[rows]
        if samples is not None:
            p = np.asarray(samples, np.float64)
            p = p[None] if p.ndim == 2 else p
            samples = np.moveaxis(units.mean(np.moveaxis(p, 1, 0), chosen, rows), 0, 1)
        if own is not None:
            flat = np.asarray(own, np.float64).reshape(len(rows), -1)
            own = units.mean(flat, chosen, rows)
        return samples, own

    samples, own = seen(free)
    if samples is None and own is None:  # nothing is known of them: there are so many
        own = np.zeros((len(free), 1))
    labelled = seen(known)[1] if known and own is not None else None
    return pool_of(samples, own, labelled)


def _answered(found: ArrayLike, rows: Rows, names: list[str], classes: int) -> NDArray[np.int64]:
    labels = np.asarray(found)
    if labels.shape != rows.shape:
        raise ValueError(f"the oracle was asked for {rows.shape} labels and gave {labels.shape}")
    whole = labels.dtype.kind in "iub"
    wrong = np.flatnonzero((labels < 0) | (labels >= classes)) if whole else np.arange(len(labels))
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"the oracle answered {labels[i].item()!r} of {names[int(rows[i])]}: an answer is a "
            f"class, 0 to {classes - 1}"
        )
    return labels.astype(np.int64)


class _Record:
    """The file of all answers and measurements."""

    def __init__(self, out: str | Path | None, settings: dict[str, Any]):
        self.path = None if out is None else Path(out) / "active.json"
        self.settings = settings
        self.rounds: list[dict[str, Any]] = []
        if self.path is not None and self.path.is_file():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if found["settings"] != settings:
                differ = [k for k in settings if found["settings"].get(k) != settings[k]]
                raise ValueError(
                    f"{self.path} is of a run with other {', '.join(differ)}: name another out"
                )
            self.rounds = found["rounds"]

    def round(self, number: int) -> dict[str, Any] | None:
        return self.rounds[number] if number < len(self.rounds) else None

    def keep(self, number: int, record: dict[str, Any]) -> None:
        self.rounds[number:] = [record]
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            table = {"settings": self.settings, "rounds": self.rounds}
            write_whole(self.path, json.dumps(table, indent=1) + "\n")
