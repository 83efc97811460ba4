"""AUC of more than two classes: one-vs-rest and Hand and Till's mean over pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.quantities import placements
from jaxmed.stats._result import Estimate, of_one_group
from jaxmed.stats.checks import (
    ORDER,
    Floats,
    as_array,
    check_level,
    group_codes,
    quantile,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._auc import logit_limits

_AVERAGES = ("macro", "weighted", "hand-till")


def _pair_influence(positive: np.ndarray, scores: Floats) -> tuple[float, Floats]:
    """Return an AUC and each case's influence on it (the sum of squares is DeLong's variance)."""
    parts = placements(positive, scores)
    influence = np.empty(scores.size)
    n1, n0 = parts.positives.size, parts.negatives.size
    # n/(n - 1) under the root makes the squares sum to DeLong's unbiased variance.
    influence[positive] = (parts.positives - parts.auc) / np.sqrt(n1 * max(n1 - 1, 1))
    influence[~positive] = (parts.negatives - parts.auc) / np.sqrt(n0 * max(n0 - 1, 1))
    return parts.auc, influence


def multiclass_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    average: str = "macro",
    method: str = "logit-delong",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    direction: str = "higher",
    unit: str | None = None,
) -> Estimate:
    r"""Estimate the AUC of several classes with an interval.

    One-vs-rest: :math:`\frac1c \sum_k A(k\ \text{v rest})`. Hand and Till:
    :math:`\frac{2}{c(c-1)} \sum_{i<j} \frac{A(i|j) + A(j|i)}{2}`, free of the prevalences.
    The standard error combines DeLong's components of all areas, which share their cases.

    Args:
        labels: (cases,) class numbers from 0; or (cases, tasks) of 0/1, where the mean over the
            tasks is taken, as MedMNIST does for multi-label data.
        scores: (cases, classes); or (cases,), one ordinal score, with `hand-till`.
        average: `macro` (one-vs-rest, as in MedMNIST), `weighted` (by prevalence) or `hand-till`.
        method: `logit-delong` or `delong` (Wald).
        level: confidence level.
        groups: (cases,) patient of each row.
        direction: direction of one ordinal score: `higher` classes have higher scores, or `lower`.
        unit: name of the counted unit.

    Returns:
        The estimate, each area in `details["areas"]`. Classes without a case are left out, with
        a note.

    Raises:
        ValueError: fewer than two classes with cases, NaN, or unequal lengths.

    References:
        Hand and Till (2001), Mach Learn 45:171. Yang et al. (2023), MedMNIST v2, Sci Data 10:41.

    Examples:
        >>> p = [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]]
        >>> multiclass_auc([0, 1, 2, 0], p).value
        1.0
    """
    check_level(level)
    kind, name = spelled(average), spelled(method)
    if kind not in _AVERAGES:
        raise unknown("average", average, _AVERAGES)
    if name not in ("logit-delong", "delong"):
        raise unknown("method", method, ("logit-delong", "delong"))
    if direction not in ("higher", "lower"):
        raise unknown("direction", direction, ("higher", "lower"))
    y = as_array(labels, "labels")
    x = as_array(scores, "scores", np.float64)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if len(y) != len(x):
        raise ValueError(f"lengths differ: labels have {len(y)}, scores have {len(x)}")
    if np.isnan(x).any():
        raise ValueError(f"scores hold {int(np.isnan(x).sum())} NaN value(s)")
    notes: list[str] = []
    if y.ndim == 2:
        parts, weights, keys = _tasks(y, x, notes)
    elif kind == "hand-till":
        parts, weights, keys = _pairs(y, x, direction, notes)
    else:
        parts, weights, keys = _one_vs_rest(y, x, kind, notes)
    value = float(np.dot(weights, [area for area, _ in parts]))
    influence = np.einsum("k,kn->n", weights, np.stack([i for _, i in parts]))
    codes, k = group_codes(groups, len(y))
    areas = {key: area for key, (area, _) in zip(keys, parts, strict=True)}
    label = "AUC (Hand-Till)" if kind == "hand-till" else f"AUC ({kind})"
    if codes is not None and k == 1:
        return of_one_group(
            value, (0.0, 1.0), rows=len(y), level=level, unit=unit, method=name, name=label,
            details={"areas": areas},
        )  # fmt: skip
    if codes is not None:
        influence = np.bincount(codes, influence, k)
        notes.append(f"{len(y)} rows in {k} groups")
    scale = k / (k - 1) if codes is not None else 1.0
    se = float(np.sqrt(scale * np.sum(influence**2)))
    z = quantile(level)
    if name == "logit-delong" and 0 < value < 1 and se > 0:
        low, high = logit_limits(value, se, z)
    else:
        low, high = max(value - z * se, 0.0), min(value + z * se, 1.0)
        if se == 0:
            notes.append("variance 0 gives a point, not an interval: too few cases are misplaced")
    return Estimate(
        value,
        low,
        high,
        level,
        k,
        unit or ("case" if codes is None else "patient"),
        name,
        tuple(notes),
        se=se,
        details={"areas": areas},
        name=label,
    )


Parts = tuple[list[tuple[float, Floats]], np.ndarray, list[str]]


def _tasks(y: np.ndarray, x: Floats, notes: list[str]) -> Parts:
    """Compute the areas of multi-label tasks, each on all cases."""
    if y.shape != x.shape:
        raise ValueError(
            f"labels are {y.shape} and scores {x.shape}: multi-label needs the same; {ORDER}"
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError("multi-label labels must be 0 or 1")
    good = [t for t in range(y.shape[1]) if 0 < y[:, t].sum() < len(y)]
    if len(good) < y.shape[1]:
        left = sorted(set(range(y.shape[1])) - set(good))
        notes.append(f"tasks {left} have one class only and are left out")
    if not good:
        raise ValueError("no task has both classes")
    parts = [_pair_influence(y[:, t] == 1, x[:, t]) for t in good]
    return parts, np.full(len(good), 1 / len(good)), [str(t) for t in good]


def _classes(y: np.ndarray, columns: int | None, notes: list[str]) -> np.ndarray:
    if not np.issubdtype(y.dtype, np.number) or (y != np.round(y)).any():
        raise ValueError(f"labels must be whole class numbers; {ORDER}")
    seen = np.unique(y).astype(int)
    if seen.size < 2:
        raise ValueError(f"all labels are of class {seen[0]}: AUC needs at least two classes")
    if columns is not None:
        if seen[0] < 0 or seen[-1] >= columns:
            raise ValueError(f"labels range over {seen[0]}..{seen[-1]}, but scores have {columns}")
        if seen.size < columns:
            left = sorted(set(range(columns)) - set(seen.tolist()))
            notes.append(f"classes {left} have no case and are left out")
    return seen


def _one_vs_rest(y: np.ndarray, x: Floats, kind: str, notes: list[str]) -> Parts:
    if x.ndim != 2:
        raise ValueError(f"scores must be (cases, classes), but their shape is {x.shape}; {ORDER}")
    seen = _classes(y, x.shape[1], notes)
    parts = [_pair_influence(y == c, x[:, c]) for c in seen]
    share = np.array([np.mean(y == c) for c in seen])
    weights = share / share.sum() if kind == "weighted" else np.full(seen.size, 1 / seen.size)
    return parts, weights, [str(c) for c in seen]


def _pairs(y: np.ndarray, x: Floats, direction: str, notes: list[str]) -> Parts:
    if x.ndim not in (1, 2):
        raise ValueError(f"scores must be (cases, classes) or (cases,), but are {x.shape}")
    seen = _classes(y, x.shape[1] if x.ndim == 2 else None, notes)
    parts, keys = [], []
    for i, low in enumerate(seen):
        for high in seen[i + 1 :]:
            rows = (y == low) | (y == high)
            if x.ndim == 1:
                sided = [(high, x if direction == "higher" else -x)]
            else:
                sided = [(low, x[:, low]), (high, x[:, high])]
            for target, column in sided:
                area, inside = _pair_influence(y[rows] == target, column[rows])
                influence = np.zeros(len(y))
                influence[rows] = inside
                parts.append((area, influence))
                other = low if target == high else high
                keys.append(f"{target}|{other}")
    return parts, np.full(len(parts), 1 / len(parts)), keys
