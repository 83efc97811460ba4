"""Net benefit (dcurves)."""

from __future__ import annotations

from typing import Any

from jaxmed import stats
from reference_cases.compare import Case


def run(case: Case) -> dict[str, Any]:
    table, at = case.table(), case.params["thresholds"]
    name, y = case.input["prob"], table[case.input["outcome"]]
    if name == "none":
        return {"net_benefit": [0.0] * len(at)}
    probs = y * 0 + 0.5 if name == "all" else table[name]
    curve = stats.decision_curve(y, probs, thresholds=at, n_resamples=0)
    return {"net_benefit": (curve.treat_all if name == "all" else curve.net_benefit).tolist()}
