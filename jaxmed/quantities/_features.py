"""Two sets of rows of features, compared: distances of distributions, and neighbourhoods."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_BLOCK = 4_000_000  # Distances that are held at a time.
_ROUNDED = 1 + 1e-9
_SAME = 1e-13  # Of the squared lengths of two rows: what is nearer is a copy.


def frechet_distance(first: Any, second: Any) -> float:
    r"""Return the squared Frechet distance of the normal distributions of two sets of rows.

    .. math:: |\mu_1 - \mu_2|^2 + \operatorname{tr}(C_1 + C_2 - 2 (C_1 C_2)^{1/2})

    No root of a matrix is taken: with covariances :math:`C = A^T A` the trace of the root is the
    sum of the singular values of :math:`A_1 A_2^T`, which also holds for fewer rows than features.

    Args:
        first: (n, f), two rows or more.
        second: (m, f), likewise.

    Examples:
        >>> x = np.array([[0.0], [1.0], [2.0]])
        >>> float(frechet_distance(x, 3 * x + 1).round(6))  # means 1, 4; deviations 1, 3
        13.0
    """
    (mean, root), (other_mean, other_root) = (_root(np.asarray(x, float)) for x in (first, second))
    spread = (root**2).sum() + (other_root**2).sum()
    shared = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    # Rounding may leave a number below 0 of two equal distributions.
    return ((mean - other_mean) ** 2).sum() + max(spread - 2 * shared, 0.0)


def _root(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and a matrix A of at most f rows with A'A the covariance."""
    mean = x.mean(0)
    root = (x - mean) / np.sqrt(len(x) - 1)
    return mean, np.asarray(np.linalg.qr(root, mode="r")) if len(x) > x.shape[1] else root


def cubic_kernel(first: Any, second: Any) -> Any:
    """Return the kernel (x . y / f + 1)^3 of all pairs of rows, (n, m).

    Examples:
        >>> float(cubic_kernel(np.array([[1.0, 1.0]]), np.array([[1.0, -1.0]]))[0, 0])
        1.0
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    return (first @ second.T / first.shape[1] + 1) ** 3


def squared_discrepancy(within: Any, other_within: Any, between: Any) -> float:
    r"""Return the squared maximum mean discrepancy of two sets, without bias.

    .. math:: \frac{\sum_{i \ne j} k(x_i, x_j)}{n (n - 1)}
        + \frac{\sum_{i \ne j} k(y_i, y_j)}{m (m - 1)} - \frac{2}{n m} \sum_{ij} k(x_i, y_j)

    0 in expectation for sets of one distribution, and then below 0 about as often as above.

    Args:
        within: (n, n) kernel of the first set with itself.
        other_within: (m, m) of the second.
        between: (n, m).

    Examples:
        >>> x = np.array([[0.0], [1.0], [2.0]])
        >>> k = cubic_kernel(x, x)
        >>> bool(squared_discrepancy(k, k, k) < 0)  # a set and itself: pairs with oneself count
        True
    """
    parts = []
    for kernel in (within, other_within):
        n = len(kernel)
        parts.append((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
    return float(parts[0] + parts[1] - 2 * between.mean())


class Neighbours(NamedTuple):
    """The nearest row of another set.

    Attributes:
        index: (n,) its position, the first of equal ones.
        distance: (n,) Euclidean.
    """

    index: Any
    distance: Any


def nearest_rows(rows: Any, among: Any = None) -> Neighbours:
    """Find each row's nearest row of another set, or of its own set but itself.

    Args:
        rows: (n, f).
        among: (m, f); None for the rows themselves.

    Examples:
        >>> nearest_rows(np.array([[0.0], [5.0]]), np.array([[4.0], [1.0]])).distance
        array([1., 1.])
    """
    rows = np.asarray(rows, float)
    others = rows if among is None else np.asarray(among, float)
    index = np.concatenate([d.argmin(1) for _, d in _distances(rows, others, among is None)])
    # Products of matrices round; an exact copy is at distance 0.
    return Neighbours(index, np.sqrt(((rows - others[index]) ** 2).sum(1)))


def neighbour_radii(rows: Any, k: int) -> Any:
    """Return each row's distance to its k-th nearest other row, (n,).

    Examples:
        >>> neighbour_radii(np.array([[0.0], [1.0], [3.0]]), 1)
        array([1., 1., 2.])
    """
    rows = np.asarray(rows, float)
    blocks = [np.partition(d, k - 1, axis=1)[:, k - 1] for _, d in _distances(rows, rows, True)]
    return np.sqrt(np.concatenate(blocks))


class Neighbourhoods(NamedTuple):
    """Which rows lie in the balls about the rows of another set.

    Attributes:
        inside: (m,) in how many balls about real rows each synthetic row lies.
        reached: (n,) whether each real row lies in a ball about a synthetic row.
        covered: (n,) whether a synthetic row lies in the ball about each real row.
    """

    inside: Any
    reached: Any
    covered: Any


def neighbourhoods(real: Any, synthetic: Any, k: int) -> Neighbourhoods:
    """Count rows in balls, whose radius is the distance to the k-th nearest row of their set.

    Precision is the share of `inside` above 0, recall that of `reached` (Kynkaanniemi et al. 2019);
    density is the mean of `inside` over k, coverage the share of `covered` (Naeem et al. 2020).

    Args:
        real: (n, f).
        synthetic: (m, f).
        k: below n and m.

    Examples:
        >>> found = neighbourhoods(np.array([[0.0], [1.0], [9.0]]), np.array([[0.5], [0.6]]), 1)
        >>> found.inside.tolist(), found.reached.tolist(), found.covered.tolist()
        ([2, 2], [False, False, False], [True, True, False])
    """
    real, synthetic = np.asarray(real, float), np.asarray(synthetic, float)
    # What lies on a sphere is inside, however its distance was rounded.
    radii, others = (_ROUNDED * neighbour_radii(x, k) ** 2 for x in (real, synthetic))
    inside = np.zeros(len(synthetic), int)
    reached, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, d in _distances(real, synthetic, False):
        within = d <= radii[rows, None]
        inside += within.sum(0)
        covered[rows] = within.any(1)
        reached[rows] = (d <= others).any(1)
    return Neighbourhoods(inside, reached, covered)


def _distances(rows: np.ndarray, others: np.ndarray, same: bool) -> Any:
    """Blocks of squared distances: (positions of rows, (b, m)); infinite to oneself if asked."""
    centre = others.mean(0)
    rows, others = rows - centre, others - centre
    lengths = (others**2).sum(1)
    size = max(1, _BLOCK // max(len(others), 1))
    for begin in range(0, len(rows), size):
        at = np.arange(begin, min(begin + size, len(rows)))
        part = rows[at]
        sizes = (part**2).sum(1)[:, None] + lengths
        d = sizes - 2 * part @ others.T
        d[d < _SAME * sizes] = 0
        if same:
            d[np.arange(len(at)), at] = np.inf
        yield at, d
