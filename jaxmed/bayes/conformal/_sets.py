"""Conformal prediction sets for classification: LAC, APS, RAPS, marginal or per group."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.bayes._check import Bools, class_labels, probabilities
from jaxmed.bayes.conformal._ranks import conformal_p_values, conformal_threshold
from jaxmed.stats.checks import Floats, same_length, unknown

Score = Literal["lac", "aps", "raps"]
SCORES: tuple[Score, ...] = get_args(Score)


def class_scores(
    probs: ArrayLike,
    *,
    score: Score = "lac",
    uniform: ArrayLike | None = None,
    penalty: float = 0.01,
    free: int = 1,
) -> Floats:
    r"""Return the nonconformity score of each class for each case.

    `lac`: :math:`1 - p_y`. `aps`: total probability of all classes down to and including `y`, from
    the most likely. `raps`: APS plus :math:`\lambda \max(\text{rank} - k, 0)`, which keeps sets
    small.

    Args:
        probs: (cases, classes), or (cases,) of the positive class.
        score: `lac` (also called THR), `aps` or `raps`.
        uniform: (cases,) draws from [0, 1): the class itself is weighted by its draw, which makes
            APS and RAPS exact instead of conservative.
        penalty: :math:`\lambda` of RAPS.
        free: :math:`k` of RAPS, number of ranks without a penalty.

    Returns:
        (cases, classes).

    Raises:
        ValueError: for logits, rows that do not sum to 1, or an unknown score.

    References:
        Sadinle, Lei, Wasserman (2019), JASA 114:223 (LAC). Romano, Sesia, Candès (2020), NeurIPS
        (APS). Angelopoulos et al. (2021), ICLR (RAPS).

    Examples:
        >>> class_scores([[0.7, 0.2, 0.1]], score="aps").round(3)
        array([[0.7, 0.9, 1. ]])
    """
    p = probabilities(probs)
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if score == "lac":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    total = np.cumsum(ranked, axis=1)
    if uniform is not None:
        u = np.asarray(uniform, dtype=np.float64)
        same_length(probs=p, uniform=u)
        total = total - (1 - u[:, None]) * ranked
    if score == "raps":
        total = total + penalty * np.maximum(np.arange(1, p.shape[1] + 1) - free, 0)
    found = np.empty_like(total)
    np.put_along_axis(found, order, total, axis=1)
    return found


class SetRule(NamedTuple):
    """A calibrated rule for prediction sets. It holds plain data, so it can be saved.

    thresholds: by group, or by class, or one under `None`; score, penalty, free: as in
    `class_scores`; by: `all`, `group` or `class`; level; n: calibration cases; randomised; notes.
    """

    thresholds: dict[object, float]
    score: Score
    penalty: float
    free: int
    by: str
    level: float
    n: int
    randomised: bool
    notes: tuple[str, ...] = ()


def fit_sets(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    level: float = 0.9,
    score: Score = "lac",
    groups: ArrayLike | None = None,
    per_class: bool = False,
    penalty: float = 0.01,
    free: int = 1,
    seed: int | None = None,
) -> SetRule:
    r"""Calibrate prediction sets on cases the model was not trained on.

    **Guarantee**, for any model and any sample size: if calibration and new cases are exchangeable,
    :math:`P(y \in C(x)) \ge \text{level}` on average over calibration sets (`coverage_law` gives
    the spread between sets). With `groups` it holds within each group (site, scanner, sex), with
    `per_class` within each true class; both need enough calibration cases of each, about
    `1 / (1 - level)`. There is no guarantee under distribution shift, except with known weights:
    see `conformal_threshold`.

    Args:
        labels: (cases,) class indices of the calibration cases.
        probs: (cases, classes), or (cases,) of the positive class.
        level: target coverage.
        score: `lac` (smallest sets on average, may be empty), `aps` or `raps` (adapt to the case).
        groups: (cases,) group labels (Mondrian).
        per_class: one threshold per class (label-conditional).
        penalty: as in `class_scores`.
        free: as in `class_scores`.
        seed: randomise APS and RAPS, which is exact; without it they are conservative.

    Returns:
        The rule, for `predict_sets`. A class or group too small for the level gets an infinite
        threshold (always in the set) and is named in `notes`.

    Raises:
        ValueError: for an empty calibration set, logits, a level outside (0, 1), both `groups` and
            `per_class`, or a class absent from calibration with `per_class`.

    References:
        Vovk (2012), ACML (Mondrian). Barber et al. (2021), Inf Inference 10:455 (why nothing finer
        holds without assumptions).

    Examples:
        >>> p = np.linspace(0.01, 0.99, 99)
        >>> rule = fit_sets(p > 0.5, p, level=0.9)
        >>> predict_sets(rule, [0.02, 0.98]).astype(int)
        array([[1, 0],
               [0, 1]])
    """
    p = probabilities(probs)
    y = class_labels(labels, p.shape[1], len(p))
    if groups is not None and per_class:
        raise ValueError("groups and per_class are two ways to condition: choose one")
    randomised = seed is not None and score != "lac"
    uniform = np.random.default_rng(seed).random(len(y)) if randomised else None
    scores = class_scores(p, score=score, uniform=uniform, penalty=penalty, free=free)
    own = scores[np.arange(len(y)), y]
    if per_class:
        absent = sorted(set(range(p.shape[1])) - set(y.tolist()))
        if absent:
            raise ValueError(f"class {absent[0]} is absent from calibration: per_class needs all")
        keys, by = y, "class"
    elif groups is not None:
        keys, by = np.asarray(groups), "group"
        same_length(labels=y, groups=keys)
    else:
        keys, by = np.zeros(len(y), int), "all"
    names = np.unique(keys).tolist()
    found: dict[object, float]
    found = {name: conformal_threshold(own[keys == name], level) for name in names}
    if by == "all":
        found = {None: found[0]}
    notes = tuple(
        f"{'all cases' if name is None else f'{by} {name}'}: too few calibration cases for a "
        f"level of {level}, so every class is in the set"
        for name, t in found.items()
        if math.isinf(t)
    )
    return SetRule(found, score, penalty, free, by, level, len(y), randomised, notes)


def predict_sets(
    rule: SetRule, probs: ArrayLike, *, groups: ArrayLike | None = None, seed: int = 0
) -> Bools:
    """Return which classes are in each case's prediction set.

    Args:
        rule: result of `fit_sets`.
        probs: (cases, classes), or (cases,) of the positive class.
        groups: (cases,), for a rule by group.
        seed: seed of a randomised rule's draws.

    Returns:
        (cases, classes) booleans. An empty set means that no class conforms.

    Raises:
        ValueError: for a group absent from calibration, or missing groups.
    """
    p = probabilities(probs)
    uniform = np.random.default_rng(seed).random(len(p)) if rule.randomised else None
    scores = class_scores(
        p, score=rule.score, uniform=uniform, penalty=rule.penalty, free=rule.free
    )
    return scores <= _limits(rule, p.shape, groups)


def _limits(rule: SetRule, shape: tuple[int, ...], groups: ArrayLike | None) -> NDArray:
    if rule.by == "all":
        return np.asarray(rule.thresholds[None], np.float64)
    if rule.by == "class":
        if len(rule.thresholds) != shape[1]:
            raise ValueError(f"the rule is for {len(rule.thresholds)} classes, not {shape[1]}")
        return np.array([rule.thresholds[c] for c in range(shape[1])])[None]
    if groups is None:
        raise ValueError("the rule is by group: give groups")
    given = np.asarray(groups).tolist()
    same_length(probs=range(shape[0]), groups=given)
    strange = sorted({str(g) for g in given if g not in rule.thresholds})
    if strange:
        raise ValueError(f"group {strange[0]!r} was not in calibration: no threshold for it")
    return np.array([rule.thresholds[g] for g in given])[:, None]


def set_p_values(
    labels: ArrayLike,
    probs: ArrayLike,
    new_probs: ArrayLike,
    *,
    score: Score = "lac",
    per_class: bool = False,
) -> Floats:
    """Return each class's conformal p-value for new cases; the set at a level is `p > 1 - level`.

    Args:
        labels: (cases,) labels of the calibration cases.
        probs: (cases, classes) probabilities of the calibration cases.
        new_probs: (new, classes).
        score: as in `class_scores`.
        per_class: compare only with calibration cases of the same class (label-conditional).

    Returns:
        (new, classes).

    Raises:
        ValueError: as in `fit_sets`.

    Examples:
        >>> set_p_values([0, 1], [0.2, 0.9], [0.8]).round(2)
        array([[0.33, 0.67]])
    """
    p = probabilities(probs)
    y = class_labels(labels, p.shape[1], len(p))
    own = class_scores(p, score=score)[np.arange(len(y)), y]
    new = class_scores(new_probs, score=score)
    if not per_class:
        return conformal_p_values(own, new)
    columns = []
    for c in range(p.shape[1]):
        if not (y == c).any():
            raise ValueError(f"class {c} is absent from calibration: per_class needs all")
        columns.append(conformal_p_values(own[y == c], new[:, c]))
    return np.stack(columns, axis=1)


class SetSummary(NamedTuple):
    """Coverage, mean size and counts of empty and single-class prediction sets.

    by_class, by_size: coverage of each true class, and of each set size that occurs.
    """

    coverage: float
    mean_size: float
    empty: int
    single: int
    by_class: dict[int, float]
    by_size: dict[int, float]


def summarise_sets(labels: ArrayLike, sets: ArrayLike) -> SetSummary:
    """Return coverage and size of prediction sets.

    Args:
        labels: (cases,) class indices.
        sets: (cases, classes) booleans.

    Returns:
        The summary. Pass `coverage * cases` to `jaxmed.stats.proportion` for an interval.

    Examples:
        >>> summarise_sets([0, 1], [[True, False], [True, False]]).coverage
        0.5
    """
    member = np.asarray(sets, dtype=bool)
    if member.ndim != 2:
        raise ValueError(f"sets must be (cases, classes), but their shape is {member.shape}")
    y = class_labels(labels, member.shape[1], len(member))
    hit, size = member[np.arange(len(y)), y], member.sum(axis=1)
    return SetSummary(
        float(hit.mean()),
        float(size.mean()),
        int((size == 0).sum()),
        int((size == 1).sum()),
        {int(c): float(hit[y == c].mean()) for c in np.unique(y)},
        {int(s): float(hit[size == s].mean()) for s in np.unique(size)},
    )
