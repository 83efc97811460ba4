"""What the uncertainty of masks is measured by: numbers of a scan, then metrics over scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import ndimage, stats

import jaxmed as jm
from jaxmed import bayes
from jaxmed.stats import Estimate, over_runs

NEAR = 3  # Voxels around the true structures that count as their neighbourhood.
LEVEL = 0.9  # Of intervals of volumes.
ECE_BINS = 15
# Confidences are kept as counts between these edges, fine where most of them are, near 1.
EDGES = np.unique(
    np.r_[np.arange(ECE_BINS + 1) / ECE_BINS, 1 - np.geomspace(1e-7, 2 / 3, 2000)].round(12)
)


def look(p: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of one scan, from samples of its probabilities (samples, *spatial, classes)."""
    classes = p.shape[-1]
    mean = p.mean(axis=0)
    each = jm.quantities.log_loss_values(np.take_along_axis(mean, truth[..., None], -1)[..., 0])
    square = jm.quantities.brier_values(np.eye(classes)[truth], mean).sum(axis=-1)
    near = ndimage.distance_transform_edt(truth == 0) <= NEAR
    called = jm.quantities.largest(mean)
    structures = bayes.structure_uncertainty(p)
    volume = bayes.propagate(lambda one: volumes(one.argmax(axis=-1), classes), p, level=LEVEL)
    return {
        "dice": jm.report.agreement(truth, called, classes - 1)["dice"],
        "nll": each[near].mean(),
        "nll/whole": each.mean(),
        "brier": square[near].mean(),
        "confidence": confidence(mean[near].max(axis=-1), (called != truth)[near]),
        # A structure that is nowhere predicted is as unsure as can be.
        "unsure": np.where(structures.voxels, structures.total, np.log(classes)).mean(),
        "volume": np.stack(
            [volumes(truth, classes), volume.mean, volume.sd, volume.lower, volume.upper], axis=-1
        ),
    }


def volumes(mask: np.ndarray, classes: int) -> np.ndarray:
    """Voxels of each structure."""
    return np.bincount(mask.ravel(), minlength=classes)[1:].astype(float)


