"""Adjusted and combined p-values (R's p.adjust)."""

from __future__ import annotations

from typing import Any

from jaxmed import stats
from reference_cases.compare import Case


def run(case: Case) -> dict[str, Any]:
    method, p = case.params["method"], case.input["p"]
    if "p" in case.expected:
        return {"p": stats.combine_p_values(p, method=method.split()[0])}
    return {"adjusted": stats.adjust_p_values(p, method=method).tolist()}
