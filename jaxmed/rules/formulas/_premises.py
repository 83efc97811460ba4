"""The premises that medical knowledge is made of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from jaxmed.rules.formulas._formula import Atom, Count, Every, Formula

Statement = str | Formula


def atom(name: str) -> Formula:
    """A statement that is true or not of a case, such as ``"melanoma"``.

    >>> print(atom("melanoma") >> (atom("malignant") & ~atom("benign")))
    (not melanoma or (malignant and not benign))
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"a statement has a name, got {name!r}")
    return Atom(name)


def formula(statement: Statement) -> Formula:
    """A formula, or the statement of a name."""
    if isinstance(statement, Formula):
        return statement
    return atom(statement)


def exactly_one(*statements: Statement) -> Formula:
    """One statement holds and no other: classes that exclude each other.

    >>> print(exactly_one("benign", "malignant"))
    exactly 1 of benign, malignant
    """
    return _count(statements, 1, 1)


def at_most(most: int, *statements: Statement) -> Formula:
    """No more than so many statements hold."""
    return _count(statements, 0, most)


def at_least(least: int, *statements: Statement) -> Formula:
    """So many statements hold, or more."""
    return _count(statements, least, len(statements))


def implies(condition: Statement, consequence: Statement) -> Formula:
    """Where the condition holds, the consequence does.

    >>> print(implies("melanoma", "malignant"))
    (not melanoma or malignant)
    """
    return formula(condition) >> formula(consequence)


def order(*statements: str) -> Formula:
    """Each statement implies the one before: grades as "at least 1", "at least 2", ...

    Raises:
        ValueError: for one statement alone, or one that comes twice, which makes those between the
            same.

    >>> print(order("grade 1 or worse", "grade 2 or worse"))
    (not grade 2 or worse or grade 1 or worse)
    """
    if len(statements) < 2:
        raise ValueError(f"an order is of two statements or more, got {len(statements)}")
    if twice := [one for one in statements if statements.count(one) > 1]:
        raise ValueError(f"an order has each statement once, and {twice[0]!r} comes again")
    steps = [implies(b, a) for a, b in itertools.pairwise(statements)]
    return steps[0] if len(steps) == 1 else Every(tuple(steps))


def parent(child: str, of: str) -> Formula:
    """A finding is a kind of another: who has it has the other.

    Raises:
        ValueError: for a finding that is to be a kind of itself, which says nothing.
    """
    if child == of:
        raise ValueError(f"{child!r} is a kind of itself: name the finding that it is a kind of")
    return implies(child, of)


def taxonomy(parents: dict[str, str], *, exclusive: bool = True) -> tuple[Formula, ...]:
    """The premises of a tree of diagnoses.

    Args:
        parents: each diagnosis to the one that it is a kind of; roots are not named as keys.
        exclusive: whether a case that has a parent's diagnosis has exactly one of its kinds, and
            exactly one root. Otherwise a case may have several or none.

    Returns:
        A premise for each diagnosis and, if exclusive, one for each group of kinds.

    Raises:
        ValueError: if there is a circle, or a parent that is no name.

    >>> tree = {"melanoma": "malignant", "carcinoma": "malignant"}
    >>> [str(premise) for premise in taxonomy(tree)][:2]
    ['(not melanoma or malignant)', '(not carcinoma or malignant)']
    """
    if odd := [of for of in parents.values() if not isinstance(of, str)]:
        raise ValueError(f"each diagnosis has one parent by name, got {odd[0]!r}: child to parent")
    for start in parents:
        seen, here = {start}, start
        while here in parents:
            here = parents[here]
            if here in seen:
                raise ValueError(f"{here!r} is a kind of itself")
            seen.add(here)
    premises: list[Formula] = [parent(child, of) for child, of in parents.items()]
    if exclusive:
        groups: dict[str, list[str]] = {}
        for child, of in parents.items():
            groups.setdefault(of, []).append(child)
        for of, children in groups.items():
            premises.append(implies(of, exactly_one(*children)))
        roots = [of for of in groups if of not in parents]
        if len(roots) > 1:
            premises.append(exactly_one(*roots))
    return tuple(premises)


def _count(statements: Sequence[Statement], low: int, high: int) -> Formula:
    if not statements:
        raise ValueError("a count is of one statement or more")
    if not 0 <= low <= high <= len(statements) or low != int(low) or high != int(high):
        raise ValueError(f"{low} to {high} of {len(statements)} statements is no premise")
    return Count(tuple(map(formula, statements)), int(low), int(high))
