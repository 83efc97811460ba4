"""DeLong's test vectorised over simulated or resampled studies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.stats.checks import (
    Floats,
    as_array,
    binary_labels,
    both_classes,
    check_number,
    check_rate,
    check_whole,
)


class DelongBatch(NamedTuple):
    """Per study (studies,): both areas, the difference's error, z and two-sided p."""

    first: Floats
    second: Floats
    se: Floats
    z: Floats
    p_value: Floats


def batch_placements(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return placements of positives (studies, n1), of negatives (studies, n0), and the areas.

    Args:
        positive: (cases,) labels that all studies share.
        scores: (studies, cases).
    """
    studies, n = scores.shape
    n1 = int(positive.sum())
    n0 = n - n1
    order = np.argsort(scores, axis=1)
    ordered = np.take_along_axis(scores, order, axis=1)
    is_positive = positive[order]
    counts = np.cumsum(is_positive, axis=1, dtype=np.int32)
    index = np.arange(n, dtype=np.int32)
    same = ordered[:, 1:] == ordered[:, :-1]
    if same.any():  # ties share the mean of their run's first and last place
        new = np.concatenate([np.ones((studies, 1), bool), ~same], axis=1)
        last = np.concatenate([~same, np.ones((studies, 1), bool)], axis=1)
        start = np.maximum.accumulate(np.where(new, index, 0), axis=1)
        end = np.minimum.accumulate(np.where(last, index, n)[:, ::-1], axis=1)[:, ::-1] + 1
        padded = np.concatenate([np.zeros((studies, 1), np.int32), counts], axis=1)
        positives_below = 0.5 * (
            np.take_along_axis(padded, start, axis=1) + np.take_along_axis(padded, end, axis=1)
        )
        negatives_below = 0.5 * (start + end) - positives_below
    else:
        positives_below = counts - is_positive
        negatives_below = index - positives_below
    places = np.empty((studies, n))
    value = np.where(is_positive, negatives_below, n1 - positives_below)
    np.put_along_axis(places, order, value, axis=1)
    up, down = places[:, positive] / n0, places[:, ~positive] / n1
    return up, down, up.mean(axis=1)


def untied_placements(positives: int, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the placements of all cases, (studies, cases), of scores from a continuous law.

    Args:
        positives: number of positive cases, which come first.
        scores: (studies, cases); ties are broken anyhow.
    """
    n = scores.shape[1]
    order = np.argsort(scores, axis=1)
    is_positive = order < positives
    positives_below = np.cumsum(is_positive, axis=1, dtype=np.int32)
    value = np.where(
        is_positive,
        (np.arange(1, n + 1) - positives_below) / np.float32(n - positives),
        1 - positives_below / np.float32(positives),
    ).astype(np.float32)
    places = np.empty((len(scores), n), np.float32)
    np.put_along_axis(places, order, value, axis=1)
    return places


def delong_batch(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, *, chunk: int = 500_000
) -> DelongBatch:
    """Run the paired DeLong test on many studies of the same labels.

    Args:
        labels: (cases,) 0 or 1.
        first: (studies, cases) scores of one model.
        second: (studies, cases) scores of the other.
        chunk: number of entries processed at a time.

    Returns:
        The areas, errors, z and p-values; z is 0 where the difference has no variance.

    Raises:
        ValueError: for one class only, NaN, or other shapes.

    References:
        DeLong et al. (1988), Biometrics 44:837.

    Examples:
        >>> y = np.arange(20) % 2
        >>> x = np.random.default_rng(0).normal(size=(3, 20))
        >>> delong_batch(y, x, x).p_value
        array([1., 1., 1.])
    """
    positive = binary_labels(labels)
    n1, n0 = both_classes(positive)
    a, b = as_array(first, "first", np.float64), as_array(second, "second", np.float64)
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] != positive.size:
        raise ValueError(f"scores must be (studies, {positive.size}): {a.shape}, {b.shape}")
    if min(n1, n0) < 2:
        raise ValueError("each study needs two cases of each class")
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("scores hold NaN")
    parts = []
    step = max(1, chunk // positive.size)
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        up1, down1, area1 = batch_placements(positive, a[rows])
        up2, down2, area2 = batch_placements(positive, b[rows])
        # The variance of the difference is that of the differences of the placements.
        variance = (up1 - up2).var(axis=1, ddof=1) / n1 + (down1 - down2).var(axis=1, ddof=1) / n0
        parts.append((area1, area2, np.sqrt(variance)))
    one, two, se = (np.concatenate(p) for p in zip(*parts, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(se > 1e-14, (one - two) / se, 0.0)
    return DelongBatch(one, two, se, z, 2 * special.ndtr(-np.abs(z)))


def simulated_auc_power(
    auc1: float,
    auc2: float,
    positives: int,
    negatives: int,
    *,
    correlation: float = 0.5,
    studies: int = 10_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the power of a paired DeLong test by simulating the planned study.

    Scores are binormal of equal spread, with one correlation in both classes.

    Args:
        auc1: area of one model.
        auc2: area of the other.
        positives: positive cases.
        negatives: negative cases.
        correlation: correlation of the two scores, in each class.
        studies: simulated.
        alpha: two-sided size of the test.
        seed: same seed, same answer.

    Returns:
        The power and its Monte-Carlo error.

    Raises:
        ValueError: for areas outside (0, 1), a correlation outside [-1, 1], too few cases.

    Examples:
        >>> power, error = simulated_auc_power(0.9, 0.8, 60, 60, studies=500)
        >>> 0.5 < power < 0.95
        True
    """
    check_rate(auc1, "auc1")
    check_rate(auc2, "auc2")
    check_number(correlation, "correlation", within=(-1, 1))
    positives, negatives = (
        check_whole(positives, "positives", 2),
        check_whole(negatives, "negatives", 2),
    )
    check_rate(alpha, "alpha")
    studies = check_whole(studies, "studies", 1)
    rng = np.random.default_rng(seed)
    n = positives + negatives
    labels = np.repeat([1, 0], [positives, negatives])
    shift = np.sqrt(2) * special.ndtri([auc1, auc2])
    rejected = 0
    step = max(1, 1_000_000 // n)
    for start in range(0, studies, step):
        size = min(step, studies - start)
        shared, own1, own2 = rng.standard_normal((3, size, n))
        root = np.sqrt(abs(correlation))
        rest = np.sqrt(1 - abs(correlation))
        a = root * shared + rest * own1 + shift[0] * labels
        b = np.sign(correlation or 1) * root * shared + rest * own2 + shift[1] * labels
        rejected += int((delong_batch(labels, a, b).p_value <= alpha).sum())
    power = rejected / studies
    return power, float(np.sqrt(power * (1 - power) / studies))
