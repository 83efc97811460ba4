"""Principal components."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from jaxmed.core import Array, Key, stream
from jaxmed.stats import checks
from jaxmed.unsupervised._rows import parts, rows, same_features


class PCA(NamedTuple):
    """The directions in which rows vary most; made by :func:`pca` or :func:`fitted_pca`.

    Attributes:
        mean: (d,).
        components: (n, d), orthonormal, by falling variance. The entry of largest magnitude of
            each, the first of equal ones, is positive.
        variances: (n,) of the rows along each, with divisor ``rows - 1``.
        noise: mean variance in the directions left out; 0 if there is none but rounding's.
        rows: how many rows it was made of.
    """

    mean: NDArray[Any]
    components: NDArray[Any]
    variances: NDArray[Any]
    noise: float
    rows: int

    @property
    def explained(self) -> NDArray[np.float64]:
        """The share (n,) of the whole variance along each component."""
        left = self.noise * (len(self.mean) - len(self.variances))
        return self.variances / (self.variances.sum(dtype=np.float64) + left)

    def project(self, x: ArrayLike, *, whiten: bool = False) -> NDArray[Any]:
        """Return coordinates (m, n) of rows (m, ...); with ``whiten`` each of variance 1."""
        given = self._given(x)
        found = (given - self.mean) @ self.components.T
        return found / np.sqrt(self.variances) if whiten else found

    def reconstruct(self, coordinates: ArrayLike, *, whitened: bool = False) -> NDArray[Any]:
        """Return the rows (m, d) that have these coordinates (m, n), and 0 in other directions."""
        z = rows(coordinates, "coordinates")
        same_features(z, len(self.variances), "coordinates", "the components")
        scaled = z * np.sqrt(self.variances) if whitened else z
        return scaled @ self.components + self.mean

    def log_density(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the log density (m,) of rows under probabilistic PCA, in nats.

        A Gaussian with these variances along the components and ``noise`` in all other directions.

        Raises:
            ValueError: where nothing was left out and a variance is 0, or the noise is 0: then
                the density is infinite.

        References:
            Tipping and Bishop (1999), Probabilistic principal component analysis, Journal of the
            Royal Statistical Society B 61:611.
        """
        given = self._given(x).astype(np.float64) - self.mean
        d, n = len(self.mean), len(self.variances)
        if d > n and self.noise == 0:
            raise ValueError(
                f"the rows do not vary outside {n} components, so their density is infinite: keep "
                "fewer components"
            )
        along = given @ self.components.T.astype(np.float64)
        variances = self.variances.astype(np.float64)
        squared = (along**2 / variances).sum(axis=1)
        log_volume = np.log(variances).sum()
        if d > n:
            # Not a difference of squares: components are orthonormal to their own rounding only.
            outside = given - along @ self.components.astype(np.float64)
            squared = squared + (outside**2).sum(axis=1) / self.noise
            log_volume += (d - n) * np.log(self.noise)
        return -(squared + log_volume + d * np.log(2 * np.pi)) / 2

    def _given(self, x: ArrayLike) -> NDArray[Any]:
        given = rows(x)
        same_features(given, len(self.mean), "x", "PCA")
        return given


