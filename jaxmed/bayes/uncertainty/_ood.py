"""Out-of-distribution scores, higher for outlying cases, and their evaluation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, spatial, special

from jaxmed.bayes._check import class_labels, probabilities
from jaxmed.stats.checks import Floats, finite


def entropy(probs: ArrayLike, *, clip: float = 1e-12) -> Floats:
    """Return the entropy of the last axis, in nats.

    Args:
        probs: (..., classes), each sum 1.
        clip: a probability below it counts as it in the logarithm.

    Examples:
        >>> entropy([[0.5, 0.5], [1.0, 0.0]]).round(3)
        array([0.693, 0.   ])
    """
    p = probabilities(probs, ndim=None)
    return np.abs(-(p * np.log(np.clip(p, clip, 1.0))).sum(axis=-1))


def energy_score(logits: ArrayLike, *, temperature: float = 1.0) -> Floats:
    r"""Return the free energy :math:`-T \log \sum_k e^{z_k / T}`.

    Args:
        logits: (..., classes).
        temperature: T.

    References:
        Liu et al. (2020), Energy-based out-of-distribution detection, NeurIPS.

    Examples:
        >>> energy_score([[0.0, 0.0]]).round(3)
        array([-0.693])
    """
    z = finite(logits, "logits", ndim=None)
    return -temperature * special.logsumexp(z / temperature, axis=-1)


def max_logit_score(logits: ArrayLike) -> Floats:
    """Return minus the largest logit (Hendrycks et al. 2022, ICML).

    Examples:
        >>> max_logit_score([[1.0, 3.0]])
        array([-3.])
    """
    return -finite(logits, "logits", ndim=None).max(axis=-1)


class FeatureFit(NamedTuple):
    """Features of the training set for `mahalanobis_score` and `knn_score`.

    means: (classes, features); precision: (features, features), of the shared covariance;
    rows: (cases, features) scaled to length 1; notes.
    """

    means: Floats
    precision: Floats
    rows: Floats
    notes: tuple[str, ...] = ()


def fit_features(
    features: ArrayLike, labels: ArrayLike | None = None, *, shrinkage: float = 1e-6
) -> FeatureFit:
    """Fit the reference for feature-distance scores.

    Args:
        features: (cases, features) of training cases, such as the network's pooled `features`.
        labels: (cases,) classes; without them one mean is used for all.
        shrinkage: share of the mean variance added to the covariance's diagonal.

    Returns:
        The fit.

    Raises:
        ValueError: for NaN, another shape or fewer than two cases.
    """
    x = finite(features, "features", ndim=2, minimum=2)
    y = np.zeros(len(x), int) if labels is None else np.asarray(labels)
    y = class_labels(y, int(y.max()) + 1, len(x))
    names = np.unique(y)
    means = np.stack([x[y == c].mean(axis=0) for c in names])
    centred = x - means[np.searchsorted(names, y)]
    covariance = centred.T @ centred / len(x)
    scale = float(np.trace(covariance) / len(covariance)) or 1.0
    covariance = covariance + shrinkage * scale * np.eye(len(covariance))
    notes = ()
    if len(x) <= x.shape[1]:
        notes = (f"{len(x)} cases for {x.shape[1]} features: the covariance rests on shrinkage",)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return FeatureFit(means, linalg.pinvh(covariance), x / np.maximum(length, 1e-12), notes)


def mahalanobis_score(fit: FeatureFit, features: ArrayLike) -> Floats:
    r"""Return the squared distance to the nearest class mean, :math:`\min_c d^T \Sigma^{-1} d`.

    Args:
        fit: result of `fit_features`.
        features: (cases, features).

    References:
        Lee et al. (2018), A simple unified framework for detecting out-of-distribution samples,
        NeurIPS.

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(50, 2))
        >>> mahalanobis_score(fit_features(rows), [[0.0, 0.0], [9.0, 9.0]]).round() > 50
        array([False,  True])
    """
    x = finite(features, "features", ndim=2)
    return np.stack([np.einsum("ij,jk,ik->i", x - m, fit.precision, x - m) for m in fit.means]).min(
        axis=0
    )


def knn_score(fit: FeatureFit, features: ArrayLike, *, k: int = 10) -> Floats:
    """Return the distance to the k-th nearest training case, of features scaled to length 1.

    Args:
        fit: result of `fit_features`.
        features: (cases, features).
        k: index of the neighbour.

    References:
        Sun et al. (2022), Out-of-distribution detection with deep nearest neighbors, ICML.
    """
    x = finite(features, "features", ndim=2)
    if not 1 <= k <= len(fit.rows):
        raise ValueError(f"k must lie in 1..{len(fit.rows)} training cases, but is {k}")
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    distance, _ = spatial.cKDTree(fit.rows).query(x, k=[k])
    return distance[:, 0]


def disagreement_score(sample_probs: ArrayLike) -> Floats:
    """Return the share of samples that predict a different class than their mean.

    Args:
        sample_probs: (samples, ..., classes).

    Examples:
        >>> disagreement_score([[[0.9, 0.1]], [[0.8, 0.2]], [[0.4, 0.6]]]).round(3)
        array([0.333])
    """
    p = probabilities(sample_probs, ndim=None)
    return (p.argmax(axis=-1) != p.mean(axis=0).argmax(axis=-1)).mean(axis=0)


class OodScores(NamedTuple):
    """Performance of an out-of-distribution score.

    auroc; aupr_out, aupr_in: average precision with out-of-distribution, and with in-distribution
    cases as positive; fpr95: share of in-distribution cases flagged where 95% of the others are.
    """

    auroc: float
    aupr_out: float
    aupr_in: float
    fpr95: float


def ood_scores(strange: ArrayLike, scores: ArrayLike, *, sensitivity: float = 0.95) -> OodScores:
    """Return AUROC, average precisions and the false-positive rate at 95% sensitivity.

    Args:
        strange: (cases,) 1 for out of distribution.
        scores: (cases,) higher is more out of distribution.
        sensitivity: sensitivity at which `fpr95` is evaluated.

    Returns:
        The scores; `jaxmed.stats.auc` gives an interval for the AUROC.

    Raises:
        ValueError: for NaN or cases of one kind only.

    Examples:
        >>> ood_scores([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4])
        OodScores(auroc=1.0, aupr_out=1.0, aupr_in=1.0, fpr95=0.0)
    """
    from jaxmed import stats

    y = np.asarray(strange).astype(bool)
    s = finite(scores, "scores")
    if y.shape != s.shape:
        raise ValueError(f"strange {y.shape} and scores {s.shape} differ in shape")
    if y.all() or not y.any():
        raise ValueError("all cases are of one kind: both are needed")
    inside, outside = np.sort(s[~y]), np.sort(s[y])
    # The largest threshold that still flags the requested share of out-of-distribution cases.
    needed = int(np.ceil(sensitivity * outside.size - 1e-9))
    threshold = outside[outside.size - needed]
    flagged = inside.size - np.searchsorted(inside, threshold, side="left")
    return OodScores(
        float(stats.auc(y, s).value),
        float(stats.average_precision(y, s).value),
        float(stats.average_precision(~y, -s).value),
        float(flagged / inside.size),
    )
