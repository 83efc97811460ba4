"""Maps of a trained network's features, for a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.report.figures._projection import projections
from jaxmed.report.results._parts import FeatureMaps
from jaxmed.stats import checks


def feature_maps(
    features: ArrayLike,
    *,
    images: Any = None,
    rows: ArrayLike | None = None,
    groups: Sequence[Any] | None = None,
    what: str = "features",
    least: int = 50,
    most: int = 1000,
    k: int = 10,
    level: float = 0.95,
    seed: int = 0,
) -> FeatureMaps | None:
    """Map features of the cases of a classification by components, by chance and by t-SNE.

    ``results.replace(maps=feature_maps(features, images=images))`` shows them in the report, by
    :func:`~jaxmed.report.projection_figure`, in the colours of the true classes. Features are best
    those before the last layer, of cases that the network has not learned from.

    Args:
        features: (n, ...) of each case, in the results' order.
        images: ``images[i]`` is the image of row i, for thumbnails.
        rows: (n,) positions of these cases among the results', where they are not all of them.
        groups: (n,) patient of each, for the interval of trustworthiness.
        what: what is mapped, in words.
        least: cases below which there are no maps.
        most: cases that are mapped, drawn at random if there are more.
        k: neighbours by which trustworthiness is measured.
        level: confidence level.
        seed: of that draw and of the random projection.

    Returns:
        The maps; None of fewer cases than ``least``, or where features vary in fewer than two
        directions, as those of a network that has learned nothing may.

    Raises:
        ValueError: for features that are not finite, or lengths that differ.
    """
    x = checks.finite(features, "features", ndim=None)
    x = x.reshape(len(x), -1)
    places = np.arange(len(x)) if rows is None else np.asarray(rows)
    checks.same_length(features=x, rows=places, images=images, groups=groups)
    if len(x) < max(least, 2 * k + 1):
        return None
    kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:most])
    x = x[kept]
    if np.linalg.matrix_rank(x - x.mean(axis=0)) < 2:
        return None
    patients = None if groups is None else [groups[int(i)] for i in kept]
    return FeatureMaps(
        projections(x, k=k, level=level, groups=patients, seed=seed),
        places[kept],
        None if images is None else [np.asarray(images[int(i)]) for i in kept],
        what,
    )
