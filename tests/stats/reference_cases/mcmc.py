"""Clustered AUC (Obuchowski 1997); convergence of chains belongs to the Bayesian room."""

from __future__ import annotations

from typing import Any

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def run(case: Case) -> dict[str, Any]:
    if "layout" in case.input:
        try:
            from jaxmed import bayes
        except ImportError:
            raise Unsupported("chain diagnostics belong to jaxmed.bayes") from None
        return _diagnostics(case, bayes)
    table = case.table()
    rows = table["treatment"] == 1
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


def _diagnostics(case: Case, bayes: Any) -> dict[str, Any]:
    raise Unsupported("chain diagnostics belong to jaxmed.bayes")
