"""Are synthetic images among real ones, and are all kinds of real images among them?"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import check_level, check_whole
from jaxmed.stats.diagnostic._proportion import proportion
from jaxmed.stats.means._summary import mean
from jaxmed.stats.synthetic._checked import feature_sets, named

_HELD = "over these images, the other set as it is"


class PrecisionRecall(NamedTuple):
    """How far two manifolds overlap.

    Attributes:
        precision: share of synthetic images within the real images' manifold: are they plausible.
        recall: share of real images within the synthetic images' manifold: are all kinds drawn.
    """

    precision: Estimate
    recall: Estimate


class DensityCoverage(NamedTuple):
    """How densely synthetic images lie about real ones.

    Attributes:
        density: mean number of real neighbourhoods that a synthetic image is in, over k: 1 in
            expectation for images of one distribution, and above 1 for those that crowd.
        coverage: share of real images that have a synthetic one in their neighbourhood.
    """

    density: Estimate
    coverage: Estimate


def precision_recall(
    real: ArrayLike, synthetic: ArrayLike, *, extractor: str, k: int = 3, level: float = 0.95
) -> PrecisionRecall:
    """Estimate precision and recall of a generator, by balls about features.

    A set's manifold is the union of balls about its images, each as large as the distance to its
    k-th nearest other image. Both numbers fall as images get fewer: read them beside those of as
    many real images (:func:`synthetic_quality`). One outlier among the real images has a ball that
    takes in almost anything; :func:`density_coverage` does not mind it.

    Args:
        real: (n, f) features of real images that the generator has not seen.
        synthetic: (m, f) features of drawn ones.
        extractor: name of the network whose features these are.
        k: neighbour whose distance is the radius.
        level: confidence level of Wilson's intervals, over the images that are asked about.

    Returns:
        Both estimates.

    Raises:
        ValueError: a set of k images or fewer, NaN, or features of different numbers.

    References:
        Kynkaanniemi et al. (2019), Improved precision and recall metric for assessing generative
        models, NeurIPS.

    Examples:
        >>> real = [[0.0], [1.0], [2.0], [9.0]]
        >>> found = precision_recall(real, [[0.5], [1.5]], extractor="one number", k=1)
        >>> found.precision.value, found.recall.value
        (1.0, 0.75)
    """
    check_level(level)
    found = _found(real, synthetic, k)
    return PrecisionRecall(
        _share(found.inside > 0, named("precision", extractor), level),
        _share(found.reached, named("recall", extractor), level),
    )


def density_coverage(
    real: ArrayLike, synthetic: ArrayLike, *, extractor: str, k: int = 5, level: float = 0.95
) -> DensityCoverage:
    """Estimate density and coverage of a generator, by balls about real images' features.

    Args:
        real: (n, f) features of real images that the generator has not seen.
        synthetic: (m, f) features of drawn ones.
        extractor: name of the network whose features these are.
        k: neighbour whose distance is the radius.
        level: confidence level, over the images that are asked about.

    Returns:
        Both estimates.

    Raises:
        ValueError: a set of k images or fewer, NaN, or features of different numbers.

    References:
        Naeem et al. (2020), Reliable fidelity and diversity metrics for generative models, ICML.

    Examples:
        >>> real = [[0.0], [1.0], [2.0], [9.0]]
        >>> found = density_coverage(real, [[0.5], [1.5]], extractor="one number", k=1)
        >>> found.density.value, found.coverage.value
        (2.0, 0.75)
    """
    check_level(level)
    found = _found(real, synthetic, k)
    density = mean(found.inside / k, level=level, unit="image", name=named("density", extractor))
    return DensityCoverage(
        _noted(density), _share(found.covered, named("coverage", extractor), level)
    )


def _found(real: ArrayLike, synthetic: ArrayLike, k: int) -> quantities.Neighbourhoods:
    k = check_whole(k, "k", 1)
    x, y = feature_sets(k + 1, f"neighbour {k}", real=real, synthetic=synthetic)
    return quantities.neighbourhoods(x, y, k)


def _share(hits: np.ndarray, name: str, level: float) -> Estimate:
    return _noted(proportion(int(hits.sum()), len(hits), level=level, unit="image", name=name))


def _noted(estimate: Estimate) -> Estimate:
    return dataclasses.replace(estimate, notes=(*estimate.notes, _HELD))
