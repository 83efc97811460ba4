"""Bootstrap intervals, the ideal bootstrap, acceleration, clustered variance."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(axis=1)


def run(case: Case) -> dict[str, Any]:
    inputs, params = case.input, case.params
    if "x" in inputs:  # every resample, all equally likely
        x = np.array(inputs["x"])
        rows = np.array(list(itertools.product(range(x.size), repeat=x.size)))
        counts = np.stack([(rows == i).sum(axis=1) for i in range(x.size)], axis=1)
        means = _mean(x, counts.astype(float))
        medians = np.median(x[rows], axis=1)
        # The library's own resampling must reach this law.
        drawn = stats.bootstrap_replicates(_mean, x, n_resamples=60_000, weighted=True)
        assert abs(drawn.replicates.std() - means.std()) < 0.01 * means.std()
        return {
            "mean_of_means": means.mean(),
            "sd_of_means": means.std(),
            "mean_of_medians": medians.mean(),
            "q025_means": np.quantile(means, 0.025),
            "q975_means": np.quantile(means, 0.975),
        }
    table = case.table()
    if "model1" in inputs:
        y = table["y"]
        gap = (table[inputs["model1"]] - y) ** 2 - (table[inputs["model2"]] - y) ** 2
        if "a" in case.expected:
            out = (gap.sum() - gap) / (gap.size - 1)
            return {"a": stats.acceleration(out)}
        answers = {}
        for name in case.expected:
            e = stats.bootstrap(
                _mean,
                gap,
                method=name,
                weighted=True,
                level=params["conf_level"],
                n_resamples=params["n_resamples"],
            )
            answers[name] = [e.lower, e.upper]
        return answers
    if "cluster" in inputs:
        e = stats.clustered_proportion(table[inputs["value"]], table[inputs["cluster"]])
        return {
            "p": e.value,
            "se": e.se,
            "design_effect": e.details["design_effect"],
            "naive_se": e.details["naive_se"],
        }
    raise Unsupported("no counterpart of this bootstrap")
