"""Decomposition of predictive uncertainty into aleatoric and epistemic parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.bayes._check import probabilities
from jaxmed.stats.checks import Floats, check_level, finite


class Decomposition(NamedTuple):
    """Predictive uncertainty of each case or voxel, and its parts.

    mean: mean prediction; total = aleatoric + epistemic, in nats for classes and in the target's
    unit squared for numbers.
    """

    mean: Floats
    total: Floats
    aleatoric: Floats
    epistemic: Floats


def decompose(sample_probs: ArrayLike, *, clip: float = 1e-12) -> Decomposition:
    r"""Split the predictive entropy of sampled class probabilities.

    .. math:: \underbrace{H\left[\tfrac1S \sum_s p_s\right]}_\text{total} =
        \underbrace{\tfrac1S \sum_s H[p_s]}_\text{aleatoric} +
        \underbrace{I[y; \theta]}_\text{epistemic}

    Args:
        sample_probs: (samples, ..., classes): cases, or every voxel of cases.
        clip: lower bound of probabilities in the logarithm.

    Returns:
        Arrays (...), and the mean (..., classes). Their sum is exact. With a single sample the
        epistemic part is 0 by construction.

    Raises:
        ValueError: for logits, NaN, or sums that are not 1.

    References:
        Depeweg et al. (2018), Decomposition of uncertainty in Bayesian deep learning, ICML.

    Examples:
        >>> d = decompose([[[0.9, 0.1]], [[0.1, 0.9]]])
        >>> d.total.round(3), d.aleatoric.round(3), d.epistemic.round(3)
        (array([0.693]), array([0.325]), array([0.368]))
    """
    p = np.asarray(sample_probs)
    if p.ndim < 3:
        raise ValueError(
            f"sample_probs must be (samples, ..., classes) of rank 3 or more, not {p.shape}"
        )
    p = probabilities(p, "sample_probs", ndim=None)
    mean = p.mean(axis=0)
    total = np.abs(-(mean * np.log(np.clip(mean, clip, 1.0))).sum(axis=-1))
    inside = np.zeros_like(total)
    for one in (
        p
    ):  # one sample at a time: the entropies of all voxels of all samples may not fit in memory
        inside += np.abs(-(one * np.log(np.clip(one, clip, 1.0))).sum(axis=-1))
    inside /= len(p)
    return Decomposition(mean, total, inside, total - inside)


def decompose_normal(means: ArrayLike, scales: ArrayLike | float) -> Decomposition:
    r"""Split the variance of sampled normal predictions (law of total variance).

    .. math:: \text{Var}[y] = \tfrac1S \sum_s \sigma_s^2 + \tfrac1S \sum_s (\mu_s - \bar\mu)^2

    Args:
        means: (samples, ...).
        scales: standard deviations of the noise, broadcastable to `means`.

    Returns:
        The parts.

    References:
        Lakshminarayanan et al. (2017), NeurIPS. Kendall and Gal (2017), NeurIPS.

    Examples:
        >>> decompose_normal([[0.0], [2.0]], 1.0).total
        array([2.])
    """
    m = finite(means, "means", ndim=None)
    s = np.broadcast_to(finite(scales, "scales", ndim=None), m.shape)
    if s.min() < 0:
        raise ValueError(f"scales must be 0 or more, but one is {s.min():g}")
    noise, spread = (s**2).mean(axis=0), m.var(axis=0)
    return Decomposition(m.mean(axis=0), noise + spread, noise, spread)


class StructureUncertainty(NamedTuple):
    """Uncertainty of each predicted structure.

    label: (structures,) class; voxels: number predicted; total, aleatoric, epistemic: means
    over them (NaN for none); volume, volume_sd: mean and standard deviation over samples of the
    structure's size, in voxels times `voxel_volume`; volume_cv: their ratio; pairwise_dice: mean
    Dice between the samples' masks, low where samples disagree on the shape.
    """

    label: np.ndarray
    voxels: np.ndarray
    total: Floats
    aleatoric: Floats
    epistemic: Floats
    volume: Floats
    volume_sd: Floats
    volume_cv: Floats
    pairwise_dice: Floats


def structure_uncertainty(
    sample_probs: ArrayLike, *, voxel_volume: float = 1.0, background: bool = False
) -> StructureUncertainty:
    """Aggregate voxel uncertainty of one case by predicted structure.

    Args:
        sample_probs: (samples, *spatial, classes) of one case.
        voxel_volume: volume of one voxel, e.g. in mm3.
        background: whether class 0 is a structure.

    Returns:
        One row per structure. Means over a whole image mostly measure the size of the background;
        these do not.

    Raises:
        ValueError: as `decompose`.

    References:
        Roy et al. (2019), Bayesian QuickNAT, NeuroImage 195:11.

    Examples:
        >>> p = np.tile([[0.1, 0.9]], (3, 4, 1))
        >>> u = structure_uncertainty(p, voxel_volume=2.0)
        >>> u.volume, u.volume_sd, u.pairwise_dice
        (array([8.]), array([0.]), array([1.]))
    """
    parts = decompose(sample_probs)
    p = np.asarray(sample_probs)
    samples, classes = len(p), p.shape[-1]
    called = parts.mean.argmax(axis=-1)
    each = p.argmax(axis=-1).reshape(samples, -1)
    rows = []
    for c in range(0 if background else 1, classes):
        inside = called == c
        sizes = (each == c).sum(axis=1) * voxel_volume
        means = [
            float(x[inside].mean()) if inside.any() else float("nan")
            for x in (parts.total, parts.aleatoric, parts.epistemic)
        ]
        volume, sd = float(sizes.mean()), float(sizes.std(ddof=1)) if samples > 1 else 0.0
        rows.append(
            [
                c,
                int(inside.sum()),
                *means,
                volume,
                sd,
                sd / volume if volume > 0 else float("nan"),
                _pairwise_dice(each == c),
            ]
        )
    columns = np.array(rows, dtype=np.float64).T
    return StructureUncertainty(columns[0].astype(int), columns[1].astype(int), *columns[2:])


def _pairwise_dice(masks: np.ndarray) -> float:
    m = masks.astype(np.float64)
    n = len(m)
    if n < 2:
        return 1.0
    both, size = m @ m.T, m.sum(axis=1)
    pairs = quantities.dice(both, size[:, None], size[None], empty=1.0)
    return float((pairs.sum() - np.trace(pairs)) / (n * (n - 1)))


class Propagated(NamedTuple):
    """A derived quantity with its propagated uncertainty.

    mean, sd, lower, upper: (...,) of the quantity; level; draws: (samples, ...).
    """

    mean: Floats
    sd: Floats
    lower: Floats
    upper: Floats
    level: float
    draws: Floats


def propagate(
    quantity: Callable[..., ArrayLike], *samples: ArrayLike, level: float = 0.95
) -> Propagated:
    """Propagate samples to a derived quantity: a volume, an ejection fraction, a growth rate.

    Args:
        quantity: function of one sample (of each argument), returning a number or an array.
        *samples: arrays with a leading axis of samples, drawn jointly: the i-th of each belong
            together, as both phases of an ejection fraction must come from one draw of parameters.
        level: probability of the equal-tailed interval.

    Returns:
        The quantity's mean, standard deviation and interval. The interval reflects the parameter
        posterior and has no coverage guarantee; for one see `fit_intervals` with `scale=sd`.

    Raises:
        ValueError: if a draw of the quantity is NaN or infinite, or the numbers of samples differ.

    Examples:
        >>> end_diastole, end_systole = np.array([120.0, 110.0]), np.array([60.0, 44.0])
        >>> f = propagate(lambda d, s: 100 * (d - s) / d, end_diastole, end_systole)
        >>> float(f.mean), f.draws
        (55.0, array([50., 60.]))
    """
    check_level(level)
    arrays = [np.asarray(s) for s in samples]
    if not arrays or len({len(s) for s in arrays}) != 1:
        raise ValueError(f"numbers of samples differ: {[len(s) for s in arrays]}")
    made: list[Any] = [quantity(*one) for one in zip(*arrays, strict=True)]
    draws = finite(made, "the quantity", ndim=None)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    sd = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.zeros(draws.shape[1:])
    return Propagated(draws.mean(axis=0), sd, low, high, level, draws)
