"""Premises compiled once: the assignments that satisfy them, and sums over these."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Array
from jaxmed.rules.formulas._formula import BOOLEAN, BOUNDS, Formula

MOST = 2**16
"""Assignments of connected statements that are listed."""
_LISTED = 16  # Statements whose assignments are all looked at, at once.
_LOOKED_AT = 2**20  # Partial assignments that are looked at where there are more.
_SURE = 100.0  # A logit beyond which a statement is as certain as float32 can say.


class Part(NamedTuple):
    """Statements that premises connect.

    Attributes:
        places: (k,) their positions.
        table: (assignments, k) those that satisfy the premises; None if there are too many.
        premises: positions of the premises about them.
    """

    places: NDArray[np.intp]
    table: NDArray[np.bool_] | None
    premises: tuple[int, ...]


@dataclasses.dataclass(frozen=True, repr=False)
class Knowledge:
    """Premises about statements, compiled; made by :func:`knowledge`.

    Attributes:
        atoms: the statements by name, in the order of a network's outputs.
        premises: what is known of them.
        parts: statements that premises connect, with the assignments that satisfy these.
    """

    atoms: tuple[str, ...]
    premises: tuple[Formula, ...]
    parts: tuple[Part, ...]

    @property
    def exact(self) -> bool:
        """Whether all satisfying assignments are listed."""
        return all(part.table is not None for part in self.parts)

    def holds(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Which premises hold, (..., premises), of booleans (..., statements).

        Raises:
            ValueError: for another number of statements.
        """
        given = np.asarray(values, bool)
        if given.ndim < 1 or given.shape[-1] != len(self.atoms):
            raise ValueError(f"there are {len(self.atoms)} statements, got the shape {given.shape}")
        truth = {name: given[..., i] for i, name in enumerate(self.atoms)}
        return np.stack([p.evaluate(truth, BOOLEAN) for p in self.premises], axis=-1)

    def __repr__(self) -> str:
        listed = "; ".join(map(str, self.premises))
        return f"Knowledge of {len(self.atoms)} statements: {listed}"


def knowledge(atoms: Sequence[str], *premises: Formula) -> Knowledge:
    """Compile premises about statements.

    Statements that no chain of premises connects are treated apart. Of up to 16 connected ones all
    assignments are looked at; of more, those that may still satisfy the premises are followed, up
    to 65,536.

    Args:
        atoms: the statements, in the order of a network's outputs.
        *premises: such as :func:`exactly_one` and :func:`implies` make them.

    Returns:
        The compiled knowledge.

    Raises:
        ValueError: for no premise, a statement twice, a premise about another statement, or
            premises that contradict each other: names the fewest that do.

    Examples:
        >>> from jaxmed.rules import exactly_one, implies
        >>> known = knowledge(("benign", "malignant", "melanoma"),
        ...     exactly_one("benign", "malignant"), implies("melanoma", "malignant"))
        >>> known.parts[0].table.astype(int).tolist()
        [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    """
    atoms = tuple(atoms)
    if not premises:
        raise ValueError("knowledge has a premise or more")
    if len(set(atoms)) < len(atoms):
        raise ValueError(f"a statement is named twice: {atoms}")
    for premise in premises:
        if not isinstance(premise, Formula):
            raise ValueError(f"a premise is a formula, got {premise!r}: atom({premise!r})")
        if unknown := [name for name in premise.atoms() if name not in atoms]:
            raise ValueError(f"{premise} is about {unknown[0]!r}; the statements are {atoms}")
    parts = []
    for names, numbers in _connected(premises):
        names = [name for name in atoms if name in names]
        about = [premises[i] for i in numbers]
        table = satisfying(names, about)
        if table is not None and not len(table):
            told = "; ".join(map(str, _contradiction(names, about)))
            raise ValueError(f"the premises contradict each other: {told}")
        places = np.array([atoms.index(name) for name in names])
        parts.append(Part(places, table, tuple(numbers)))
    return Knowledge(atoms, premises, tuple(parts))


def log_probability(known: Knowledge, logits: Array) -> Array:
    """The log probability that all premises hold, where statements are independent.

    Its negative is the semantic loss: it depends on what the premises say and not on how they are
    written, and is 0 where they are certain to hold.

    Args:
        known: the premises.
        logits: (..., statements) of each being true.

    Returns:
        (...), float32, in nats.

    Raises:
        ValueError: for another number of statements, or too many satisfying assignments.

    References:
        Xu et al. (2018), A semantic loss function for deep learning with symbolic knowledge, ICML.

    >>> from jaxmed.rules import exactly_one
    >>> known = knowledge(("a", "b"), exactly_one("a", "b"))
    >>> round(float(jnp.exp(log_probability(known, jnp.zeros(2)))), 3)
    0.5
    """
    total = jnp.zeros(jnp.shape(logits)[:-1])
    for z, _, scores in _scored(known, logits):
        total += jax.nn.logsumexp(scores, axis=-1) - jax.nn.softplus(z).sum(-1)
    return total


