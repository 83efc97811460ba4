"""Quantities of two partitions of the same cases."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed.quantities._means import divide

_NAN = float("nan")


def adjusted_rand(both: Any, first: Any, second: Any, pairs: Any) -> Any:
    r"""Return the adjusted Rand index of counts of pairs of cases.

    .. math:: \frac{S - AB / P}{(A + B) / 2 - AB / P}

    Args:
        both: pairs that are together in both partitions, S.
        first: pairs that are together in the first, A.
        second: pairs that are together in the second, B.
        pairs: all pairs, P.

    Returns:
        The index, of the arguments' shape: 0 in expectation for partitions that are independent,
        1 for equal ones; NaN (0 / 0) where both are one cluster or both are single cases.

    Examples:
        >>> float(adjusted_rand(1, 2, 1, 6).round(3))
        0.571
    """
    both, first, second = (np.asarray(part, np.float64) for part in (both, first, second))
    expected = divide(first * second, np.asarray(pairs, np.float64), _NAN)
    return divide(both - expected, (first + second) / 2 - expected, _NAN)


def normalised_mutual_information(table: Any) -> Any:
    r"""Return :math:`2 I(U; V) / (H(U) + H(V))` of tables (..., r, c) of two partitions.

    Returns:
        (...,) from 0 to 1; NaN (0 / 0) where both partitions are one cluster.

    Examples:
        >>> float(normalised_mutual_information(np.array([[2, 0, 0], [0, 1, 1]])).round(3))
        0.8
    """
    table = np.asarray(table, np.float64)
    shares = divide(table, table.sum(axis=(-2, -1))[..., None, None], _NAN)
    rows, columns = _entropy(shares.sum(axis=-1)), _entropy(shares.sum(axis=-2))
    joint = _entropy(shares.reshape(*shares.shape[:-2], -1))
    # What rounding leaves below 0 of independent partitions is 0.
    return divide(2 * np.maximum(rows + columns - joint, 0), rows + columns, _NAN)


def _entropy(shares: Any) -> Any:
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1)
