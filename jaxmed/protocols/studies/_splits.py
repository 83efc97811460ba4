"""Splits of the cases of a study: cross-validation schemes, by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import DataError, Fault, check_disjoint, column, folds, split

Groups = str | Sequence[Any] | None


class Split(NamedTuple):
    """One training part and one test part, as positions of cases.

    Attributes:
        train: sorted positions to train on.
        test: sorted positions to test on.
        repeat: index of the repetition of the whole scheme, from 0.
        fold: index of the fold within it, from 0.
        name: name of the test part, if any, such as a site.
        inner: splits of the training part alone, for model selection; by `nested`.
    """

    train: np.ndarray
    test: np.ndarray
    repeat: int = 0
    fold: int = 0
    name: str = ""
    inner: tuple[Split, ...] = ()


def k_fold(
    data: Any, k: int = 5, *, groups: Groups = None, stratify: Any = None, seed: int = 0
) -> list[Split]:
    """Split the cases into k folds; every case is tested once.

    Args:
        data: a number of cases; an (n,) array of classes or (n, tasks) array of 0/1 labels, used
            for stratification; or a source.
        k: number of folds, at least 2.
        groups: (n,) patient of each case, or the name of that column of a source: no patient is in
            two folds. A source that knows its patients is always split by them.
        stratify: (n,) classes or (n, tasks) 0/1 labels, or the name of that column: every fold gets
            its share of each.
        seed: the same seed gives the same folds.

    Returns:
        k splits.

    Raises:
        DataError: if there are fewer cases, or patients, than folds.
        ValueError: if k is below 2, or lengths disagree.

    Examples:
        >>> [s.test.tolist() for s in k_fold([0, 0, 1, 1], 2, seed=1)]
        [[0, 2], [1, 3]]
    """
    made = folds(data, k, groups=groups, stratify=stratify, seed=seed)
    return [Split(fold.train, fold.test, 0, i) for i, fold in enumerate(made)]


def repeated(
    data: Any, k: int = 5, repeats: int = 10, *, groups: Groups = None, stratify: Any = None,
    seed: int = 0,
) -> list[Split]:  # fmt: skip
    """Split by k-fold cross-validation, repeated with different folds.

    Compare models on it by `stats.corrected_t_test`: the training parts overlap, so a plain
    t-test over k x repeats values rejects far too often.

    Args:
        data: as in `k_fold`.
        k: as in `k_fold`.
        repeats: number of repetitions, each with the folds of `k_fold` for its own seed.
        groups: as in `k_fold`.
        stratify: as in `k_fold`.
        seed: seed of all repetitions.

    Returns:
        k x repeats splits, repetition by repetition.

    Examples:
        >>> [(s.repeat, s.fold) for s in repeated(6, 2, 2)]
        [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    _at_least("repeats", repeats, 1)
    return [
        one._replace(repeat=r)
        for r in range(repeats)
        for one in k_fold(data, k, groups=groups, stratify=stratify, seed=_seed(seed, r))
    ]


def monte_carlo(
    data: Any, times: int = 20, *, test: float = 0.2, groups: Groups = None, stratify: Any = None,
    seed: int = 0,
) -> list[Split]:  # fmt: skip
    """Draw repeated random splits of the same size; a case may be tested several times or never.

    Args:
        data: as in `k_fold`.
        times: number of draws.
        test: share of the cases in the test part.
        groups: as in `k_fold`.
        stratify: as in `k_fold`.
        seed: seed of all draws.

    Returns:
        One split per draw; each is a repetition of its own.

    Raises:
        ValueError: if the share is not between 0 and 1.

    Examples:
        >>> [len(s.test) for s in monte_carlo(20, 3, test=0.25)]
        [5, 5, 5]
    """
    _at_least("times", times, 1)
    if not 0 < test < 1:
        raise ValueError(f"test is a share between 0 and 1, got {test}")
    made = []
    for r in range(times):
        parts = split(
            data, {"train": 1 - test, "test": test}, groups=groups, stratify=stratify,
            seed=_seed(seed, r),
        )  # fmt: skip
        made.append(Split(parts["train"], parts["test"], r, 0))
    return made


def leave_one_out(data: Any, *, groups: Groups = None) -> list[Split]:
    """Split so that each case, or each patient, is tested by a model trained on all others.

    Args:
        data: a number of cases, an array with one row per case, or a source.
        groups: as in `k_fold`: one patient is left out at a time.

    Returns:
        One split per case or patient, in order of appearance.

    Examples:
        >>> [s.test.tolist() for s in leave_one_out(3)]
        [[0], [1], [2]]
        >>> [s.test.tolist() for s in leave_one_out(3, groups=["a", "b", "a"])]
        [[0, 2], [1]]
    """
    n, patients = _cases(data, groups)
    return _left_out(n, range(n) if patients is None else patients, named=patients is not None)


def leave_one_site_out(
    data: Any, sites: str | Sequence[Any], *, groups: Groups = None
) -> list[Split]:
    """Split so that each site is tested by a model trained on all others.

    Args:
        data: a number of cases, an array with one row per case, or a source.
        sites: (n,) site of each case, or the name of that column of a source: hospitals, scanners.
        groups: as in `k_fold`; a patient seen at two sites is refused.

    Returns:
        One split per site, in order of appearance, named after it.

    Raises:
        DataError: for fewer than two sites, or a patient at two sites.

    Examples:
        >>> [(s.name, s.test.tolist()) for s in leave_one_site_out(3, ["here", "there", "here"])]
        [('here', [0, 2]), ('there', [1])]
    """
    n, patients = _cases(data, groups)
    sites = column(data, sites) if isinstance(sites, str) else sites  # pyright: ignore
    if len(sites) != n:
        raise ValueError(f"sites has {len(sites)} entries for {n} cases")
    made = _left_out(n, sites, named=True)
    for one in made:
        parts = {"the other sites": one.train, f"site {one.name}": one.test}
        check_disjoint(parts, groups=patients)
    return made


def nested(
    data: Any, outer: int = 5, inner: int = 4, *, groups: Groups = None, stratify: Any = None,
    seed: int = 0,
) -> list[Split]:  # fmt: skip
    """Split by nested cross-validation: each training part is split again for model selection.

    Selection (of a learning rate, an architecture, a threshold) uses the inner folds only, never
    the outer test part.

    Args:
        data: as in `k_fold`.
        outer: number of outer folds.
        inner: number of folds within each training part.
        groups: as in `k_fold`.
        stratify: as in `k_fold`.
        seed: seed of all folds.

    Returns:
        The outer splits, each with its `inner` ones; all positions refer to the whole data.

    Examples:
        >>> first = nested(6, 3, 2)[0]
        >>> inside = np.concatenate([s.test for s in first.inner])
        >>> sorted(inside.tolist()) == first.train.tolist()
        True
    """
    return [
        with_inner(one, data, inner, groups=groups, stratify=stratify, seed=_seed(seed, one.fold))
        for one in k_fold(data, outer, groups=groups, stratify=stratify, seed=seed)
    ]


def with_inner(
    one: Split, data: Any, k: int = 4, *, groups: Groups = None, stratify: Any = None,
    seed: int = 0,
) -> Split:  # fmt: skip
    """Split the training part of any split again; see `nested`.

    Args:
        one: a split made by any function of this module.
        data: the data it was made from.
        k: number of inner folds.
        groups: as in `k_fold`.
        stratify: as in `k_fold`.
        seed: seed of the inner folds.

    Returns:
        The split with `inner`.

    Examples:
        >>> site = leave_one_site_out(5, ["x", "x", "y", "y", "y"])[0]
        >>> [s.test.size for s in with_inner(site, 5, 3).inner]
        [1, 1, 1]
    """
    _, patients = _cases(data, groups)
    classes = _classes(data, stratify)
    part = np.asarray(one.train)
    made = k_fold(
        len(part), k, seed=seed,
        groups=None if patients is None else [patients[i] for i in part],
        stratify=None if classes is None else classes[part],
    )  # fmt: skip
    return one._replace(inner=tuple(Split(part[s.train], part[s.test], 0, s.fold) for s in made))


def _left_out(n: int, units: Sequence[Any], *, named: bool) -> list[Split]:
    first: dict[Any, list[int]] = {}
    for i, unit in enumerate(units):
        first.setdefault(unit, []).append(i)
    if len(first) < 2:
        raise DataError.of([Fault("split", "non-empty", f"{len(first)} unit cannot be divided")])
    everyone = np.arange(n)
    return [
        Split(np.setdiff1d(everyone, tested), np.array(tested), 0, i, str(unit) if named else "")
        for i, (unit, tested) in enumerate(first.items())
    ]


def _cases(data: Any, groups: Groups) -> tuple[int, Sequence[Any] | None]:
    """Return the number of cases, and the patient of each if known."""
    if isinstance(data, int | np.integer):
        n = int(data)
    else:
        n = len(data)
        if groups is None:
            groups = getattr(data, "groups", None)
    if isinstance(groups, str):
        groups = column(data, groups)  # pyright: ignore
    if groups is not None and len(groups) != n:
        raise ValueError(f"groups has {len(groups)} entries for {n} cases")
    return n, groups


def _classes(data: Any, stratify: Any) -> np.ndarray | None:
    """Return the classes to stratify on, as in `data.folds`."""
    if isinstance(stratify, str):
        return np.asarray(column(data, stratify))
    if stratify is not None:
        return np.asarray(stratify)
    if isinstance(data, np.ndarray) or (
        isinstance(data, Sequence) and len(data) and np.isscalar(data[0])
    ):
        return np.asarray(data)
    return None


def _seed(seed: int, draw: int) -> int:
    """Derive a seed for each draw of a scheme; the first uses the scheme's own."""
    if draw == 0:
        return seed
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is at least {least}, got {value}")
