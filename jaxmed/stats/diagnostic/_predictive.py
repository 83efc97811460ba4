"""Predictive values, in the sample or at a stated prevalence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import (
    quantile,
)
from jaxmed.stats.diagnostic._binary import _share, decisions


def _predictive(
    labels: ArrayLike,
    predictions: ArrayLike,
    threshold: float | None,
    prevalence: float | None,
    method: str,
    level: float,
    groups: ArrayLike | None,
    unit: str | None,
    positive: bool,
) -> Estimate:
    truth, guess = decisions(labels, predictions, threshold)
    name, empty = (
        ("PPV", "nothing was called positive")
        if positive
        else ("NPV", "nothing was called negative")
    )
    if prevalence is None:
        hit, among = (truth, guess) if positive else (~truth, ~guess)
        return _share(hit, among, name, empty, method, level, groups, unit)
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence must lie in (0, 1), but is {prevalence}")
    if groups is not None:
        raise ValueError("a predictive value at a stated prevalence takes no groups yet")
    se_ = _share(guess, truth, "sensitivity", "no positive case", "wilson", level, None, unit)
    sp_ = _share(~guess, ~truth, "specificity", "no negative case", "wilson", level, None, unit)
    odds = prevalence / (1 - prevalence)
    notes: tuple[str, ...] = (f"at a stated prevalence of {prevalence:g}",)
    n1, n0 = se_.n, sp_.n
    called = guess if positive else ~guess
    if n1 and n0 and not called.any():
        return Estimate(
            float("nan"),
            0.0,
            1.0,
            level,
            truth.size,
            unit or "case",
            "mercaldo-logit",
            (*notes, f"{name} is undefined: {empty}"),
            name=name,
        )
    if not n1 or not n0:
        return Estimate(
            float("nan"),
            0.0,
            1.0,
            level,
            truth.size,
            unit or "case",
            "mercaldo-logit",
            (*notes, f"{name} is undefined: it needs both classes"),
            name=name,
        )
    # logit PPV = log odds + log(Se / (1 - Sp)); logit NPV = -log odds + log(Sp / (1 - Se)).
    top, bottom = (se_.value, 1 - sp_.value) if positive else (sp_.value, 1 - se_.value)
    value = top * odds / (top * odds + bottom) if positive else top / (top + bottom * odds)
    n_top, n_bottom = (n1, n0) if positive else (n0, n1)
    if top in (0, 1) or bottom in (0, 1):  # zero cells: half a case is added (Mercaldo 2007)
        top_v = (top * n_top + 0.5) / (n_top + 1)
        bottom_v = (bottom * n_bottom + 0.5) / (n_bottom + 1)
        notes += ("zero cell: half a case was added to each class for the interval",)
    else:
        top_v, bottom_v = top, bottom
    variance = (1 - top_v) / (top_v * n_top) + (1 - bottom_v) / (bottom_v * n_bottom)
    centre = np.log(top_v / bottom_v) + (np.log(odds) if positive else -np.log(odds))
    half = quantile(level) * np.sqrt(variance)
    return Estimate(
        float(value),
        float(special.expit(centre - half)),
        float(special.expit(centre + half)),
        level,
        truth.size,
        unit or "case",
        "mercaldo-logit",
        notes,
        name=name,
    )


def ppv(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    prevalence: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    r"""Estimate the positive predictive value (precision), in the sample or at a prevalence.

    .. math:: \frac{Se\,\pi}{Se\,\pi + (1 - Sp)(1 - \pi)}

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        threshold: a score of this or more is positive.
        prevalence: prevalence of the population meant; without it the sample's own, which is right
            only where cases were not chosen by their label.
        method: interval of the sample's value, as in `proportion`.
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: name of the counted unit.

    Returns:
        The estimate.

    Raises:
        ValueError: as `sensitivity`, and for a prevalence outside (0, 1).

    References:
        Mercaldo, Lau, Zhou (2007), Stat Med 26:2170.

    Examples:
        >>> round(ppv([1, 1, 0, 0], [1, 1, 1, 0], prevalence=0.01).value, 4)
        0.0198
    """
    return _predictive(
        labels, predictions, threshold, prevalence, method, level, groups, unit, True
    )


def npv(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    prevalence: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    """Estimate the negative predictive value. Arguments as in `ppv`.

    Examples:
        >>> npv([1, 0, 0], [0, 0, 0]).notes
        ()
    """
    return _predictive(
        labels, predictions, threshold, prevalence, method, level, groups, unit, False
    )
