"""Kappas, ICC, Lin's concordance, Bland-Altman (DescTools, psych, epiR)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def _top(case: Case, name: str) -> np.ndarray:
    table = case.table(name)
    columns = sorted((n for n in table if re.fullmatch(r"p\d+", n)), key=lambda n: int(n[1:]))
    return np.stack([table[n] for n in columns], axis=1).argmax(axis=1)


def _matrix(case: Case) -> np.ndarray:
    """Subjects x raters of the rows that the filter keeps."""
    table = case.table()
    rows = case.rows(table)
    cases, readers = table["case"][rows], table["reader"][rows]
    out = np.full((len(np.unique(cases)), len(np.unique(readers))), np.nan)
    i = np.unique(cases, return_inverse=True)[1]
    j = np.unique(readers, return_inverse=True)[1]
    out[i, j] = table["rating"][rows]
    return out


def _limits(e: stats.Estimate) -> dict[str, float]:
    return {"est": e.value, "lower": e.lower, "upper": e.upper}


def run(case: Case) -> dict[str, Any]:
    inputs, expected = case.input, case.expected
    level = case.param("conf_level", 0.95)
    if "files" in inputs:
        if len(inputs["files"]) != 2:
            raise Unsupported(f"kappa is of two raters, not of {len(inputs['files'])} files")
        a, b = (_top(case, name) for name in inputs["files"])
        return {
            w: _limits(stats.kappa(a, b, weights=w, level=level, method="delta")) for w in expected
        }
    if any(name.startswith("ICC") for name in expected):
        x = _matrix(case)
        answer = {}
        for form in expected:
            e = stats.icc(x, form=form, level=level, method="f")
            answer[form] = {
                "icc": e.value,
                "F": e.details["f"],
                "lower": e.lower,
                "upper": e.upper,
            }
        return answer
    if "filter" in inputs:
        return _limits(stats.fleiss_kappa(_matrix(case), level=level, method="null"))
    if "a" in inputs and "b" in inputs:
        table = case.table()
        a, b = table[inputs["a"]], table[inputs["b"]]
        e, ba = stats.concordance_correlation(a, b, level=level), stats.bland_altman(a, b)
        upper = ba.upper_limit
        return {
            "ccc": e.value,
            "ccc_lower": e.lower,
            "ccc_upper": e.upper,
            "scale_shift": e.details["scale_shift"],
            "location_shift": e.details["location_shift"],
            "bias_correction": e.details["bias_correction"],
            "bias": ba.bias.value,
            "sd": ba.sd,
            "loa_lower": ba.lower_limit.value,
            "loa_upper": upper.value,
            "bias_ci": [ba.bias.lower, ba.bias.upper],
            "loa_upper_ci_approx": [upper.lower, upper.upper],
        }
    raise Unsupported("no counterpart of this measure of agreement")
