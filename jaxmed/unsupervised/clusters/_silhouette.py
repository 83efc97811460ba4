"""Silhouettes: how much nearer a row lies to its own cluster than to the next."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats import checks
from jaxmed.unsupervised._distances import block_rows, squared_distances
from jaxmed.unsupervised._rows import centred, rows


def silhouettes(x: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    r"""Return each row's silhouette :math:`(b - a) / \max(a, b)`, from -1 to 1.

    Here a is its mean distance to the other rows of its cluster and b that to the rows of the
    nearest other cluster. Time grows with the square of the number of rows, memory does not.

    Args:
        x: (n, ...) rows.
        labels: (n,) clusters, of any type.

    Returns:
        (n,); 0 for a row that is alone in its cluster. Their mean with an interval is
        ``stats.mean(silhouettes(x, labels))``.

    Raises:
        ValueError: for NaN, other lengths, or a single cluster.

    References:
        Rousseeuw (1987), Silhouettes: a graphical aid to the interpretation and validation of
        cluster analysis, Journal of Computational and Applied Mathematics 20:53.

    Examples:
        >>> silhouettes([0.0, 1.0, 8.0, 9.0], [0, 0, 1, 1]).round(3)
        array([0.882, 0.867, 0.867, 0.882])
    """
    given = rows(x, minimum=2)
    names = np.asarray(labels)
    if names.ndim != 1:
        raise ValueError(f"labels must be (n,), but their shape is {names.shape}")
    checks.same_length(x=given, labels=names)
    found, codes = np.unique(names, return_inverse=True)
    if len(found) < 2:
        raise ValueError("all rows are in one cluster: a silhouette needs two or more")
    points = jnp.asarray(centred(given, np.ones(len(given)))[0])
    own, other = _means(
        points, jnp.asarray(codes, jnp.int32), len(found), chunk=block_rows(len(given))
    )
    a, b = np.asarray(own, np.float64), np.asarray(other, np.float64)
    above = np.maximum(a, b)
    alone = np.bincount(codes)[codes] == 1
    return np.where(alone | (above == 0), 0.0, (b - a) / np.where(above == 0, 1, above))


@partial(jax.jit, static_argnums=2, static_argnames="chunk")
def _means(x, codes, k, *, chunk):
    """Mean distances to the own cluster's others, and to the nearest other cluster."""
    member = jax.nn.one_hot(codes, k, dtype=x.dtype)
    sizes = member.sum(0)
    n = x.shape[0]
    chunk = min(chunk, n)
    starts = jnp.arange(0, n, chunk)

    def of_block(start):
        # The last block begins where it still fits, and repeats rows of the one before.
        here = jnp.minimum(start, n - chunk) + jnp.arange(chunk)
        distance = jnp.sqrt(squared_distances(x[here], x))
        distance = jnp.where(here[:, None] == jnp.arange(n), 0, distance)
        total = jnp.matmul(distance, member, precision=jax.lax.Precision.HIGHEST)
        mine = codes[here]
        own = jnp.take_along_axis(total, mine[:, None], 1)[:, 0] / jnp.maximum(sizes[mine] - 1, 1)
        others = jnp.where(jnp.arange(k) == mine[:, None], jnp.inf, total / sizes)
        return here, own, others.min(1)

    here, own, other = jax.lax.map(of_block, starts)
    place = here.reshape(-1)
    empty = jnp.zeros((n,), x.dtype)
    return empty.at[place].set(own.reshape(-1)), empty.at[place].set(other.reshape(-1))
