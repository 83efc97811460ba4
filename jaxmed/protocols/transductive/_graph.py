"""Graphs of nearest neighbours, as sparse matrices of weights."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from jaxmed.stats import checks
from jaxmed.unsupervised._neighbours import nearest_rows
from jaxmed.unsupervised._rows import rows

Weights = Literal["adaptive", "binary"]


def neighbour_graph(
    features: ArrayLike, *, k: int = 10, weights: Weights = "adaptive"
) -> sparse.csr_array:
    r"""Join each row to its nearest rows.

    Args:
        features: (n, ...) of a network, or images as they are. Distances are Euclidean: scale
            features first where they differ in units; of unit length they are cosine distances.
        k: neighbours of each row.
        weights: ``"adaptive"``: :math:`e^{-4 |x_i - x_j|^2 / r_i^2}` with :math:`r_i` the distance
            of row i to its k-th nearest, so that sparse regions are joined as dense ones are; or
            ``"binary"``: 1.

    Returns:
        (n, n) weights, symmetric: the sum of both rows' own, with zeros on the diagonal. Its
        memory grows with n times k; distances are computed a block of rows at a time.

    Raises:
        ValueError: for values that are not finite, k that is not below the number of rows, or other
            weights.

    References:
        Calder, Cook, Thorpe and Slepčev (2020), Poisson learning: graph based semi-supervised
        learning at very low label rates, ICML (the weights).

    Examples:
        >>> graph = neighbour_graph([[0.0], [1.0], [3.0]], k=1, weights="binary")
        >>> graph.toarray().astype(int).tolist()
        [[0, 2, 0], [2, 0, 1], [0, 1, 0]]
    """
    if weights not in ("adaptive", "binary"):
        raise checks.unknown("weights", weights, ("adaptive", "binary"))
    k = checks.check_whole(k, "k", 1)
    given = rows(features, "features", minimum=2)
    n = len(given)
    if k >= n:
        raise ValueError(f"k={k} neighbours of {n} rows: k must be below the number of rows")
    place, squared = nearest_rows(given, k)
    weight = np.ones((n, k)) if weights == "binary" else _adaptive(squared.astype(np.float64))
    of = np.repeat(np.arange(n), k)
    directed = sparse.csr_array((weight.ravel(), (of, place.ravel())), shape=(n, n))
    return (directed + directed.T).tocsr()


def _adaptive(squared: np.ndarray) -> np.ndarray:
    reach = squared[:, -1:]
    # k copies of a row leave no distance to measure by, and are as near as can be.
    return np.exp(-4 * np.divide(squared, reach, out=np.zeros_like(squared), where=reach > 0))


def checked_graph(graph: Any, least: int) -> sparse.csr_array:
    """A graph as sparse float64 without loops.

    Raises:
        ValueError: if it is not square, symmetric, finite and without negative weights, or has
            fewer than ``least`` nodes.
    """
    if np.ndim(graph) > 2:
        raise ValueError(f"a graph is (n, n) weights, got the shape {np.shape(graph)}")
    found = sparse.csr_array(graph, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ValueError(f"a graph is (n, n) weights, got the shape {found.shape}")
    if found.shape[0] < least:
        raise ValueError(f"the graph has {found.shape[0]} nodes, and there are {least} labels")
    if not np.isfinite(found.data).all():
        raise ValueError("the graph holds weights that are not finite")
    if (found.data < 0).any():
        raise ValueError("the graph holds negative weights")
    found = found - sparse.diags_array(found.diagonal(), format="csr")
    gap = abs(found - found.T)
    if gap.nnz and gap.max() > 1e-6 * found.max():
        raise ValueError("the graph is not symmetric: take the sum of it and its transpose")
    found.eliminate_zeros()
    return found
