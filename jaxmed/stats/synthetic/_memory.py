"""Are synthetic images copies of training images?"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, check_level, check_rate, check_whole
from jaxmed.stats.diagnostic._auc import auc
from jaxmed.stats.diagnostic._proportion import proportion
from jaxmed.stats.resampling._bootstrap import interval_from_replicates
from jaxmed.stats.synthetic._checked import feature_sets, named


class Memorised(NamedTuple):
    """How near synthetic images come to training images, beside held-out images.

    Attributes:
        copies: share of synthetic images nearer to a training image than all but a small share
            (`quantile`) of held-out images are. Of images that are not copied that share is the
            `quantile`.
        nearer: probability that a synthetic image is nearer to its nearest training image than a
            held-out image is to its own: 1/2 where nothing is copied, 1 where all is; below 1/2
            where synthetic images are far from all real ones.
        unauthentic: share of synthetic images nearer to a training image than this one is to any
            other training image.
        held_out_unauthentic: the same share of held-out images.
        nearest: (m,) position of each synthetic image's nearest training image.
        distance: (m,) to it.
        held_out_distance: (h,) each held-out image's distance to its nearest training image.
        threshold: the distance below which an image counts among `copies`.
        quantile: of `held_out_distance`.
    """

    copies: Estimate
    nearer: Estimate
    unauthentic: Estimate
    held_out_unauthentic: Estimate
    nearest: NDArray[np.intp]
    distance: Floats
    held_out_distance: Floats
    threshold: float
    quantile: float


def memorised(
    train: ArrayLike,
    held_out: ArrayLike,
    synthetic: ArrayLike,
    *,
    extractor: str,
    quantile: float = 0.05,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Memorised:
    """Ask whether synthetic images are copies of training images, by their nearest neighbours.

    How near a training image is near is told by held-out images, which cannot be copies: they must
    be of other patients, and near-duplicates across the split pose as memory, on both sides.

    Args:
        train: (n, f) features of the images that the generator has learned from.
        held_out: (h, f) of real images that it has not seen.
        synthetic: (m, f) of drawn images.
        extractor: name of the network whose features these are.
        quantile: share of held-out images that count as near; it is what `copies` is compared with.
        level: confidence level. The interval of `copies` joins a bootstrap of the held-out images
            with Jeffreys' of the share, that of `nearer` is DeLong's, the others are Wilson's.
        n_resamples: of that bootstrap.
        seed: of the resamples.

    Returns:
        The shares, and who is whose neighbour.

    Raises:
        ValueError: fewer than two images of a set, held-out images too few for the quantile, NaN,
            or features of different numbers.

    References:
        Dar et al. (2024), Unconditional latent diffusion models memorize patient imaging data,
        Nature Biomedical Engineering. Alaa et al. (2022), How faithful is your synthetic data?,
        ICML: authenticity. Meehan et al. (2020), A non-parametric test to detect data-copying in
        generative models, AISTATS: the comparison with held-out data.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> train, held_out, new = rng.normal(size=(3, 200, 4))
        >>> copied = train + 0.01 * new
        >>> memorised(train, held_out, copied, extractor="four numbers").copies.value
        1.0
        >>> e = memorised(train, held_out, new, extractor="four numbers").copies
        >>> bool(e.lower < 0.05 < e.upper)
        True
    """
    check_level(level)
    check_rate(quantile, "quantile")
    n_resamples = check_whole(n_resamples, "n_resamples", 1)
    names = {
        part: named(part, extractor)
        for part in ("copies", "nearer than held-out", "unauthentic", "held-out unauthentic")
    }
    known, others, drawn = feature_sets(
        2, "a nearest neighbour", train=train, held_out=held_out, synthetic=synthetic
    )
    if quantile * len(others) < 1:
        raise ValueError(
            f"held_out has {len(others)} images, of which the share {quantile:g} is less than one: "
            "give more, or a larger quantile"
        )
    found, real = quantities.nearest_rows(drawn, known), quantities.nearest_rows(others, known)
    threshold = float(np.quantile(real.distance, quantile))
    nearer = auc(
        np.repeat([1, 0], [len(drawn), len(others)]),
        -np.concatenate([found.distance, real.distance]),
        level=level,
        unit="image",
    )
    own = quantities.nearest_rows(known).distance
    unauthentic = {
        which: proportion(
            int((of.distance < own[of.index]).sum()), len(of.index), level=level, unit="image",
            name=names[which],
        )
        for which, of in (("unauthentic", found), ("held-out unauthentic", real))
    }  # fmt: skip
    return Memorised(
        _copies(found.distance, real.distance, quantile, level, n_resamples, seed, names["copies"]),
        dataclasses.replace(nearer, name=names["nearer than held-out"]),
        unauthentic["unauthentic"],
        unauthentic["held-out unauthentic"],
        found.index,
        found.distance,
        real.distance,
        threshold,
        quantile,
    )


def _copies(
    drawn: Floats, real: Floats, share: float, level: float, n_resamples: int, seed: int, name: str
) -> Estimate:
    """The share of drawn images nearer than a quantile of the real ones.

    Held-out images are resampled; given their quantile, the share is drawn from its posterior, so
    that none of m is not known to be none at all.
    """
    rng = np.random.default_rng(seed)
    n = len(drawn)
    ordered = np.sort(drawn)
    value = float(np.searchsorted(ordered, np.quantile(real, share)) / n)
    thresholds = np.quantile(rng.choice(real, (n_resamples, len(real))), share, axis=1)
    hits = np.searchsorted(ordered, thresholds)
    rates = rng.beta(hits + 0.5, n - hits + 0.5)
    low, high = interval_from_replicates(value, rates, method="percentile", level=level)
    return Estimate(
        value, min(low, value), max(high, value), level, n, "image",
        "bootstrap of held-out images, Jeffreys", (f"without copies it is {share:g}",),
        details={"held-out": len(real), "expected": share}, name=name,
    )  # fmt: skip
