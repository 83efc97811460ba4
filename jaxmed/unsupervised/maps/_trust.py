"""How far a map of rows may be trusted: whether neighbours stay neighbours, there and back."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.stats import checks
from jaxmed.unsupervised._distances import block_rows, in_blocks
from jaxmed.unsupervised._neighbours import nearest_others, nearest_rows, to_others
from jaxmed.unsupervised._rows import centred, rows


def trustworthiness(
    x: ArrayLike,
    map_: ArrayLike,
    *,
    k: int = 10,
    level: float = 0.95,
    groups: ArrayLike | None = None,
) -> stats.Estimate:
    r"""Estimate how far a row's neighbours in a map are its neighbours in the data, 1 if all are.

    .. math:: 1 - \frac{2}{n k (2n - 3k - 1)} \sum_i \sum_{j \in U_k(i)} (r(i, j) - k)

    with :math:`U_k(i)` the rows among the k nearest to i in the map but not in the data, and
    :math:`r(i, j)` the rank of j by its distance from i in the data. A random map has about .5.

    Args:
        x: (n, ...) rows.
        map_: (n, m) the same rows in a map.
        k: neighbours, less than n / 2.
        level: confidence level.
        groups: (n,) patient of each row: the interval then counts patients.

    Returns:
        The mean over rows with the interval of a mean, the map being given. Of equally far rows the
        first is the nearer one.

    Raises:
        ValueError: for NaN, other lengths, or k too large.

    References:
        Venna and Kaski (2001), Neighborhood preservation in nonlinear projection methods: an
        experimental study, ICANN.

    Examples:
        >>> x = np.arange(12.0)
        >>> trustworthiness(x, x, k=3).value
        1.0
    """
    far = _intruders(x, map_, k)
    return stats.mean(far, level=level, groups=groups, name="trustworthiness")


def continuity(
    x: ArrayLike,
    map_: ArrayLike,
    *,
    k: int = 10,
    level: float = 0.95,
    groups: ArrayLike | None = None,
) -> stats.Estimate:
    """Estimate how far a row's neighbours in the data are its neighbours in a map, 1 if all are.

    It is :func:`trustworthiness` with the two exchanged: low where a map tears the data apart.

    Args:
        x: (n, ...) rows.
        map_: (n, m) the same rows in a map.
        k: neighbours, less than n / 2.
        level: confidence level.
        groups: (n,) patient of each row: the interval then counts patients.

    Returns:
        The mean over rows with the interval of a mean, the map being given.

    Raises:
        ValueError: for NaN, other lengths, or k too large.

    References:
        Venna and Kaski (2001), ICANN.
    """
    torn = _intruders(map_, x, k, names=("map_", "x"))
    return stats.mean(torn, level=level, groups=groups, name="continuity")


def neighbour_overlap(
    x: ArrayLike,
    map_: ArrayLike,
    *,
    k: int = 10,
    level: float = 0.95,
    groups: ArrayLike | None = None,
) -> stats.Estimate:
    """Estimate the share of a row's k nearest rows in the data that are so in a map too.

    Args:
        x: (n, ...) rows.
        map_: (n, m) the same rows in a map; a random one has about ``k / n``.
        k: neighbours.
        level: confidence level.
        groups: (n,) patient of each row: the interval then counts patients.

    Returns:
        The mean over rows with the interval of a mean, the map being given.

    Raises:
        ValueError: for NaN, other lengths, or k too large.
    """
    first, second = _both(x, map_, k, ("x", "map_"))
    near = [nearest_rows(part, k)[0] for part in (first, second)]
    shared = (near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean(axis=1)
    return stats.mean(shared, bounds=(0, 1), level=level, groups=groups, name="neighbour overlap")


def _both(x, map_, k, names) -> tuple[NDArray, NDArray]:
    first, second = rows(x, names[0], minimum=2), rows(map_, names[1], minimum=2)
    checks.same_length(**dict(zip(names, (first, second), strict=True)))
    k = checks.check_whole(k, "k", 1)
    if 2 * k >= len(first):
        raise ValueError(f"k must be less than half of {len(first)} rows, but is {k}")
    return first, second


def _intruders(x, map_, k, names=("x", "map_")) -> NDArray[np.float64]:
    """For each row 1 less the scaled ranks in x of those near to it in the map alone."""
    first, second = _both(x, map_, k, names)
    n = len(first)
    points, places = (jnp.asarray(centred(part, np.ones(n))[0]) for part in (first, second))
    block = block_rows(n)
    near, _ = nearest_others(places, k=k, block=block)
    beyond = np.asarray(_ranks_beyond(points, near, k=k, block=block), np.float64)
    return 1 - beyond * (2 / (k * (2 * n - 3 * k - 1)))


@partial(jax.jit, static_argnames=("k", "block"))
def _ranks_beyond(x, near, *, k, block):
    """The sum over given rows (n, k) of how far their ranks by distance lie beyond k."""
    n = len(x)

    def of_block(some):
        points, here, others = some
        squared = to_others(points, here, x)

        def beyond(other):
            own = jnp.take_along_axis(squared, other[:, None], 1)
            first = jnp.arange(n) < other[:, None]
            rank = 1 + ((squared < own) | ((squared == own) & first)).sum(1)
            return jnp.maximum(rank - k, 0)

        return jax.lax.map(beyond, others.T).sum(0)

    blocks = in_blocks(x, block), in_blocks(jnp.arange(n), block), in_blocks(near, block)
    return jax.lax.map(of_block, blocks).reshape(-1)[:n]
