"""Convergence of chains (posterior) and clustered AUC (Obuchowski 1997)."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case


def run(case: Case) -> dict[str, Any]:
    if "layout" in case.input:
        draws = np.loadtxt(case.path(), delimiter=",")  # no header
        return stats.chain_diagnostics(draws)._asdict()
    table = case.table()
    rows = case.rows(table)
    e = stats.auc(
        table["truth"][rows], table["rating"][rows], method="delong", groups=table["case"][rows]
    )
    return {
        "auc": e.value,
        "variance": e.details["variance"],
        "se": e.se,
        "naive_delong_variance": e.details["naive_variance"],
        "ci95": [e.lower, e.upper],
    }
