"""Kernel density estimates."""

from __future__ import annotations

import contextlib
import warnings
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from jaxmed.core import Key, stream
from jaxmed.stats import checks
from jaxmed.unsupervised._distances import block_rows, in_blocks, squared_distances
from jaxmed.unsupervised._rows import constant_features, row_weights, rows, same_features
from jaxmed.unsupervised.density._kernels import (
    Kernel,
    check_kernel,
    deviation,
    draws,
    log_constant,
    log_profile,
)

# Beyond this error of an exponent, in nats, distances are computed in float64.
_EXACT_ENOUGH = 1e-4
_GRID = np.geomspace(0.1, 3, 30)

Rule = Literal["scott", "silverman", "likelihood"]
Scale = Literal["covariance", "deviations", "none"]


class KDE(NamedTuple):
    """A kernel on each point; made by :func:`kde`.

    Attributes:
        points: (n, d).
        weight: (n,), of sum 1.
        bandwidth: in units of ``factor``: a Gaussian's standard deviation, the length on which the
            exponential kernel falls off, and of all others the radius beyond which they are 0.
        factor: (d, d) lower triangular; a Gaussian's covariance is
            ``bandwidth**2 * factor @ factor.T``.
        grid: bandwidths tried by ``"likelihood"``; empty otherwise.
        scores: mean leave-one-out log density of each, in nats.
        kernel: what lies on each point.
    """

    points: NDArray[np.float64]
    weight: NDArray[np.float64]
    bandwidth: float
    factor: NDArray[np.float64]
    grid: NDArray[np.float64]
    scores: NDArray[np.float64]
    kernel: Kernel = "gaussian"

    def log_density(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the log density of rows, in nats: an exact sum over all points.

        Args:
            x: (m, d).

        Returns:
            (m,); minus infinity where no kernel reaches. Distances are computed about the points'
            mean, those of Gaussian kernels in float32 where that is right to about 1e-4 nats, all
            others in float64.

        Raises:
            ValueError: for NaN, or another number of features.
        """
        given = rows(x)
        same_features(given, self.points.shape[1], "x", "the density")
        points, origin = _whitened(self.points, self.factor, self.bandwidth)
        queries, _ = _whitened(given, self.factor, self.bandwidth, origin)
        with _precise_enough(self.kernel, queries, points) as kind:
            summed = _log_sums(
                jnp.asarray(queries.astype(kind)),
                jnp.asarray(points.astype(kind)),
                jnp.asarray(_log(self.weight).astype(kind)),
                block=block_rows(len(points)), kernel=self.kernel,
            )  # fmt: skip
            found = np.asarray(summed, np.float64)
        return found - _log_volume(self.kernel, self.factor, self.bandwidth)

    def sample(self, key: Key, n: int) -> NDArray[np.float64]:
        """Draw n rows (n, d): a point by its weight, and its kernel's noise."""
        n = checks.check_whole(n, "n", 1)
        place = jax.random.uniform(stream(key, "point"), (n,))
        ends = np.cumsum(self.weight)
        last = np.searchsorted(ends, ends[-1])  # the last of positive weight
        which = np.searchsorted(ends, np.asarray(place, np.float64) * ends[-1], side="right")
        noise = draws(self.kernel, key, n, self.points.shape[1])
        return self.points[np.minimum(which, last)] + self.bandwidth * noise @ self.factor.T


def kde(
    x: ArrayLike,
    *,
    bandwidth: Rule | float = "scott",
    scale: Scale | None = None,
    grid: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    kernel: Kernel = "gaussian",
) -> KDE:
    r"""Estimate a density by a kernel on each row.

    Args:
        x: (n, d) rows; (n,) is one feature.
        bandwidth: a number, :attr:`KDE.bandwidth`; the one with which kernels have a standard
            deviation by a rule: ``"scott"``, :math:`n^{-1/(d+4)}`, or ``"silverman"``,
            :math:`(n (d + 2) / 4)^{-1/(d+4)}`; or ``"likelihood"``, that of the grid under which
            the rows are likeliest when each is left out of its own density. Under weights n is
            :math:`1 / \sum w_i^2`.
        scale: what the bandwidth is a multiple of: ``"covariance"`` of the rows, so that kernels
            lie as the rows do; ``"deviations"``, each feature's own; ``"none"``, the features' own
            units. By default the covariance for a rule, and none for a number.
        grid: bandwidths for ``"likelihood"``; by default 30 from .1 to 3 times Scott's.
        weight: (n,) how much each row counts; one of weight 0 not at all.
        kernel: of the distance u in bandwidths, up to a constant: ``"gaussian"``,
            :math:`e^{-u^2/2}`; ``"exponential"``, :math:`e^{-u}`; and, 0 from u = 1 on,
            ``"epanechnikov"``, :math:`1 - u^2`, ``"biweight"`` and ``"triweight"``, its square
            and cube, ``"cosine"``, :math:`\cos(\pi u / 2)`, ``"tophat"``, 1, ``"linear"``,
            :math:`1 - u`.

    Returns:
        The density. All bandwidths of a grid are judged in one pass over the distances.

    Raises:
        ValueError: for NaN, a bandwidth that is not positive, a feature that is constant or rows
            in a plane where the scale is the rows' own, too few rows to leave one out, or a grid
            whose kernels leave rows without a neighbour, however wide.

    References:
        Scott (1992), Multivariate density estimation. Silverman (1986), Density estimation for
        statistics and data analysis. Duin (1976), On the choice of smoothing parameters for Parzen
        estimators of probability density functions, IEEE Transactions on Computers C-25:1175.

    Examples:
        >>> found = kde([0.0, 1.0], bandwidth=1.0)
        >>> np.exp(found.log_density([0.0, 0.5])).round(4)
        array([0.3205, 0.3521])
    """
    kernel = check_kernel(kernel)
    given = rows(x).astype(np.float64)
    n, d = given.shape
    share = row_weights(weight, n)
    share = share / share.sum()
    named = isinstance(bandwidth, str)
    if named and bandwidth not in ("scott", "silverman", "likelihood"):
        raise checks.unknown("bandwidth", bandwidth, ("scott", "silverman", "likelihood"))
    if not named:
        checks.check_number(float(bandwidth), "bandwidth", above=0)
    if grid is not None and bandwidth != "likelihood":
        raise ValueError('grid goes with bandwidth="likelihood" alone')
    factor = _factor(given, share, scale or ("covariance" if named else "none"))
    size = 1 / (share**2).sum()
    # The rules are of Gaussian kernels: another one is to be as wide.
    wide = deviation(kernel, d)
    rules = {
        "scott": size ** (-1 / (d + 4)) / wide,
        "silverman": (size * (d + 2) / 4) ** (-1 / (d + 4)) / wide,
    }
    none = np.zeros(0)
    if not named:
        return KDE(given, share, float(bandwidth), factor, none, none, kernel)
    if bandwidth != "likelihood":
        return KDE(given, share, float(rules[bandwidth]), factor, none, none, kernel)
    tried = rules["scott"] * _GRID if grid is None else checks.finite(grid, "grid")
    if (tried <= 0).any():
        raise ValueError(f"grid must be positive, but holds {tried.min():g}")
    if (share > 0).sum() < 2:
        raise ValueError("leave-one-out needs 2 rows of positive weight")
    scores = _left_out(kernel, given, share, factor, tried)
    if not np.isfinite(scores).any():
        raise ValueError(
            f"some rows have no neighbour within the largest bandwidth of the grid, "
            f"{tried.max():.3g}: a {kernel} kernel gives them no density; give a larger grid, or "
            'kernel="gaussian"'
        )
    best = int(scores.argmax())
    if len(tried) > 1 and tried[best] in (tried.min(), tried.max()):
        end = "least" if tried[best] == tried.min() else "largest"
        why = "; rows that occur twice call for a bandwidth of 0" if end == "least" else ""
        warnings.warn(
            f"the {end} bandwidth of the grid, {tried[best]:.3g}, is the likeliest: the best one "
            f"may lie beyond{why}",
            stacklevel=2,
        )
    return KDE(given, share, float(tried[best]), factor, tried, scores, kernel)


def _factor(x: NDArray[Any], share: NDArray[Any], scale: str) -> NDArray[np.float64]:
    """The lower triangle whose square is what the bandwidth is a multiple of."""
    if scale == "none":
        return np.eye(x.shape[1])
    if scale not in ("covariance", "deviations"):
        raise checks.unknown("scale", scale, ("covariance", "deviations", "none"))
    present = x[share > 0]
    if len(present) < 2:
        raise ValueError(f'scale="{scale}" needs 2 rows, but there is {len(present)}')
    constant_features(present, "it has no scale of its own, and a density along it is infinite")
    centred = x - share @ x
    # As scipy.stats.gaussian_kde: without bias where weights are how surely a row is meant.
    spread = (centred * share[:, None]).T @ centred / (1 - (share**2).sum())
    if scale == "deviations":
        return np.diag(np.sqrt(np.diag(spread)))
    deviations = np.sqrt(np.diag(spread))
    correlation = spread / np.outer(deviations, deviations)
    if np.linalg.eigvalsh(correlation)[0] < 1e-10:
        raise ValueError(
            f"the {len(present)} rows lie in a plane of their {x.shape[1]} features, so their "
            'covariance has no inverse: give scale="deviations", or take components first '
            "(unsupervised.pca)"
        )
    return deviations[:, None] * linalg.cholesky(correlation, lower=True)


def _whitened(
    x: NDArray[Any],
    factor: NDArray[np.float64],
    bandwidth: float,
    origin: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows about the points' mean, in units in which kernels have covariance 1; and the mean."""
    x = x.astype(np.float64)
    middle = np.asarray(x.mean(axis=0)) if origin is None else origin
    return linalg.solve_triangular(factor, (x - middle).T, lower=True).T / bandwidth, middle


@contextlib.contextmanager
def _precise_enough(kernel: Kernel, *whitened: NDArray[np.float64]) -> Any:
    """Compute in float32 if squared distances are right enough then, in float64 otherwise."""
    largest = max(float((x**2).sum(axis=1).max()) for x in whitened)
    # |a|^2 + |b|^2 - 2ab has an error of about 2 eps (|a|^2 + |b|^2), the exponent half of it.
    # At the edge of a kernel, and where one has a tip, no error is small.
    wide = kernel != "gaussian" or 2 * np.finfo(np.float32).eps * largest > _EXACT_ENOUGH
    with jax.enable_x64(True) if wide else contextlib.nullcontext():
        yield np.dtype(np.float64 if wide else np.float32)


def _log_volume(kernel: Kernel, factor: NDArray[np.float64], bandwidth: float) -> float:
    """The logarithm of a kernel's integral without its constant."""
    d = len(factor)
    size = np.log(np.diag(factor)).sum() + d * np.log(bandwidth)
    return float(size + log_constant(kernel, d))


def _log(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.log(weight)


@partial(jax.jit, static_argnames=("block", "kernel"))
def _log_sums(queries, points, log_weight, *, block, kernel):
    """The logarithm of the weighted sum of all kernels at each query."""

    def of_block(some):
        exponent = log_weight + log_profile(kernel, squared_distances(some, points))
        return jax.scipy.special.logsumexp(exponent, axis=1)

    return jax.lax.map(of_block, in_blocks(queries, block)).reshape(-1)[: len(queries)]


def _left_out(kernel, x, share, factor, grid) -> NDArray[np.float64]:
    """The weighted mean log density of the rows, each left out of its own, for each bandwidth."""
    points, _ = _whitened(x, factor, float(grid.min()))
    ratios = (grid.min() / grid) ** 2
    with _precise_enough(kernel, points) as kind:
        sums = _left_out_sums(
            jnp.asarray(points.astype(kind)),
            jnp.asarray(_log(share).astype(kind)),
            jnp.asarray(ratios.astype(kind)),
            block=block_rows(len(x)), kernel=kernel,
        )  # fmt: skip
        found = np.asarray(sums, np.float64)
    volumes = np.array([_log_volume(kernel, factor, float(h)) for h in grid])
    # What is left of the weights sums to 1 again.
    present = share > 0
    others = found[:, present] - np.log1p(-share[present])
    return others @ share[present] - volumes


@partial(jax.jit, static_argnames=("block", "kernel"))
def _left_out_sums(points, log_weight, ratios, *, block, kernel):
    """Logarithms of sums over all other points (bandwidths, n), from one matrix of distances."""
    n = len(points)

    def of_block(some):
        rows, here = some
        squared = squared_distances(rows, points)
        itself = here[:, None] == jnp.arange(n)

        def of_bandwidth(ratio):
            profile = log_profile(kernel, ratio * squared)
            exponent = jnp.where(itself, -jnp.inf, log_weight + profile)
            return jax.scipy.special.logsumexp(exponent, axis=1)

        return jax.lax.map(of_bandwidth, ratios)

    blocks = in_blocks(points, block), in_blocks(jnp.arange(n), block)
    return jnp.moveaxis(jax.lax.map(of_block, blocks), 1, 0).reshape(len(ratios), -1)[:, :n]
