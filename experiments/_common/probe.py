"""Linear probes of features, and their out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmed import unsupervised as un
from jaxmed.data import folds
from jaxmed.protocols import linear_probe

_COMPONENTS, _PENALTY, _FOLDS = 50, 0.1, 5
_ROUNDING = 1e-5  # Of single precision: a component that varies less is not one.


class Probe(NamedTuple):
    """A linear classifier of principal components.

    Attributes:
        basis: the components; None of features that are all the same.
        head: of whitened coordinates.
        shares: of the classes, which are all that is known without components.
    """

    basis: Any
    head: Any
    shares: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(n, classes) probabilities."""
        if self.basis is None:
            return np.tile(self.shares, (len(features), 1))
        return self.head.predict(self.basis.project(features, whiten=True))

    def linear(self, features: int) -> tuple[np.ndarray, np.ndarray]:
        """The same as one layer of logits: kernel (features, classes) and bias (classes,)."""
        if self.basis is None:
            shares = np.maximum(self.shares, np.finfo(np.float32).tiny)
            return np.zeros((features, len(shares))), np.log(shares)
        onto = self.basis.components.T / np.sqrt(self.basis.variances) / self.head.scale
        kernel = onto @ self.head.weights
        shift = self.head.mean / self.head.scale @ self.head.weights
        return kernel, self.head.bias - self.basis.mean @ kernel - shift


def fitted_probe(features: np.ndarray, labels: np.ndarray, *, classes: int) -> Probe:
    """A probe of features (n, d), at most 50 components or one for five cases."""
    shares = np.bincount(labels, minlength=classes) / len(labels)
    spread = np.linalg.svd(features - features.mean(0), compute_uv=False)
    rank = int((spread > _ROUNDING * max(abs(features).max(), 1e-30)).sum())
    most = min(_COMPONENTS, max(1, len(features) // 5), rank)
    if not most:
        return Probe(None, None, shares)
    basis = un.pca(features.astype(np.float64), most)
    head = linear_probe(basis.project(features, whiten=True), labels, classes=classes, l2=_PENALTY)
    return Probe(basis, head, shares)


def out_of_fold(
    features: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[Any] | None,
    *,
    seed: int = 0,
    count: int = _FOLDS,
    classes: int | None = None,
    fit: Callable[..., Any] = fitted_probe,
) -> np.ndarray:
    """(n, classes) probabilities, each by a probe that has not seen the case, nor its group.

    Args:
        features: (n, d).
        labels: (n,) classes.
        groups: (n,) patients, or None.
        seed: of the folds.
        count: how many folds.
        classes: how many there are; by default those that occur.
        fit: ``(features, labels, classes=) -> probe``, with ``predict``.
    """
    parts = folds(len(labels), count, groups=groups, stratify=labels.tolist(), seed=seed)
    classes = int(labels.max()) + 1 if classes is None else classes
    predicted = np.empty((len(labels), classes))
    for part in parts:
        probe = fit(features[part.train], labels[part.train], classes=classes)
        predicted[part.test] = probe.predict(features[part.test])
    return predicted
