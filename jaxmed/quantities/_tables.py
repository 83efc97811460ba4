"""Quantities of confusion tables (..., k, k), truth by row and prediction by column.

Entries are counts, weights or shares, real or complex: `jaxmed.stats` differentiates them by a
complex step. Those of one class give (..., k), the others (...).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed.quantities._means import divide

_NAN = float("nan")


def tabulate(labels: Any, called: Any, classes: int, weights: Any = None) -> Any:
    """Return the table of classes (n,) and decisions (n,), or (b, k, k) under weights (b, n).

    Examples:
        >>> tabulate(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        array([[1, 1],
               [0, 1]])
    """
    codes = np.asarray(labels).astype(np.intp) * classes + called
    if weights is None or np.ndim(weights) == 1:
        found = np.bincount(codes, weights, minlength=classes**2)
    else:
        cells = codes[:, None] == np.arange(classes**2)
        found = weights @ cells.astype(np.float64)
    return found.reshape(*found.shape[:-1], classes, classes)


def accuracy(table: Any) -> Any:
    """Return the share of correct decisions."""
    return divide(np.einsum("...ii->...", table), table.sum(axis=(-2, -1)), _NAN)


def recalls(table: Any, empty: float = _NAN) -> Any:
    """Return each class's share of its cases that are found; of a binary table [..., 1] is TPR."""
    return divide(_right(table), _true(table), empty)


def precisions(table: Any, empty: float = _NAN) -> Any:
    """Return each class's share of right decisions among those for it."""
    return divide(_right(table), _predicted(table), empty)


def specificities(table: Any, empty: float = _NAN) -> Any:
    """Return each class's share of the other classes' cases that are not called it."""
    total, true, predicted = table.sum(axis=(-2, -1))[..., None], _true(table), _predicted(table)
    return divide(total - true - predicted + _right(table), total - true, empty)


def f_scores(table: Any, empty: float = _NAN, *, beta: float = 1.0) -> Any:
    r"""Return each class's :math:`(1 + \beta^2) TP / ((1 + \beta^2) TP + \beta^2 FN + FP)`."""
    below = beta**2 * _true(table) + _predicted(table)
    return divide((1 + beta**2) * _right(table), below, empty)


def one_against_rest(table: Any) -> Any:
    """Return the binary tables (..., k, 2, 2) of each class against all others.

    Examples:
        >>> one_against_rest(np.array([[2, 1], [0, 3]]))[1].tolist()
        [[2, 1], [0, 3]]
    """
    hit, true, predicted = _right(table), _true(table), _predicted(table)
    total = table.sum(axis=(-2, -1))[..., None]
    rest = np.stack([total - true - predicted + hit, predicted - hit], axis=-1)
    return np.stack([rest, np.stack([true - hit, hit], axis=-1)], axis=-2)


def occurring(table: Any) -> Any:
    """Return which classes occur, in the truth or among the predictions."""
    return np.real(_true(table) + _predicted(table)) > 0


def macro(values: Any, table: Any) -> Any:
    """Return the mean of values (..., k) over the classes that occur; an undefined one is 0.

    Examples:
        >>> table = np.array([[2, 0, 0], [0, 0, 0], [1, 0, 0]])  # class 1 does not occur
        >>> float(macro(recalls(table), table))
        0.5
    """
    counted = occurring(table)
    values = np.where(counted & ~np.isnan(values), values, 0)
    return divide(values.sum(axis=-1), counted.sum(axis=-1), _NAN)


def balanced_accuracy(table: Any) -> Any:
    """Return the mean recall over the classes that occur in the truth."""
    counted = np.real(_true(table)) > 0
    return divide(recalls(table, 0.0).sum(axis=-1), counted.sum(axis=-1), _NAN)


def mcc(table: Any) -> Any:
    r"""Return Matthews' correlation for any number of classes.

    With :math:`s` cases, :math:`c` right, :math:`t_k` true and :math:`p_k` predicted in class k:
    :math:`(c s - \sum_k t_k p_k) / \sqrt{(s^2 - \sum_k p_k^2)(s^2 - \sum_k t_k^2)}`; NaN (0 / 0)
    where the truth or the predictions are of one class.
    """
    total = table.sum(axis=(-2, -1))
    true, predicted = _true(table), _predicted(table)
    above = np.einsum("...ii->...", table) * total - (true * predicted).sum(axis=-1)
    spread = 1.0
    for sizes in (true, predicted):
        mixed = (sizes * (total[..., None] - sizes)).sum(axis=-1)
        # What rounding leaves of 0 under fractional weights is 0.
        spread = spread * np.where(np.real(mixed) <= 1e-14 * np.real(total) ** 2, 0, mixed)
    nothing = np.real(spread) == 0
    return np.where(nothing, _NAN, above / np.sqrt(np.where(nothing, 1, spread)))


def costs(classes: int, weights: str | None = None) -> Any:
    """Return the cost (k, k) of each disagreement: 1, or the `linear` or `quadratic` distance.

    Raises:
        ValueError: for other weights.
    """
    distance = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes))).astype(np.float64)
    if weights in (None, "unweighted"):
        return (distance > 0).astype(np.float64)
    if weights == "linear":
        return distance
    if weights == "quadratic":
        return distance**2
    raise ValueError(
        f"weights {weights!r} is not known; choose one of linear, quadratic, unweighted"
    )


def kappa(table: Any, cost: Any) -> Any:
    r"""Return Cohen's kappa under a table of costs, NaN where chance alone would agree.

    .. math:: 1 - \sum w_{ij} p_{ij} / \sum w_{ij} p_{i\cdot} p_{\cdot j}
    """
    total = table.sum(axis=(-2, -1))
    chance = np.einsum("...i,ij,...j->...", _true(table), cost, _predicted(table))
    return 1 - divide((table * cost).sum(axis=(-2, -1)) * total, chance, _NAN)


def ratios(table: Any) -> dict[str, Any]:
    """Return sensitivity, specificity, PPV and NPV of binary tables (..., 2, 2).

    Examples:
        >>> found = ratios(np.array([[2, 1], [0, 3]]))
        >>> {name: round(float(value), 3) for name, value in found.items()}
        {'sensitivity': 1.0, 'specificity': 0.667, 'ppv': 0.75, 'npv': 1.0}
    """
    recall, precision = recalls(table), precisions(table)
    return {
        "sensitivity": recall[..., 1],
        "specificity": recall[..., 0],
        "ppv": precision[..., 1],
        "npv": precision[..., 0],
    }


def _right(table: Any) -> Any:
    return np.einsum("...ii->...i", table)


def _true(table: Any) -> Any:
    return table.sum(axis=-1)


def _predicted(table: Any) -> Any:
    return table.sum(axis=-2)
