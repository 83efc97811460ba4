"""Proper scores of probabilities: Brier score and log loss, binary and multi-class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import ORDER, Floats, as_array, probabilities, same_length
from jaxmed.stats.means._summary import mean


def class_probabilities(labels: ArrayLike, probs: ArrayLike) -> tuple[np.ndarray, Floats]:
    """Return truth (cases,) and probabilities (cases, classes) whose rows sum to 1."""
    p = as_array(probs, "probs", np.float64)
    y = as_array(labels, "labels")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if p.ndim != 2:
        raise ValueError(
            f"probabilities must be (cases, classes), but their shape is {p.shape}; {ORDER}"
        )
    same_length(labels=y, probs=p)
    if np.isnan(p).any():
        raise ValueError(f"probabilities hold {int(np.isnan(p).sum())} NaN value(s)")
    if p.size == 0:
        raise ValueError("probabilities are empty")
    if p.min() < 0 or p.max() > 1 + 1e-6:
        raise ValueError(f"probabilities must lie in [0, 1], but reach {p.min():g}, {p.max():g}")
    off = float(np.abs(p.sum(axis=1) - 1).max())
    if off > 1e-3:
        raise ValueError(f"each row of probabilities must sum to 1, but one is {off:.3g} off")
    whole = y.astype(np.intp)
    if (whole != y).any() or whole.min() < 0 or whole.max() >= p.shape[1]:
        raise ValueError(f"labels must be class numbers 0..{p.shape[1] - 1}; {ORDER}")
    return whole, p


def _is_multi(probs: ArrayLike) -> bool:
    array = as_array(probs, "probs")
    return array.ndim == 2 and array.shape[1] > 2


def brier_values(labels: ArrayLike, probs: ArrayLike) -> Floats:
    """Return each case's Brier score (binary: of the positive class; multi-class: summed)."""
    if _is_multi(probs):
        y, p = class_probabilities(labels, probs)
        hot = np.zeros_like(p)
        hot[np.arange(len(y)), y] = 1
        return quantities.brier_values(hot, p).sum(axis=1)
    positive, p = probabilities(labels, probs)
    return quantities.brier_values(positive, p)


def log_loss_values(labels: ArrayLike, probs: ArrayLike, *, clip: float = 1e-12) -> Floats:
    """Return each case's negative log-likelihood, probabilities below `clip` raised to it."""
    if not 0 <= clip < 0.5:
        raise ValueError(f"clip must lie in [0, 0.5), but is {clip}")
    if _is_multi(probs):
        y, p = class_probabilities(labels, probs)
        chosen = p[np.arange(len(y)), y]
    else:
        positive, p = probabilities(labels, probs)
        chosen = np.where(positive, p, 1 - p)
    return quantities.log_loss_values(chosen, clip)


def brier(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    method: str = "t",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    seed: int = 0,
) -> Estimate:
    r"""Estimate the Brier score, the mean squared error of a probability.

    .. math:: \frac1n \sum_i (p_i - y_i)^2, \qquad \frac1n \sum_i \sum_k (p_{ik} - y_{ik})^2

    Binary: from 0 to 1, .25 for p = .5 throughout. Multi-class: summed over classes, 0 to 2.

    Args:
        labels: (cases,) 0/1 or class numbers.
        probs: (cases,) of the positive class, (cases, 2) or (cases, classes).
        method: `t`, `normal`, `percentile`, `basic` or `bca`, as in `mean`.
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: name of the counted unit.
        seed: seed of the bootstrap.

    Returns:
        The estimate; `details["skill"]` compares with always predicting the prevalence.

    Raises:
        ValueError: for probabilities outside [0, 1] or rows that do not sum to 1.

    References:
        Brier (1950), Monthly Weather Review 78:1.

    Examples:
        >>> round(brier([1, 0, 1], [0.9, 0.2, 0.6]).value, 4)
        0.07
    """
    values = brier_values(labels, probs)
    e = mean(
        values, method=method, level=level, groups=groups, unit=unit, name="Brier score", seed=seed
    )
    y = as_array(labels, "labels").reshape(-1)
    share = np.bincount(y.astype(np.intp)) / y.size
    reference = float(1 - np.sum(share**2))
    if not _is_multi(probs):
        reference /= 2
    skill = 1 - e.value / reference if reference > 0 else None
    import dataclasses

    return dataclasses.replace(
        e, lower=max(e.lower, 0.0), details={**e.details, "skill": skill, "reference": reference}
    )


def log_loss(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    clip: float = 1e-12,
    method: str = "t",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    seed: int = 0,
) -> Estimate:
    """Estimate the log loss, the mean negative log-likelihood in nats.

    Args:
        labels: (cases,) 0/1 or class numbers.
        probs: (cases,) of the positive class, (cases, 2) or (cases, classes).
        clip: lower bound of the true class's probability; a note counts the clipped cases.
        method: as in `mean`.
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: name of the counted unit.
        seed: seed of the bootstrap.

    Returns:
        The estimate.

    Raises:
        ValueError: as in `brier`.

    Examples:
        >>> round(log_loss([1, 0], [0.5, 0.5]).value, 4)
        0.6931
    """
    values = log_loss_values(labels, probs, clip=clip)
    import dataclasses

    e = (
        mean(
            values, method=method, level=level, groups=groups, unit=unit, name="log loss", seed=seed
        )
        if np.isfinite(values).all()
        else None
    )
    if e is None:
        return Estimate(
            np.inf,
            0.0,
            np.inf,
            level,
            len(values),
            unit or "case",
            method,
            ("a case was given probability 0 for its own class",),
            name="log loss",
        )
    clipped = int((values >= -np.log(clip) * (1 - 1e-12)).sum()) if clip > 0 else 0
    notes = (f"{clipped} probabilities were clipped at {clip:g}",) if clipped else ()
    return dataclasses.replace(e, lower=max(e.lower, 0.0), notes=(*e.notes, *notes))


def logits_of(probs: Floats, *, bound: float = 30.0) -> Floats:
    """Return logits of probabilities, clipped at +- `bound` so that 0 and 1 stay finite."""
    return np.clip(special.logit(probs), -bound, bound)
