"""Seeded, stratified splits by patient, with checks for leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._source import column


class Fold(NamedTuple):
    """One fold of a cross-validation: positions to train on and to test on."""

    train: np.ndarray
    test: np.ndarray


def split(
    data: Any,
    fractions: Mapping[str, float],
    *,
    groups: str | Sequence[Any] | None = None,
    stratify: str | Sequence[Any] | np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    r"""Split examples at random, by patient and stratified by class.

    Without patients, each class is permuted and distributed so that every part holds
    :math:`\lfloor f_s n_k \rfloor` or one more of class k. With patients (or several 0/1 labels an
    example) whole patients are dealt greedily: those owning the largest share of any class first,
    each to the part where :math:`\sum_{s,k} (c_{sk} / n_k - f_s)^2` grows least (after
    Sechidis et al., 2011).

    Args:
        data: a number of examples, a source, or an (n,) array of labels to stratify on.
        fractions: ``{"train": 0.7, "val": 0.1, "test": 0.2}``; they sum to 1.
        groups: a patient for every example, or the name of that column. A source that knows its
            patients (``source.groups``) is always split by them.
        stratify: (n,) classes, (n, tasks) 0/1 labels, or the name of that column.
        seed: the same seed gives the same split.

    Returns:
        ``{name: sorted positions}``.

    Raises:
        DataError: a part would be empty.
        ValueError: fractions that do not sum to 1, or lengths that disagree.

    References:
        Sechidis, Tsoumakas, Vlahavas. On the stratification of multi-label data. ECML 2011.

    Examples:
        >>> parts = split([0, 0, 0, 0, 1, 1, 1, 1], {"train": 0.5, "test": 0.5})
        >>> [len(part) for part in parts.values()]
        [4, 4]
        >>> parts = split(4, {"a": 0.5, "b": 0.5}, groups=["p", "p", "q", "q"])
        >>> sorted(part.tolist() for part in parts.values())
        [[0, 1], [2, 3]]
    """
    names = tuple(fractions)
    shares = np.asarray([fractions[name] for name in names], float)
    if not names or shares.min() <= 0 or not np.isclose(shares.sum(), 1):
        raise ValueError(f"fractions are positive and sum to 1, got {dict(fractions)}")
    n, patients, counts = _read(data, groups, stratify)
    part = _assign(n, patients, counts, shares, np.random.default_rng(seed))
    parts = {name: np.flatnonzero(part == s) for s, name in enumerate(names)}
    empty = [name for name, indices in parts.items() if not len(indices)]
    if empty:
        units = f"{n} examples" if patients is None else f"{len(np.unique(patients))} patients"
        whole = dict(fractions) if len(names) <= 5 else f"{len(names)} parts"
        raise fault(_name(data), "non-empty", f"{units} leave part {empty[0]!r} of {whole} empty")
    check_disjoint(parts, groups=patients)
    return parts


def folds(
    data: Any,
    k: int,
    *,
    groups: str | Sequence[Any] | None = None,
    stratify: str | Sequence[Any] | np.ndarray | None = None,
    seed: int = 0,
) -> list[Fold]:
    """Make the k folds of a cross-validation; every example is tested exactly once.

    Args:
        data: as in `split`.
        k: number of folds, at least 2.
        groups: as in `split`.
        stratify: as in `split`.
        seed: the same seed gives the same folds.

    Returns:
        k pairs of sorted positions.

    Raises:
        DataError: fewer examples, or patients, than folds.

    Examples:
        >>> [len(fold.test) for fold in folds(10, 5)]
        [2, 2, 2, 2, 2]
    """
    if k < 2:
        raise ValueError(f"a cross-validation has at least 2 folds, got {k}")
    parts = split(
        data,
        {f"fold {i}": 1 / k for i in range(k)},
        groups=groups,
        stratify=stratify,
        seed=seed,
    )
    everyone = np.sort(np.concatenate(list(parts.values())))
    return [Fold(np.setdiff1d(everyone, test), test) for test in parts.values()]


def check_disjoint(
    parts: Mapping[str, Sequence[int] | np.ndarray],
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
) -> None:
    """Raise DataError if an example or a patient is in two parts, or a part is empty.

    Args:
        parts: ``{name: positions}``.
        groups: a patient for every position.

    Raises:
        DataError: a leak; the message names the parts and the patients.

    Examples:
        >>> check_disjoint({"train": [0, 1], "test": [2]}, groups=["ann", "bob", "ann"])
        Traceback (most recent call last):
        ...
        jaxmed.data.DataError: split: patient ann is in both 'train' and 'test' \
