"""How many clusters: silhouette, gap, stability."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities, stats
from jaxmed.core import Key, stream
from jaxmed.stats import checks
from jaxmed.unsupervised._rows import rows
from jaxmed.unsupervised._seed import numpy_seed
from jaxmed.unsupervised.clusters._agreement import partition_pairs
from jaxmed.unsupervised.clusters._kmeans import KMeans, kmeans
from jaxmed.unsupervised.clusters._silhouette import silhouettes


class ChosenK(NamedTuple):
    """A number of clusters, and what speaks for it.

    Attributes:
        k: the number chosen.
        scores: by number of clusters, with its interval.
        models: by number of clusters, fitted to all rows.
        method: by which it was chosen.
    """

    k: int
    scores: dict[int, stats.Estimate]
    models: dict[int, KMeans]
    method: str


def choose_k(
    key: Key,
    x: ArrayLike,
    ks: Iterable[int] = range(2, 11),
    *,
    method: Literal["silhouette", "gap", "stability"] = "silhouette",
    restarts: int = 3,
    n_resamples: int = 20,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> ChosenK:
    """Choose the number of clusters of k-means.

    - ``"silhouette"``: the mean silhouette is largest. Its interval is that of a mean over rows,
      the clusters being given. It needs two clusters or more.
    - ``"gap"``: by how much the logarithm of the inertia lies below that of uniform points in the
      data's box, turned to its principal axes. The least k is chosen whose gap is not below the
      next one's less its standard error of simulation, as Tibshirani, Walther and Hastie choose.
      The interval is a bootstrap's over rows, refitted from the clusters found, and widened by the
      error of simulation. One cluster may be chosen.
    - ``"stability"``: the mean adjusted Rand index of two clusterings of all rows, each learned
      from a bootstrap sample of its own, is largest. The interval is that of a mean over pairs.

    The score of the number chosen is the best of several, and so too good: measure it on other
    data.

    Args:
        key: random key.
        x: (n, ...) rows.
        ks: the numbers tried.
        method: how they are judged.
        restarts: of each k-means.
        n_resamples: reference sets and bootstrap samples of the gap, pairs of the stability.
        groups: (n,) patient of each row, to be drawn whole by the bootstrap.
        level: confidence level.

    Returns:
        The number, the scores and the clusterings.

    Raises:
        ValueError: for an unknown method, or a number that cannot be judged.

    References:
        Rousseeuw (1987), Journal of Computational and Applied Mathematics 20:53. Tibshirani,
        Walther and Hastie (2001), Estimating the number of clusters in a data set via the gap
        statistic, Journal of the Royal Statistical Society B 63:411. Ben-Hur, Elisseeff and Guyon
        (2002), A stability based method for discovering structure in clustered data, Pacific
        Symposium on Biocomputing.

    Examples:
        >>> import jax
        >>> x = np.concatenate([np.random.default_rng(0).normal(m, 1, 40) for m in (0, 9, 18)])
        >>> choose_k(jax.random.key(0), x, range(2, 5)).k
        3
    """
    given = rows(x, minimum=3)
    wanted = sorted({checks.check_whole(k, "ks", 1) for k in ks})
    if not wanted:
        raise ValueError("ks names no number of clusters")
    judges = {"silhouette": _silhouettes, "gap": _gaps, "stability": _stabilities}
    if method not in judges:
        raise checks.unknown("method", method, judges)
    if method == "gap":
        _check_consecutive(wanted)
    elif wanted[0] < 2:
        raise ValueError(f'{method} cannot judge a single cluster; method="gap" can')
    if wanted[-1] >= len(given):
        raise ValueError(f"ks asks for {wanted[-1]} clusters of {len(given)} rows: give fewer")
    checks.check_level(level)
    n_resamples = checks.check_whole(n_resamples, "n_resamples", 2)
    models = {k: kmeans(stream(key, "fit", k), given, k, restarts=restarts) for k in wanted}
    options: dict[str, Any] = {
        "restarts": restarts, "n_resamples": n_resamples, "groups": groups, "level": level
    }  # fmt: skip
    k, scores = judges[method](key, given, models, **options)
    shape = np.shape(x)[1:] or (1,)
    shaped = {n: m._replace(centres=m.centres.reshape(n, *shape)) for n, m in models.items()}
    return ChosenK(k, scores, shaped, method)


def _best(scores: dict[int, stats.Estimate]) -> int:
    return max(scores, key=lambda k: scores[k].value)


def _silhouettes(key, x, models, *, restarts, n_resamples, groups, level):
    scores = {}
    for k, model in models.items():
        values = silhouettes(x, model.assign(x).labels)
        scores[k] = stats.mean(
            values, bounds=(-1, 1), groups=groups, level=level, name=f"silhouette of {k}"
        )
    return _best(scores), scores


def _stabilities(key, x, models, *, restarts, n_resamples, groups, level):
    draws = stats.draw_resamples(
        len(x), 2 * n_resamples, groups=groups, seed=numpy_seed(key, "stability")
    )
    weights = np.concatenate(list(draws.chunks()))
    scores = {}
    for k in models:
        labels = [
            kmeans(stream(key, "stability", k, b), x, k, restarts=restarts, weight=w)
            .assign(x)
            .labels
            for b, w in enumerate(weights)
        ]
        values = [
            float(quantities.adjusted_rand(*partition_pairs(labels[b], labels[b + 1])))
            for b in range(0, 2 * n_resamples, 2)
        ]
        scores[k] = stats.mean(
            values, bounds=(-1, 1), level=level, unit="pair", name=f"stability of {k}"
        )
    return _best(scores), scores


def _gaps(key, x, models, *, restarts, n_resamples, groups, level):
    x = x.astype(np.float64)
    boxes = [_uniform(x, numpy_seed(key, "reference", b)) for b in range(n_resamples)]
    draws = stats.draw_resamples(len(x), n_resamples, groups=groups, seed=numpy_seed(key, "gap"))
    resamples = np.concatenate(list(draws.chunks()))
    scores, errors = {}, {}
    for k, model in models.items():
        if not model.inertia > 0:
            raise ValueError(f"{k} clusters leave an inertia of 0, whose logarithm has no gap")
        reference = np.log(
            [
                kmeans(stream(key, "reference", k, b), box, k, restarts=restarts).inertia
                for b, box in enumerate(boxes)
            ]
        )
        value = reference.mean() - np.log(model.inertia)
        # The standard deviation over the reference sets is theirs, with divisor B.
        errors[k] = reference.std() * np.sqrt(1 + 1 / n_resamples)
        centres = model.centres.reshape(k, -1)
        again = [
            kmeans(key, x, k, start=centres, weight=w).inertia * (len(x) / w.sum())
            for w in resamples
        ]
        sampled = np.log(np.maximum(again, np.finfo(float).tiny)).std(ddof=1)
        half = checks.quantile(level) * np.hypot(sampled, reference.std() / np.sqrt(n_resamples))
        scores[k] = stats.Estimate(
            float(value), float(value - half), float(value + half), level, draws.k, draws.unit,
            f"normal bootstrap ({n_resamples} resamples, {n_resamples} reference sets)",
            se=float(half / checks.quantile(level)), name=f"gap of {k}",
            details={"simulation": float(errors[k])},
        )  # fmt: skip
    ks = list(scores)
    for k, following in itertools.pairwise(ks):
        if scores[k].value >= scores[following].value - errors[following]:
            return k, scores
    return ks[-1], scores


def _check_consecutive(ks: list[int]) -> None:
    if ks != list(range(ks[0], ks[-1] + 1)):
        raise ValueError(f"the gap compares each k with the next one: ks has gaps of its own, {ks}")


def _uniform(x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """As many uniform points in the box of the data about its principal axes."""
    centre = x.mean(axis=0)
    axes = np.linalg.svd(x - centre, full_matrices=False)[2]
    along = (x - centre) @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    return np.random.default_rng(seed).uniform(low, high, along.shape) @ axes + centre
