"""Clusters, densities and components against scikit-learn and SciPy, from the same starts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks._case import Case, Options, Run, UnavailableError
from jaxmed import unsupervised as un

KEY = jax.random.key(0)


def cases(options: Options) -> list[Case]:
    """Every case of the suite; sizes are those of the published targets."""
    q = options.quick
    return [
        _lloyd(*((200, 4, 3) if q else (100_000, 64, 50))),
        _starts(*((200, 4, 3) if q else (100_000, 64, 50))),
        _density(*((200, 20) if q else (20_000, 2_000))),
        _components(*((60, 12, 3) if q else (20_000, 784, 50))),
        _map(60 if q else 500),
    ]


def _sklearn() -> Any:
    try:
        import sklearn.cluster
        import sklearn.decomposition
        import sklearn.manifold
        import sklearn.neighbors
    except ImportError:
        raise UnavailableError("scikit-learn: pip install scikit-learn") from None
    return sklearn


def _quiet(call: Callable[[], Any]) -> Callable[[], Any]:
    """It warns that 20 iterations or one do not converge, as is meant here."""

    def run() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()

    return run


def _blobs(n: int, d: int, k: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(k, d))
    return (centres[rng.integers(0, k, n)] + rng.normal(size=(n, d))).astype(np.float32)


def _lloyd(n: int, d: int, k: int) -> Case:
    x = _blobs(n, d, k)

    def ours() -> float:
        return un.kmeans(KEY, x, k, start=x[:k], max_steps=20, tolerance=0).inertia

    def peer() -> Run:
        sk = _sklearn()

        def theirs() -> float:
            options: dict[str, Any] = {"n_init": 1, "max_iter": 20, "tol": 0, "algorithm": "lloyd"}
            return sk.cluster.KMeans(k, init=x[:k], **options).fit(x).inertia_

        return Run(_quiet(theirs), _quiet(theirs))

    return Case(
        f"20 iterations of Lloyd, {n:,} x {d}, k = {k}",
        {"jaxmed": lambda: Run(ours, ours), "scikit-learn": peer},
        "k-means",
        tolerance=1e-4,
    )


def _starts(n: int, d: int, k: int) -> Case:
    """Greedy k-means++ and one iteration: both draw 2 + log(k) rows a round."""
    x = _blobs(n, d, k)

    def ours() -> float:
        return un.kmeans(KEY, x, k, max_steps=1).inertia

    def peer() -> Run:
        sk = _sklearn()

        def theirs() -> float:
            return sk.cluster.KMeans(k, n_init=1, max_iter=1, random_state=0).fit(x).inertia_

        return Run(_quiet(theirs))

    return Case(
        f"k-means++ and one iteration, {n:,} x {d}, k = {k}",
        {"jaxmed": lambda: Run(ours), "scikit-learn": peer},
        "k-means",
    )


def _density(n: int, queries: int) -> Case:
    """An exact density; scikit-learn's tree is not, and its log densities are off by nats."""
    rng = np.random.default_rng(0)
    x, at = rng.normal(size=(n, 8)), rng.normal(size=(queries, 8))

    def ours() -> np.ndarray:
        return un.kde(x, bandwidth=0.3).log_density(at)

    def peer() -> Run:
        sk = _sklearn()
        return Run(lambda: sk.neighbors.KernelDensity(bandwidth=0.3).fit(x).score_samples(at))

    return Case(
        f"density of {n:,} points at {queries:,}, d = 8",
        {"jaxmed": lambda: Run(ours), "scikit-learn": peer},
        "density",
    )


def _components(n: int, d: int, k: int) -> Case:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5).astype(np.float32)

    def ours() -> np.ndarray:
        return un.pca(x, k).variances

    def peer() -> Run:
        sk = _sklearn()

        def theirs() -> np.ndarray:
            return sk.decomposition.PCA(k, svd_solver="covariance_eigh").fit(x).explained_variance_

        return Run(theirs, theirs)

    return Case(
        f"{k} principal components of {n:,} x {d}",
        {"jaxmed": lambda: Run(ours, ours), "scikit-learn": peer},
        "components",
    )


def _map(n: int) -> Case:
    x = _blobs(n, 16, 5)

    def ours() -> float:
        return un.tsne(KEY, x, perplexity=15, steps=250).divergence

    def peer() -> Run:
        sk = _sklearn()
        options: dict[str, Any] = {"perplexity": 15, "max_iter": 250, "random_state": 0}
        return Run(lambda: sk.manifold.TSNE(method="exact", init="pca", **options).fit(x))

    return Case(
        f"exact t-SNE of {n:,} rows, 250 steps",
        {"jaxmed": lambda: Run(ours), "scikit-learn": peer},
        "map",
    )
