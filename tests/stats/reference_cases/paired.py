"""Tests on paired data: t, ranks, permutations, tables, clusters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, SchemaError, Unsupported


def run(case: Case) -> dict[str, Any]:
    inputs = case.input
    if "x" in inputs and "y" in inputs:
        return _two(case, np.array(inputs["x"]), np.array(inputs["y"]))
    if "values" in inputs:
        r = stats.friedman_test(inputs["values"])
        return {
            "chi2": r.statistic,
            "df": r.df,
            "p_value": r.p_value,
            "iman_davenport_F": r.details["iman_davenport_f"],
            "iman_davenport_p": r.details["iman_davenport_p"],
            "mean_ranks": r.details["mean_ranks"],
        }
    if case.asks("Q") or "models" in inputs:
        table = case.table()
        right = [(table[m] > case.params["threshold"]) == table["y"] for m in inputs["models"]]
        r = stats.cochran_q_test(np.stack(right, axis=1).astype(int))
        return {"Q": r.statistic, "df": r.df, "p_value": r.p_value}
    if "cluster" in inputs:
        table = case.table()
        first, second = _tests(case, table)
        r = stats.clustered_mcnemar_test(
            table[first], table[second], table[inputs["cluster"]], method=case.params["method"]
        )
        return {"statistic": r.statistic, "p_value": r.p_value}
    if "grouping" in inputs:
        return _marginal(case)
    raise Unsupported("no counterpart of this test")


def _tests(case: Case, table: dict[str, np.ndarray]) -> list[str]:
    """The columns of the two tests: as the input names them, else the two of 0 and 1."""
    inputs = case.input
    for names in (("test1", "test2"), ("x", "y"), ("first", "second")):
        if all(name in inputs for name in names):
            return [inputs[name] for name in names]
    others = [name for name in table if name != inputs["cluster"]]
    binary = [name for name in others if set(np.unique(table[name]).tolist()) <= {0.0, 1.0}]
    chosen = others if len(others) == 2 else binary
    if len(chosen) != 2:
        raise SchemaError(f"the input names no tests, and the file has {', '.join(others)}")
    return chosen


def _two(case: Case, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    if case.asks("V", "p_normal", "p_normal_cc", "p_exact_pratt", "p_exact_wilcoxon_zeros_dropped"):
        x, y = _unrounded(case, x, y)

        def p(**options: Any) -> float:
            return stats.wilcoxon_test(x, y, tolerance=0, **options).p_value

        return {
            "V": stats.wilcoxon_test(x, y, tolerance=0).statistic,
            "p_normal_cc": p(method="normal"),
            "p_normal": p(method="normal", correct=False),
            "p_exact_pratt": p(method="exact", zeros="pratt"),
            "p_exact_wilcoxon_zeros_dropped": p(method="exact"),
        }
    if "test_train_ratio" in case.params:
        r = stats.corrected_t_test(x, y, ratio=case.params["test_train_ratio"])
        return {"t": r.statistic, "p_value": r.p_value}
    if "n_permutations" in case.params:
        return {"p_value": stats.sign_flip_test(x, y).p_value}
    r = stats.paired_t_test(x, y)
    return {
        "t": r.statistic,
        "df": r.df,
        "p_value": r.p_value,
        "lower": r.interval[0],
        "upper": r.interval[1],
    }


def _unrounded(case: Case, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The folds' means from the file: R ranks without tolerance, and x, y are printed digits."""
    inputs, table = case.input, case.table()
    if inputs.get("metric") not in ("accuracy", "brier") or "fold" not in table:
        return x, y
    pair = []
    for model, printed in ((inputs["model1"], x), (inputs["model2"], y)):
        p, truth = table[model], table["y"]
        values = (p > 0.5) == truth if inputs["metric"] == "accuracy" else (p - truth) ** 2
        means = np.array([values[table["fold"] == f].mean() for f in np.unique(table["fold"])])
        assert np.allclose(means, printed, atol=1e-9)
        pair.append(means)
    return pair[0], pair[1]


def _marginal(case: Case) -> dict[str, Any]:
    spans = [tuple(map(int, s)) for s in re.findall(r"(\d+)-(\d+)", case.input["grouping"])]
    groups = []
    for name in case.input["files"]:
        table = case.table(name)
        columns = sorted((n for n in table if re.fullmatch(r"p\d+", n)), key=lambda n: int(n[1:]))
        top = np.stack([table[n] for n in columns], axis=1).argmax(axis=1)
        groups.append(
            np.array([next(i for i, (a, b) in enumerate(spans) if a <= t <= b) for t in top])
        )
    table = stats.confusion(groups[0], groups[1], classes=len(spans))
    one, two = stats.stuart_maxwell_test(table), stats.bowker_test(table)
    return {
        "table": table.tolist(),
        "stuart_maxwell_chi2": [[one.statistic]],
        "sm_p": [[one.p_value]],
        "bowker_chi2": two.statistic,
        "bowker_p": two.p_value,
    }
