"""Out-of-fold predictions of a linear probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmed import unsupervised as un
from jaxmed.data import folds
from jaxmed.protocols import linear_probe

_COMPONENTS, _PENALTY, _FOLDS = 50, 0.1, 5


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, groups: Sequence[Any] | None, *, seed: int = 0
) -> np.ndarray:
    """(n, classes) probabilities, each by a probe that has not seen the case, nor its group."""
    parts = folds(len(labels), _FOLDS, groups=groups, stratify=labels.tolist(), seed=seed)
    classes = int(labels.max()) + 1
    predicted = np.empty((len(labels), classes))
    for part in parts:
        most = min(_COMPONENTS, len(part.train) // 5, features.shape[1])
        basis = un.pca(features[part.train], most)
        train, test = (basis.project(features[at], whiten=True) for at in part)
        probe = linear_probe(train, labels[part.train], classes=classes, l2=_PENALTY)
        predicted[part.test] = probe.predict(test)
    return predicted
