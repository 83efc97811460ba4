"""Probes of frozen features: linear and nearest-neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from jaxmed.data import folds

Floats = NDArray[np.float64]


class LinearProbe(NamedTuple):
    """A fitted linear probe; made by `linear_probe`.

    Attributes:
        weights: (f, classes), on standardised features.
        bias: (classes,).
        mean: (f,) mean of the features it was fitted to.
        scale: (f,) standard deviations, 1 for constant features.
        l2: the penalty used.
    """

    weights: Floats
    bias: Floats
    mean: Floats
    scale: Floats
    l2: float

    def predict(self, features: ArrayLike) -> Floats:
        """Return probabilities (cases, classes) of features (cases, f)."""
        x = (np.asarray(features, np.float64) - self.mean) / self.scale
        return special.softmax(x @ self.weights + self.bias, axis=1)


def linear_probe(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    classes: int | None = None,
    l2: float | Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 10.0),
    inner: int = 5,
    seed: int = 0,
) -> LinearProbe:
    r"""Fit multinomial logistic regression to frozen features.

    .. math:: \frac1n \sum_i -\log p_{y_i}(x_i) + \frac{\lambda}{2} \|W\|^2

    by L-BFGS, on features standardised to mean 0 and standard deviation 1. Among several penalties
    the one with the lowest cross-entropy in an inner stratified cross-validation of these cases is
    chosen, the larger one in ties; no other cases are used.

    Args:
        features: (cases, f).
        labels: (cases,) classes from 0.
        classes: number of classes; by default the largest label plus one.
        l2: the penalty, or several to choose from.
        inner: number of inner folds, fewer if a class has fewer cases. If a class has a single
            case, the largest penalty is used.
        seed: seed of the folds.

    Returns:
        The probe.

    Raises:
        ValueError: for mismatched shapes, values that are not finite, labels outside the classes
            or all of one class, or a penalty that is not positive.

    References:
        Alain and Bengio (2017), Understanding intermediate layers using linear classifier probes,
        ICLR workshop. Kornblith, Shlens and Le (2019), Do better ImageNet models transfer better?,
        CVPR.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 3
        >>> x = np.eye(3)[y] + 0.1 * rng.normal(size=(60, 3))
        >>> probe = linear_probe(x[:30], y[:30])
        >>> float((probe.predict(x[30:]).argmax(1) == y[30:]).mean())
        1.0
    """
    x, y, k = _checked(features, labels, classes)
    if np.unique(y).size < 2:
        raise ValueError(f"a probe needs two classes, but all labels are {y[0]}")
    penalties = sorted(float(v) for v in np.atleast_1d(np.asarray(l2, np.float64)))
    if penalties[0] <= 0:
        raise ValueError(f"l2 is positive, got {l2}")
    best = penalties[-1]
    count = int(np.bincount(y)[np.unique(y)].min())
    if len(penalties) > 1 and min(inner, count) >= 2:
        parts = folds(y, min(inner, count), seed=seed)
        losses = []
        for penalty in penalties:
            total = 0.0
            for fold in parts:
                p = _fit(x[fold.train], y[fold.train], k, penalty).predict(x[fold.test])
                held = p[np.arange(len(fold.test)), y[fold.test]]
                total -= float(np.log(np.maximum(held, 1e-12)).sum())
            losses.append(total)
        best = min(zip(losses, penalties, strict=True), key=lambda pair: (pair[0], -pair[1]))[1]
    return _fit(x, y, k, best)


def _fit(x: Floats, y: NDArray[np.int64], classes: int, l2: float) -> LinearProbe:
    mean, deviation = x.mean(0), x.std(0)
    scale = np.where(deviation > 1e-12, deviation, 1.0)
    z = (x - mean) / scale
    n, f = z.shape
    hot = np.eye(classes)[y]

    def value(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[: f * classes].reshape(f, classes), flat[f * classes :]
        logits = z @ weights + bias
        log_p = logits - special.logsumexp(logits, axis=1, keepdims=True)
        slope = (np.exp(log_p) - hot) / n
        loss = -float((log_p * hot).sum()) / n + 0.5 * l2 * float((weights**2).sum())
        return loss, np.concatenate([(z.T @ slope + l2 * weights).ravel(), slope.sum(0)])

    found = optimize.minimize(
        value, np.zeros((f + 1) * classes), jac=True, method="L-BFGS-B",
        options={"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-7},
    )  # fmt: skip
    weights, bias = found.x[: f * classes].reshape(f, classes), found.x[f * classes :]
    return LinearProbe(weights, bias, mean, scale, l2)


def knn_probe(
    features: ArrayLike,
    labels: ArrayLike,
    queries: ArrayLike,
    *,
    k: int = 20,
    temperature: float = 0.07,
    classes: int | None = None,
) -> Floats:
    r"""Classify by the nearest neighbours of frozen features.

    The k cases of highest cosine similarity vote with weights :math:`e^{s_i / T}`.

    Args:
        features: (cases, f) with known labels.
        labels: (cases,) classes from 0.
        queries: (others, f).
        k: number of neighbours; all cases if there are fewer.
        temperature: T; higher values make the votes more equal.
        classes: number of classes; by default the largest label plus one.

    Returns:
        Vote shares (others, classes), which sum to one.

    Raises:
        ValueError: for mismatched shapes, values that are not finite, labels outside the classes,
            `k` below 1 or a temperature that is not positive.

    References:
        Wu et al. (2018), Unsupervised feature learning via non-parametric instance discrimination,
        CVPR.

    Examples:
        >>> votes = knn_probe([[1.0, 0.0], [0.0, 1.0]], [0, 1], [[2.0, 0.1]], k=1)
        >>> votes.tolist()
        [[1.0, 0.0]]
    """
    x, y, classes = _checked(features, labels, classes)
    q = np.asarray(queries, np.float64)
    if q.ndim != 2 or q.shape[1] != x.shape[1] or not np.isfinite(q).all():
        raise ValueError(f"queries are finite (others, {x.shape[1]}), got the shape {q.shape}")
    if k < 1 or temperature <= 0:
        raise ValueError(f"k is at least 1 and temperature positive, got {k} and {temperature}")
    similarity = _unit(q) @ _unit(x).T
    k = min(k, len(x))
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    near = np.take_along_axis(similarity, nearest, axis=1)
    # Subtracting the maximum leaves the shares unchanged and avoids overflow.
    votes = np.exp((near - near.max(1, keepdims=True)) / temperature)
    shares = (np.eye(classes)[y[nearest]] * votes[..., None]).sum(1)
    return shares / shares.sum(1, keepdims=True)


def _unit(x: Floats) -> Floats:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _checked(
    features: ArrayLike, labels: ArrayLike, classes: int | None
) -> tuple[Floats, NDArray[np.int64], int]:
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or len(x) == 0:
        raise ValueError(
            f"features are (cases, f) and labels (cases,), got {x.shape} and {y.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"features hold {int((~np.isfinite(x)).sum())} values that are not finite")
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels are integers, got {y.dtype}")
    k = int(y.max()) + 1 if classes is None else classes
    if y.min() < 0 or y.max() >= k:
        raise ValueError(f"labels lie in 0..{k - 1}, got {y.min()}..{y.max()}")
    return x, y.astype(np.int64), k
