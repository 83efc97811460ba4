"""Proper scores of sampled and normal predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats.checks import Floats, finite


def normal_log_score(
    targets: ArrayLike, mean: ArrayLike, sd: ArrayLike, *, rounding: float = 0.0
) -> Floats:
    """Return the negative log density of a normal prediction, in nats.

    Args:
        targets: (...,).
        mean: mean of the prediction, broadcastable.
        sd: standard deviation of the prediction, positive.
        rounding: the step that targets were rounded to, in their unit; 0 for none. The density is
            then the probability of the interval around the target, divided by the step.

    Raises:
        ValueError: for NaN, a standard deviation that is not positive, or a negative step.

    Examples:
        >>> normal_log_score([0.0], 0.0, 1.0).round(4)
        array([0.9189])
        >>> normal_log_score([0.0], 0.0, 0.01, rounding=1.0).round(4) + 0.0
        array([0.])
    """
    y, m, s = (finite(x, n, ndim=None) for x, n in _named(targets, mean, sd))
    if s.min() <= 0:
        raise ValueError(f"sd must be positive, but its least is {s.min():g}")
    if not rounding >= 0:
        raise ValueError(f"rounding must be a step of 0 or more, got {rounding!r}")
    if rounding == 0:
        return 0.5 * np.log(2 * np.pi * s**2) + 0.5 * ((y - m) / s) ** 2
    # In the lower tail, where a difference of log normal probabilities keeps its digits.
    middle, half = -np.abs((y - m) / s), 0.5 * rounding / s
    high, low = special.log_ndtr(middle + half), special.log_ndtr(middle - half)
    return np.log(rounding) - high - np.log(-np.expm1(low - high))


def _named(targets: ArrayLike, mean: ArrayLike, sd: ArrayLike):
    return (targets, "targets"), (mean, "mean"), (sd, "sd")


def mixture_log_score(
    targets: ArrayLike, means: ArrayLike, sds: ArrayLike, *, rounding: float = 0.0
) -> Floats:
    r"""Return the negative log density of a mixture of sampled normals.

    .. math:: -\log \tfrac1S \sum_s N(y; \mu_s, \sigma_s^2)

    Args:
        targets: (...,).
        means: (samples, ...).
        sds: standard deviations of the noise, broadcastable to `means`.
        rounding: as in `normal_log_score`.

    Examples:
        >>> mixture_log_score([0.0], [[0.0], [0.0]], 1.0).round(4)
        array([0.9189])
    """
    m = finite(means, "means", ndim=None)
    sd = np.broadcast_to(sds, m.shape)
    each = normal_log_score(np.asarray(targets)[None], m, sd, rounding=rounding)
    return np.log(len(m)) - special.logsumexp(-each, axis=0)


def crps_normal(targets: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> Floats:
    """Return the continuous ranked probability score of a normal prediction, in its unit.

    Args:
        targets: (...,).
        mean: mean of the prediction.
        sd: standard deviation of the prediction, positive.

    References:
        Gneiting and Raftery (2007), JASA 102:359.

    Examples:
        >>> crps_normal([0.0], 0.0, 1.0).round(4)
        array([0.2337])
    """
    y, m, s = (finite(x, n, ndim=None) for x, n in _named(targets, mean, sd))
    if s.min() <= 0:
        raise ValueError(f"sd must be positive, but its least is {s.min():g}")
    z = (y - m) / s
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return s * (z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def crps_samples(targets: ArrayLike, samples: ArrayLike, *, fair: bool = False) -> Floats:
    r"""Return the continuous ranked probability score of a sample.

    .. math:: \tfrac1S \sum_s |x_s - y| - \tfrac{1}{2 S^2} \sum_{s,t} |x_s - x_t|

    Args:
        targets: (...,).
        samples: (samples, ...) of predictions (with their noise).
        fair: divide the second sum by S(S - 1): unbiased for the sampled distribution.

    Examples:
        >>> crps_samples([0.0], [[-1.0], [1.0]])
        array([0.5])
    """
    x = np.sort(finite(samples, "samples", ndim=None), axis=0)
    y = finite(targets, "targets", ndim=None)
    n = len(x)
    # Sum over pairs of sorted values, each weighted by its rank.
    rank = (2 * np.arange(1, n + 1) - n - 1).reshape((n,) + (1,) * (x.ndim - 1))
    pairs = 2 * (rank * x).sum(axis=0)
    divide = n * (n - 1) if fair else n * n
    return np.abs(x - y[None]).mean(axis=0) - pairs / (2 * divide)
