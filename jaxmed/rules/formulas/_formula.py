"""Formulas of statements, evaluated in any algebra: of booleans, of probabilities, of bounds."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp


class Algebra(NamedTuple):
    """What truth is, and how connectives act on it.

    Attributes:
        negation: of one truth.
        every: whether all of several are true.
        some: whether one of several is, or more.
        count: ``(truths, low, high)``: whether from low to high of several are true.
    """

    negation: Callable[[Any], Any]
    every: Callable[[Sequence[Any]], Any]
    some: Callable[[Sequence[Any]], Any]
    count: Callable[[Sequence[Any], int, int], Any]


class Formula:
    """A formula; ``~a``, ``a & b``, ``a | b`` and ``a >> b`` (a implies b) make further ones."""

    def __invert__(self) -> Formula:
        return Not(self)

    def __and__(self, other: Formula) -> Formula:
        return Every((self, _checked(other)))

    def __or__(self, other: Formula) -> Formula:
        return Some((self, _checked(other)))

    def __rshift__(self, other: Formula) -> Formula:
        return Some((Not(self), _checked(other)))

    def __bool__(self) -> bool:
        # `a and b` would be b alone.
        raise TypeError("a formula is neither true nor false by itself: join formulas by &, |, ~")

    def atoms(self) -> tuple[str, ...]:
        """The statements in it, each once, in the order in which they occur."""
        raise NotImplementedError

    def evaluate(self, truth: Mapping[str, Any], algebra: Algebra) -> Any:
        """Its truth, from those of its atoms."""
        raise NotImplementedError


def _checked(other: Formula) -> Formula:
    if not isinstance(other, Formula):
        raise TypeError(f"a formula is joined with a formula, got {other!r}: atom({other!r})")
    return other


@dataclasses.dataclass(frozen=True)
class Atom(Formula):
    """A statement by its name."""

    name: str

    def atoms(self) -> tuple[str, ...]:
        return (self.name,)

    def evaluate(self, truth: Mapping[str, Any], algebra: Algebra) -> Any:
        return truth[self.name]

    def __str__(self) -> str:
        return self.name


@dataclasses.dataclass(frozen=True)
class Not(Formula):
    """A formula that must not hold."""

    of: Formula

    def atoms(self) -> tuple[str, ...]:
        return self.of.atoms()

    def evaluate(self, truth: Mapping[str, Any], algebra: Algebra) -> Any:
        return algebra.negation(self.of.evaluate(truth, algebra))

    def __str__(self) -> str:
        return f"not {self.of}"


@dataclasses.dataclass(frozen=True)
class _Several(Formula):
    of: tuple[Formula, ...]

    def atoms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.of for name in part.atoms()))

    def _parts(self, truth: Mapping[str, Any], algebra: Algebra) -> list[Any]:
        return [part.evaluate(truth, algebra) for part in self.of]


@dataclasses.dataclass(frozen=True)
class Every(_Several):
    """All of several formulas."""

    def evaluate(self, truth: Mapping[str, Any], algebra: Algebra) -> Any:
        return algebra.every(self._parts(truth, algebra))

    def __str__(self) -> str:
        return f"({' and '.join(map(str, self.of))})"


@dataclasses.dataclass(frozen=True)
class Some(_Several):
    """One of several formulas, or more."""

    def evaluate(self, truth: Mapping[str, Any], algebra: Algebra) -> Any:
        return algebra.some(self._parts(truth, algebra))

    def __str__(self) -> str:
        return f"({' or '.join(map(str, self.of))})"


@dataclasses.dataclass(frozen=True)
class Count(_Several):
    """From ``low`` to ``high`` of several formulas."""

    low: int
    high: int

    def evaluate(self, truth: Mapping[str, Any], algebra: Algebra) -> Any:
        return algebra.count(self._parts(truth, algebra), self.low, self.high)

    def __str__(self) -> str:
        names = ", ".join(map(str, self.of))
        if self.low == self.high:
            return f"exactly {self.low} of {names}"
        if self.low == 0:
            return f"at most {self.high} of {names}"
        if self.high >= len(self.of):
            return f"at least {self.low} of {names}"
        return f"{self.low} to {self.high} of {names}"


def _sum(values: Sequence[Any]) -> Any:
    return functools.reduce(operator.add, values)


BOOLEAN = Algebra(
    operator.invert,
    lambda parts: functools.reduce(operator.and_, parts),
    lambda parts: functools.reduce(operator.or_, parts),
    lambda parts, low, high: (
        (_sum([part.astype(int) for part in parts]) >= low)
        & (_sum([part.astype(int) for part in parts]) <= high)
    ),
)
"""Arrays of booleans."""


def _times(parts: Sequence[Any]) -> Any:
    return functools.reduce(operator.mul, parts)


def _counted(parts: Sequence[Any], low: int, high: int) -> Any:
    """The probability that from low to high of independent statements are true."""
    number = [1 - parts[0], parts[0]]  # of those so far
    for p in parts[1:]:
        number = [
            (1 - p) * (number[i] if i < len(number) else 0) + p * (number[i - 1] if i else 0)
            for i in range(len(number) + 1)
        ]
    return _sum(number[low : high + 1])


PRODUCT = Algebra(
    lambda p: 1 - p,
    _times,
    lambda parts: 1 - _times([1 - p for p in parts]),
    _counted,
)
"""Probabilities, as if the parts of a formula were independent."""

LUKASIEWICZ = Algebra(
    lambda p: 1 - p,
    lambda parts: jnp.maximum(_sum(parts) - (len(parts) - 1), 0),
    lambda parts: jnp.minimum(_sum(parts), 1),
    lambda parts, low, high: jnp.clip(
        jnp.minimum(_sum(parts) - low + 1, high + 1 - _sum(parts)), 0, 1
    ),
)
"""Łukasiewicz's: what is too little true is missing, linearly."""


def _bounded(parts: Sequence[tuple[bool, bool]], low: int, high: int) -> tuple[bool, bool]:
    sure, possible = sum(p[0] for p in parts), sum(p[1] for p in parts)
    return low <= sure and possible <= high, sure <= high and possible >= low


BOUNDS = Algebra(
    lambda p: (not p[1], not p[0]),
    lambda parts: (all(p[0] for p in parts), all(p[1] for p in parts)),
    lambda parts: (any(p[0] for p in parts), any(p[1] for p in parts)),
    _bounded,
)
"""Whether it must be true, and whether it may be, where some atoms are not known."""