def confidence(sure: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Voxels, errors and the sum of confidences between `EDGES`: (bins, 3)."""
    at = np.clip(np.searchsorted(EDGES, sure) - 1, 0, len(EDGES) - 2)
    counts = [np.bincount(at, w, len(EDGES) - 1) for w in (None, wrong, sure)]
    return np.stack(counts, axis=-1).astype(float)


def ece(bins: np.ndarray) -> float:
    """Expected calibration error of the chosen class, 15 bins of one width."""
    coarse = np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, EDGES[:-1] + 1e-9, side="right")
    voxels, wrong, sure = (np.bincount(coarse, w, ECE_BINS) for w in bins.T)
    gap, share = (x / voxels.sum() for x in (voxels - wrong - sure, voxels))
    return float(jm.quantities.calibration_error(gap, share))


def aurc(bins: np.ndarray) -> float:
    """Area under the risk-coverage curve, voxels of one bin in any order."""
    voxels, wrong = bins[::-1, 0], bins[::-1, 1]
    answered, missed = np.cumsum(voxels) - voxels / 2, np.cumsum(wrong) - wrong / 2
    return float((voxels * missed / np.maximum(answered, 0.5)).sum() / voxels.sum())


def error_auroc(bins: np.ndarray) -> float:
    """Probability that a wrong voxel is less sure than a right one; within a bin they tie."""
    wrong, right = bins[:, 1], bins[:, 0] - bins[:, 1]
    surer = right.sum() - np.cumsum(right) + right / 2
    pairs = wrong.sum() * right.sum()
    return float((wrong * surer).sum() / pairs) if pairs else np.nan


def low_dice_auroc(pairs: np.ndarray) -> float:
    """Whether the quarter of scans with the lowest Dice are the unsure ones."""
    dice, unsure = pairs.T
    low = dice <= np.quantile(dice, 0.25)
    return jm.stats.auc(low, unsure).value if not low.all() else np.nan


def rank_correlation(pairs: np.ndarray) -> float:
    """Spearman's, of uncertainty and error."""
    if (np.ptp(pairs, axis=0) == 0).any():
        return np.nan
    return float(stats.spearmanr(1 - pairs[:, 0], pairs[:, 1]).statistic)


def total(metric: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    """A metric of counts added up over scans."""
    return lambda counts: metric(counts.sum(axis=0))


def average(values: np.ndarray) -> float:
    """The mean over scans."""
    return float(values.mean())


METRICS: Mapping[str, tuple[str, Callable[[np.ndarray], float]]] = {
    "dice": ("dice", average),
    "nll": ("nll", average),
    "nll/whole": ("nll/whole", average),
    "brier": ("brier", average),
    "ece": ("confidence", total(ece)),
    "aurc": ("confidence", total(aurc)),
    "error_auroc": ("confidence", total(error_auroc)),
    "low_dice_auroc": ("pairs", low_dice_auroc),
    "rank_correlation": ("pairs", rank_correlation),
    "volume_coverage": ("inside", average),
    "volume_width": ("width", average),
    "conformal_coverage": ("conformal_inside", average),
    "conformal_width": ("conformal_width", average),
}
COMPARED = ("nll", "brier", "ece", "aurc", "error_auroc")


def numbers(scans: list[dict[str, Any]], calibration: list[dict[str, Any]]) -> dict[str, Any]:
    """What metrics are made of, a leading axis of scans; `calibration` makes volumes conformal.

    Widths are shares of the true volume. A single sample has no interval of its own: NaN.
    """
    found = {name: np.stack([scan[name] for scan in scans]) for name in scans[0]}
    truth, mean, sd, low, high = np.moveaxis(found.pop("volume"), -1, 0)
    spread = sd.max() > 0
    found["pairs"] = np.stack([found["dice"].mean(-1), found.pop("unsure")], axis=-1)
    found["inside"] = np.where(spread, (low <= truth) & (truth <= high), np.nan)
    found["width"] = np.where(spread, (high - low) / truth, np.nan)
    known = np.stack([scan["volume"] for scan in calibration])
    lower, upper = conformal(known, mean, sd)
    found["conformal_inside"] = ((lower <= truth) & (truth <= upper)).astype(float)
    found["conformal_width"] = (upper - lower) / truth
    return found


def conformal(known: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Split conformal intervals of volumes, structure by structure: (2, scans, structures).

    Residuals are scaled by the posterior's standard deviation, where it has one, which counts as
    a voxel at least.
    """
    spread = sd.max() > 0
    limits = np.empty((2, *mean.shape))
    for k in range(mean.shape[1]):
        truth, predicted, own = known[:, k, 0], known[:, k, 1], np.maximum(known[:, k, 2], 1)
        rule = bayes.fit_intervals(truth, predicted, level=LEVEL, scale=own if spread else None)
        scale = np.maximum(sd[:, k], 1) if spread else None
        limits[:, :, k] = bayes.predict_intervals(rule, mean[:, k], scale=scale).T
    return limits


def measure(
    found: Mapping[str, np.ndarray], baseline: Mapping[str, np.ndarray] | None
) -> dict[str, Estimate]:
    """Metrics of numbers (seeds, scans, ...), and of some their difference to the baseline's.

    Left out are those that are not defined: an interval of one sample, an order of equal scans.
    """
    metrics = {}
    for name, (key, metric) in METRICS.items():
        values = found[key]
        if not np.isfinite(values).all():
            continue
        labels, score = np.zeros(values.shape[1]), lambda _, x, metric=metric: metric(x)
        estimate = over_runs(score, labels, values, name=name)
        if not np.isfinite(estimate.value):
            continue
        metrics[name] = estimate
        if baseline is not None and name in COMPARED:
            label = f"{name}/difference"
            metrics[label] = over_runs(score, labels, values, baseline=baseline[key], name=label)
    return metrics