def pca(
    x: ArrayLike,
    n: int,
    *,
    solver: Literal["gram", "randomised"] = "gram",
    key: Key | None = None,
    oversample: int = 10,
    power_steps: int = 4,
) -> PCA:
    """Find the n directions in which rows vary most.

    Args:
        x: (rows, ...), an example's axes in one; computed in float32, or in float64 if that is
            what is given.
        n: the number of components.
        solver: ``"gram"``, exact, by the products of features or of rows, whichever are fewer;
            ``"randomised"``, near to it, for thousands of both.
        key: random key, for ``"randomised"``.
        oversample: directions that ``"randomised"`` follows beyond n.
        power_steps: how often it goes through the rows, there and back, orthogonalised each way.
            With fewer a slowly falling spectrum is not found.

    Returns:
        The components.

    Raises:
        ValueError: for NaN, more components than directions in which the rows vary, or a key that
            is missing.

    References:
        Halko, Martinsson and Tropp (2011), Finding structure with randomness: probabilistic
        algorithms for constructing approximate matrix decompositions, SIAM Review 53:217.

    Examples:
        >>> x = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
        >>> found = pca(x, 1)
        >>> found.variances, found.explained
        (array([5.]), array([1.]))
    """
    given = rows(x, minimum=2)
    count, d = given.shape
    n = parts(n, min(count - 1, d), "n", f"directions of {count} rows of {d} features")
    if solver not in ("gram", "randomised"):
        raise checks.unknown("solver", solver, ("gram", "randomised"))
    if solver == "randomised" and key is None:
        raise ValueError('solver="randomised" draws directions: give it a key')
    mean = given.mean(axis=0, dtype=np.float64)
    centred = given - mean.astype(given.dtype)  # without a copy of all rows in float64
    squares = np.einsum("ij,ij->i", centred, centred)
    total = float(squares.sum(dtype=np.float64) / (count - 1))
    double = given.dtype == np.float64
    with jax.enable_x64(True) if double else contextlib.nullcontext():
        points = jnp.asarray(centred)
        if solver == "gram":
            variances, components = _by_gram(points, n)
        else:
            assert key is not None
            width = min(n + checks.check_whole(oversample, "oversample", 0), count, d)
            steps = checks.check_whole(power_steps, "power_steps", 0)
            start = jax.random.normal(stream(key, "directions"), (d, width), points.dtype)
            variances, components = _by_range(points, start, n, steps)
    return assembled(mean, components, variances / (count - 1), total, count, given.dtype)


def assembled(mean, components, variances, total, count, dtype) -> PCA:
    """The result: directions that are ones, with the sign rule, and the noise that is left."""
    n, d = components.shape
    rounding = max(10, np.sqrt(d)) * np.finfo(dtype).eps  # of a sum of products
    rank = int((variances > rounding * max(variances[0], 0)).sum())
    if rank < n:
        raise ValueError(
            f"the rows vary in {rank} direction(s) only, to rounding, but n asks for {n}"
        )
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(n), largest])
    left = total - variances.sum()
    noise = left / (d - n) if d > n and left > rounding * total else 0.0
    return PCA(
        mean.astype(dtype),
        (components * signs[:, None]).astype(dtype),
        variances.astype(dtype),
        float(noise),
        count,
    )


def _by_gram(x: Array, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of squares along the components, and these, from the smaller matrix of products."""
    wide = x.shape[1] > x.shape[0]
    products = np.asarray(_products(x.T if wide else x), np.float64)
    values, vectors = leading(products, n)
    if not wide:
        return values, vectors
    # A row of the result is a mixture of rows, of length the root of its sum of squares.
    components = np.asarray(jnp.asarray(vectors.astype(x.dtype)) @ x, np.float64)
    lengths = np.linalg.norm(components, axis=1, keepdims=True)
    return values, components / np.where(lengths > 0, lengths, 1)


def leading(
    products: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The n largest eigenvalues (n,) of a symmetric matrix, falling, and eigenvectors (n, d)."""
    d = len(products)
    values, vectors = linalg.eigh(products, subset_by_index=[d - n, d - 1])
    return np.maximum(values[::-1], 0), vectors[:, ::-1].T


@jax.jit
def _products(x: Array) -> Array:
    return jnp.matmul(x.T, x, precision=jax.lax.Precision.HIGHEST)


def _by_range(
    x: Array, start: Array, n: int, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same from the rows' range, found by powers of their products."""
    small = np.asarray(_range(x, start, steps=steps), np.float64)  # (width, d)
    _, values, vectors = linalg.svd(small, full_matrices=False)
    return values[:n] ** 2, vectors[:n]


@partial(jax.jit, static_argnames="steps")
def _range(x, start, *, steps):
    high = jax.lax.Precision.HIGHEST

    def orthogonal(directions):
        return jnp.linalg.qr(jnp.matmul(x, directions, precision=high))[0]

    def there_and_back(_, span):
        return orthogonal(jnp.linalg.qr(jnp.matmul(x.T, span, precision=high))[0])

    span = jax.lax.fori_loop(0, steps, there_and_back, orthogonal(start))
    return jnp.matmul(span.T, x, precision=high)
