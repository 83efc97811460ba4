"""Scores of probabilities, per case and per bin, on NumPy and JAX arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

FLOOR = 1e-12
"""A probability of what happened below this is raised to it in the log loss."""


def brier_values(true: Any, probabilities: Any) -> Any:
    """Return each case's Brier score.

    Args:
        true: 0 or 1 of the shape of the probabilities: yes/no questions; or one-hot
            (cases, classes) of three or more classes, whose squares are summed.
        probabilities: predicted probabilities.

    Examples:
        >>> brier_values(np.array([1, 0]), np.array([0.5, 0.5]))
        array([0.25, 0.25])
    """
    return (probabilities - true) ** 2


def floored(probabilities: Any, floor: float = FLOOR) -> Any:
    """Return the logarithms of probabilities, those below the floor raised to it."""
    xp = probabilities.__array_namespace__()
    with np.errstate(divide="ignore"):
        return xp.log(xp.clip(probabilities, floor, 1.0))


def log_loss_values(chosen: Any, floor: float = FLOOR) -> Any:
    """Return each case's log loss in nats, from the probability of what was true.

    Examples:
        >>> log_loss_values(np.array([1.0, 0.5])).round(4) + 0.0
        array([0.    , 0.6931])
    """
    return -floored(chosen, floor)


def width_bins(probabilities: Any, bins: int) -> Any:
    """Return the bin of each probability among bins of one width, closed on the right.

    Bin b is (b / bins, (b + 1) / bins]; 0 belongs to the first.

    Examples:
        >>> width_bins(np.array([0.0, 0.5, 0.51, 1.0]), 2)
        array([0, 0, 1, 1])
    """
    xp = probabilities.__array_namespace__()
    inner = xp.asarray(np.linspace(0, 1, bins + 1)[1:-1], dtype=probabilities.dtype)
    return xp.searchsorted(inner, probabilities.reshape(-1), side="left").reshape(
        probabilities.shape
    )


def calibration_error(gap: Any, share: Any, norm: str = "l1") -> Any:
    r"""Join the bins' gaps between frequency and confidence into one error.

    .. math:: \sum_b \frac{n_b}{n} |\bar y_b - \bar p_b|

    Args:
        gap: (..., bins) sums over the bin's cases of outcome less probability, over the number of
            all cases.
        share: (..., bins) share of the cases in the bin.
        norm: `l1` (ECE), `l2` (the root mean square) or `max` (MCE).

    Examples:
        >>> round(float(calibration_error([0.05, -0.1], [0.5, 0.5])), 3)
        0.15
    """
    gap, share = np.asarray(gap), np.asarray(share)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(share > 0, gap / share, 0.0)
    if norm == "l1":
        return (np.abs(mean) * share).sum(axis=-1)
    if norm == "l2":
        return np.sqrt((mean**2 * share).sum(axis=-1))
    if norm == "max":
        return np.where(share > 0, np.abs(mean), 0.0).max(axis=-1)
    raise ValueError(f"norm must be l1, l2 or max, but is {norm!r}")