def marginals(known: Knowledge, logits: Array) -> Array:
    """The probability of each statement given that all premises hold.

    Args:
        known: the premises.
        logits: (..., statements) of each being true.

    Returns:
        (..., statements), float32.

    Raises:
        ValueError: as :func:`log_probability`.

    >>> from jaxmed.rules import exactly_one
    >>> known = knowledge(("a", "b"), exactly_one("a", "b"))
    >>> marginals(known, jnp.array([2.0, 2.0])).tolist()
    [0.5, 0.5]
    """
    found = jax.nn.sigmoid(jnp.asarray(logits, jnp.float32))
    for part, (_, table, scores) in zip(known.parts, _scored(known, logits), strict=True):
        found = found.at[..., part.places].set(jax.nn.softmax(scores, axis=-1) @ table)
    return found


def most_probable(known: Knowledge, logits: Array) -> Array:
    """The most probable of the assignments that satisfy all premises.

    Args:
        known: the premises.
        logits: (..., statements) of each being true.

    Returns:
        (..., statements), booleans; of equally probable ones the first listed.

    Raises:
        ValueError: as :func:`log_probability`; :func:`deduce` goes on where there are too many.
    """
    found = jnp.asarray(logits) > 0
    for part, (z, table, _) in zip(known.parts, _scored(known, logits, jnp.inf), strict=True):
        # What each assignment loses: first as little as can be of what is infinitely certain.
        certain = jnp.isinf(z)
        scores = -_lost(jnp.where(certain, 0, z), table)
        beyond = _lost(jnp.where(certain, jnp.sign(z), 0), table)
        scores = jnp.where(beyond == beyond.min(-1, keepdims=True), scores, -jnp.inf)
        found = found.at[..., part.places].set(table.astype(bool)[scores.argmax(-1)])
    return found


def _lost(z: Array, table: Array) -> Array:
    """The sizes of the logits from which each assignment differs."""
    return _product(jax.nn.relu(z), 1 - table) + _product(jax.nn.relu(-z), table)


def _product(values: Array, table: Array) -> Array:
    return jnp.matmul(values, table.T, precision=jax.lax.Precision.HIGHEST)


def _scored(known: Knowledge, logits: Array, sure: float = _SURE):
    """For each part its logits, its table as numbers, and the log weight of each assignment."""
    z = jnp.clip(jnp.asarray(logits, jnp.float32), -sure, sure)
    if z.ndim < 1 or z.shape[-1] != len(known.atoms):
        raise ValueError(f"there are {len(known.atoms)} statements, got the shape {z.shape}")
    for part in known.parts:
        if part.table is None:
            names = ", ".join(known.atoms[i] for i in part.places[:5])
            raise ValueError(
                f"more than {MOST} assignments of {len(part.places)} statements ({names}, ...) "
                "satisfy the premises: take kind='product' or 'lukasiewicz' in training"
            )
        own, table = z[..., part.places], jnp.asarray(part.table, jnp.float32)
        yield own, table, _product(jnp.clip(own, -_SURE, _SURE), table)


def satisfying(names: Sequence[str], premises: Sequence[Formula]) -> NDArray[np.bool_] | None:
    """The assignments (count, names) that satisfy premises; None if there are too many."""
    if len(names) <= _LISTED:
        bits = np.arange(2 ** len(names))[:, None] >> np.arange(len(names))[::-1]
        table = (bits & 1).astype(bool)
        truth = {name: table[:, i] for i, name in enumerate(names)}
        held = np.logical_and.reduce([p.evaluate(truth, BOOLEAN) for p in premises])
        return table[np.broadcast_to(held, len(table))]
    found: list[list[bool]] = []
    truth: dict[str, tuple[bool, bool]] = dict.fromkeys(names, (False, True))
    looked = 0

    def follow(at: int, chosen: list[bool]) -> bool:
        nonlocal looked
        looked += 1
        if looked > _LOOKED_AT or len(found) > MOST:
            return False
        if not all(premise.evaluate(truth, BOUNDS)[1] for premise in premises):
            return True
        if at == len(names):
            found.append(chosen)
            return True
        for value in (False, True):
            truth[names[at]] = (value, value)
            if not follow(at + 1, [*chosen, value]):
                return False
        truth[names[at]] = (False, True)
        return True

    whole = follow(0, [])
    return np.array(found, bool).reshape(-1, len(names)) if whole and len(found) <= MOST else None


def _connected(premises: Sequence[Formula]) -> list[tuple[set[str], list[int]]]:
    parts: list[tuple[set[str], list[int]]] = []
    for i, premise in enumerate(premises):
        names, numbers = set(premise.atoms()), [i]
        apart = []
        for other, theirs in parts:
            if names & other:
                names |= other
                numbers += theirs
            else:
                apart.append((other, theirs))
        parts = [*apart, (names, sorted(numbers))]
    return sorted(parts, key=lambda part: part[1])


def _contradiction(names: Sequence[str], premises: Sequence[Formula]) -> list[Formula]:
    """Premises of which none can be left out without the others being satisfied."""
    kept = list(premises)
    for premise in premises:
        others = [p for p in kept if p is not premise]
        table = satisfying(names, others) if others else None
        if table is not None and not len(table):
            kept = others
    return kept
