"""All numbers of a set of synthetic images, each with that of real images beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats
from jaxmed.stats.synthetic._checked import feature_sets
from jaxmed.stats.synthetic._distances import frechet_distance, kernel_distance
from jaxmed.stats.synthetic._memory import Memorised, memorised
from jaxmed.stats.synthetic._neighbourhoods import density_coverage, precision_recall


class Judged(NamedTuple):
    """A number of synthetic images, and of real images in their place.

    Attributes:
        found: of the synthetic images, against held-out ones.
        floor: of as many training images, against the same held-out ones: what a generator that
            draws from the very distribution would have.
    """

    found: Estimate
    floor: Estimate


class SyntheticQuality(NamedTuple):
    """What is said of a set of synthetic images.

    Attributes:
        measures: by name: `kernel_distance`, `frechet_distance`, `precision`, `recall`, `density`,
            `coverage`.
        memorised: how near they come to training images.
        extractor: the network whose features were taken.
    """

    measures: dict[str, Judged]
    memorised: Memorised
    extractor: str


def synthetic_quality(
    train: ArrayLike,
    held_out: ArrayLike,
    synthetic: ArrayLike,
    *,
    extractor: str,
    level: float = 0.95,
    quantile: float = 0.05,
    seed: int = 0,
) -> SyntheticQuality:
    """Measure synthetic images against held-out ones, and training images in their place.

    Nothing is measured against training images but copying: a generator that gives them back has
    perfect distances to them. Both sets that stand beside each other are of one size: of the larger
    one some are drawn, without replacement.

    Args:
        train: (n, f) features of the images that the generator has learned from.
        held_out: (h, f) of real images that it has not seen, of other patients.
        synthetic: (m, f) of drawn images; as many as training images, best.
        extractor: name of the network whose features these are.
        level: confidence level.
        quantile: see :func:`memorised`.
        seed: of what is drawn, dealt and resampled.

    Returns:
        All numbers.

    Raises:
        ValueError: see :func:`frechet_distance`, :func:`precision_recall`, :func:`memorised`.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> train, held_out, drawn = rng.normal(size=(3, 100, 4))
        >>> found = synthetic_quality(train, held_out, 0.5 * drawn, extractor="four numbers")
        >>> d = found.measures["frechet_distance"]
        >>> bool(d.floor.upper < d.found.lower)
        True
    """
    known, others, drawn = feature_sets(
        6, "neighbour 5", train=train, held_out=held_out, synthetic=synthetic
    )
    n = min(len(known), len(drawn))
    beside = {"found": _some(drawn, n, seed), "floor": _some(known, n, seed)}
    options = {"extractor": extractor, "level": level}
    measures: dict[str, dict[str, Estimate]] = {}
    for which, rows in beside.items():
        both = precision_recall(others, rows, **options)
        dense = density_coverage(others, rows, **options)
        for name, estimate in {
            "kernel_distance": kernel_distance(others, rows, **options),
            "frechet_distance": frechet_distance(others, rows, seed=seed, **options),
            **both._asdict(),
            **dense._asdict(),
        }.items():
            measures.setdefault(name, {})[which] = estimate
    return SyntheticQuality(
        {name: Judged(**both) for name, both in measures.items()},
        memorised(known, others, drawn, quantile=quantile, seed=seed, **options),
        extractor,
    )


def _some(rows: Floats, n: int, seed: int) -> Floats:
    """All rows, or n of them."""
    if len(rows) == n:
        return rows
    return rows[np.random.default_rng(seed).choice(len(rows), n, replace=False)]
