"""Classification metrics (scikit-learn, confidenceinterval, baycomp)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, SchemaError, Unsupported


def _probs(table: dict[str, np.ndarray]) -> np.ndarray:
    names = sorted((n for n in table if n[0] == "p" and n[1:].isdigit()), key=lambda n: int(n[1:]))
    return np.stack([table[n] for n in names], axis=1)


def _called(p: np.ndarray, threshold: Any) -> np.ndarray:
    """Calls at a threshold, a number (above it) or a rule in words such as `p>0.5`, `>= 0.5`."""
    if isinstance(threshold, (int, float)):
        return p > threshold
    found = re.search(r"(>=|>)\s*([\d.]+)", str(threshold))
    if found is None:
        raise SchemaError(f"no reading of the threshold {threshold!r}")
    return p >= float(found[2]) if found[1] == ">=" else p > float(found[2])


def run(case: Case) -> dict[str, Any]:
    inputs, params = case.input, case.params
    if "x" in inputs and "y" in inputs:
        r = stats.bayes_correlated_t(
            inputs["x"], inputs["y"], rope=params["rope"], ratio=params["test_train_ratio"]
        )
        answer = {
            "p_left_first_better": r.first_better,
            "p_rope": r.equivalent,
            "p_right_second_better": r.second_better,
        }
        return answer | {"baycomp": list(answer.values())}
    table = case.table()
    y = table[inputs["outcome"]].astype(int)
    if "prob" in inputs:
        p = table[inputs["prob"]]
        if "Boyd" in str(case.param("method", "")):
            e = stats.average_precision(y, p, method="logit", level=params["conf_level"])
            return {"lower": e.lower, "upper": e.upper}
        guess = _called(p, inputs["threshold"])
        counts = stats.counts(y, guess)
        two = {"n_resamples": 10}
        return counts._asdict() | {
            "accuracy": stats.accuracy(y, guess).value,
            "balanced_accuracy": stats.balanced_accuracy(y, guess).value,
            "f1": stats.f1(y, guess).value,
            "f2": stats.f1(y, guess, beta=2).value,
            "mcc": stats.mcc(y, guess, **two).value,
            "kappa": stats.kappa(y, guess).value,
            "jaccard": counts.tp / (counts.tp + counts.fp + counts.fn),
            "average_precision": stats.average_precision(y, p).value,
            "auc": stats.auc(y, p).value,
            "dor": stats.diagnostic_odds_ratio(y, guess).value,
            "youden": stats.youden(y, guess).value,
        }
    p = _probs(table)
    if "Takahashi" in str(case.param("method", "")):
        for name, call in (
            ("macro_f1", lambda: stats.f1(y, p, average="macro", method="delta")),
            ("micro_f1", lambda: stats.f1(y, p, average="micro", method="delta")),
            ("macro_precision", lambda: stats.macro_precision(y, p, method="delta")),
            ("macro_recall", lambda: stats.macro_recall(y, p, method="delta")),
        ):
            if name in case.command:
                e = call()
                if name.startswith("macro"):
                    # Its macro limits are not the delta method's: precision and recall subtract
                    # p_i^2 where the covariance has p_i p_j, and the F1 sum lacks the shares. The
                    # bootstrap (tested elsewhere) sides with the delta method.
                    assert abs(e.value - case.expected.get("estimate", e.value)) < 1e-6
                    raise Unsupported("confidenceinterval's macro variance is not Takahashi's")
                return {"estimate": e.value, "lower": e.lower, "upper": e.upper}
        raise Unsupported(case.command)
    return {
        "accuracy": stats.accuracy(y, p).value,
        "balanced_accuracy": stats.balanced_accuracy(y, p).value,
        "macro_f1": stats.f1(y, p).value,
        "weighted_f1": stats.f1(y, p, average="weighted").value,
        "mcc": stats.mcc(y, p).value,
        "kappa": stats.kappa(y, p).value,
        "quadratic_kappa": stats.kappa(y, p, weights="quadratic").value,
        "top2": stats.top_k_accuracy(y, p, k=2).value,
    }
