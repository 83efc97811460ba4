"""Sets of classes that promise to hold the truth, each calibrated on the other folds' cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed import bayes, stats


def sets_of(
    labels: np.ndarray,
    said: np.ndarray,
    parts: Sequence[np.ndarray],
    level: float,
    units: Sequence[str] | None = None,
) -> dict[str, stats.Estimate]:
    """Coverage and size of sets of classes.

    Args:
        labels: (n,) classes.
        said: (n, classes), each case by a model that has not seen it.
        parts: positions of each fold's cases.
        level: coverage that is promised.
        units: (n,) patients, or None where each is one case.
    """
    sets = np.empty(said.shape, bool)
    for rows in parts:
        others = np.setdiff1d(np.arange(len(said)), rows)
        rule = bayes.fit_sets(labels[others], said[others], level=level)
        sets[rows] = bayes.predict_sets(rule, said[rows])
    inside = np.take_along_axis(sets, labels[:, None], axis=1)[:, 0].astype(float)
    return {
        name: stats.mean(values, groups=units, bounds=bounds, name=name)
        for name, values, bounds in (
            ("set coverage", inside, (0.0, 1.0)),
            ("set size", sets.sum(1).astype(float), (0.0, float(said.shape[1]))),
        )
    }
