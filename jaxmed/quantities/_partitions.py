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


def pair_shares(joint: Any, truth: Any, found: Any) -> tuple[float, float, float]:
    r"""Return how well two segmentations agree on pairs of voxels: in all, on splits, on mergers.

    .. math:: V = \frac{2 \sum n_{ij}^2}{\sum s_i^2 + \sum t_j^2}, \quad
        V_{split} = \frac{\sum n_{ij}^2}{\sum t_j^2}, \quad
        V_{merge} = \frac{\sum n_{ij}^2}{\sum s_i^2}

    Args:
        joint: voxels that two segments have in common, n, one for each pair of them.
        truth: voxels of each true segment, t.
        found: voxels of each segment that was found, s.

    Returns:
        The three, NaN (0 / 0) of no voxel.

    Examples:
        >>> [float(x) for x in pair_shares([2, 2], [4], [2, 2])]
        [0.6666666666666666, 0.5, 1.0]
    """
    together, true, said = (
        np.square(np.asarray(part, np.float64)).sum() for part in (joint, truth, found)
    )
    return (
        divide(2 * together, true + said, _NAN),
        divide(together, true, _NAN),
        divide(together, said, _NAN),
    )


def information_shares(joint: Any, truth: Any, found: Any) -> tuple[float, float, float]:
    r"""Return the mutual information of two segmentations over their entropies' mean, and each.

    .. math:: V = \frac{2 I(S; T)}{H(S) + H(T)}, \quad V_{split} = \frac{I(S; T)}{H(S)}, \quad
        V_{merge} = \frac{I(S; T)}{H(T)}

    Args:
        joint: voxels that two segments have in common, one for each pair of them.
        truth: voxels of each true segment, T.
        found: voxels of each segment that was found, S.

    Returns:
        The three; NaN (0 / 0) where the entropy is that of one segment, or there is no voxel.

    Examples:
        >>> [round(float(x), 3) for x in information_shares([2, 1, 1], [2, 2], [2, 1, 1])]
        [0.8, 0.667, 1.0]
    """
    parts = [np.asarray(part, np.float64) for part in (joint, truth, found)]
    both, true, said = (_entropy(divide(part, part.sum(), _NAN)) for part in parts)
    # What rounding leaves below 0 of independent partitions is 0.
    shared = np.maximum(true + said - both, 0)
    return (
        divide(2 * shared, true + said, _NAN),
        divide(shared, said, _NAN),
        divide(shared, true, _NAN),
    )


def _entropy(shares: Any) -> Any:
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1)