[rule split-disjoint: no case and no patient is in two splits]
    """
    for name, indices in parts.items():
        if not len(indices):
            raise fault("split", "non-empty", f"part {name!r} is empty")
    for what, ids in (("example", None), ("patient", groups)):
        if what == "patient" and groups is None:
            continue
        seen: dict[Any, str] = {}
        leaks: dict[tuple[str, str], set[str]] = {}
        for name, indices in parts.items():
            members = {int(i) if ids is None else ids[int(i)] for i in indices}
            for member in members:
                first = seen.setdefault(member, name)
                if first != name:
                    leaks.setdefault((first, name), set()).add(str(member))
        for (first, second), members in leaks.items():
            listed = sorted(members)
            text = ", ".join(listed[:10]) + (", ..." if len(listed) > 10 else "")
            many = "s" if len(listed) > 1 else ""
            verb = "are" if many else "is"
            raise fault(
                "split", "split-disjoint", f"{what}{many} {text} {verb} in both {first!r} and "
                f"{second!r}",
            )  # fmt: skip


def _name(data: Any) -> str:
    return str(getattr(data, "name", "split"))


def _read(data: Any, groups: Any, stratify: Any) -> tuple[int, np.ndarray | None, np.ndarray]:
    """Return the number of examples, their patients, and (n, classes) class counts of each."""
    labels = None
    if isinstance(data, int | np.integer):
        n = int(data)
    elif isinstance(data, np.ndarray) or (
        isinstance(data, Sequence) and not isinstance(data[0] if len(data) else 0, Mapping)
    ):
        labels, n = np.asarray(data), len(data)
    else:
        n = len(data)
        if groups is None:
            groups = getattr(data, "groups", None)
        groups = column(data, groups) if isinstance(groups, str) else groups
        stratify = column(data, stratify) if isinstance(stratify, str) else stratify
    for name, value in (("groups", groups), ("stratify", stratify)):
        if isinstance(value, str):
            raise ValueError(f"{name}={value!r} names a column, but the data have no columns")
        if value is not None and len(value) != n:
            raise ValueError(f"{name} has {len(value)} entries for {n} examples")
    if n == 0:
        raise fault(_name(data), "non-empty", "there are no examples to split")
    labels = labels if stratify is None else np.asarray(stratify)
    if labels is None:
        counts = np.ones((n, 1))
    elif labels.ndim == 2 and labels.shape[1] > 1:
        present = np.nan_to_num(labels) > 0
        counts = np.column_stack([present, ~present.any(axis=1)]).astype(float)
    else:
        classes, codes = np.unique(labels.reshape(n), return_inverse=True)
        counts = np.eye(len(classes))[codes]
    return n, None if groups is None else np.asarray(groups), counts


def _assign(
    n: int,
    patients: np.ndarray | None,
    counts: np.ndarray,
    shares: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    if patients is None and np.all(counts.sum(axis=1) == 1):
        return _deal(counts.argmax(axis=1), shares, rng)
    units = np.arange(n) if patients is None else np.unique(patients, return_inverse=True)[1]
    held = np.zeros((units.max() + 1, counts.shape[1]))
    np.add.at(held, units, counts)
    return _greedy(held, np.bincount(units).astype(float), shares, rng)[units]


def _deal(classes: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    part = np.empty(len(classes), int)
    filled = np.zeros(len(shares))
    reached = 0
    for k in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == k))
        quota = np.floor(shares * len(members) + 1e-9).astype(int)
        reached += len(members)
        # The remainder after rounding down goes to the parts furthest below their total size.
        behind = shares * reached - filled - quota
        quota[np.argsort(-behind, kind="stable")[: len(members) - quota.sum()]] += 1
        filled += quota
        part[members] = np.repeat(np.arange(len(shares)), quota)
    return part


def _greedy(
    held: np.ndarray, sizes: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    # Sizes only break ties between the classes' own balances: while the holders of a rare class
    # are dealt, every part is far behind in size, and that would draw them all to the largest.
    scale = np.append(1 / np.maximum(held.sum(axis=0), 1), 0.5 / sizes.sum())
    held = np.column_stack([held, sizes])
    target = shares[:, None] * held.sum(axis=0)
    filled = np.zeros_like(target)
    order = rng.permutation(len(held))
    order = order[np.argsort(-(held * scale)[order].max(axis=1), kind="stable")]
    part = np.empty(len(held), int)
    for unit in order:
        growth = (held[unit] * scale**2 * (2 * (filled - target) + held[unit])).sum(axis=1)
        part[unit] = growth.argmin()
        filled[part[unit]] += held[unit]
    return part
