"""AUC and ROC curves (pROC)."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def run(case: Case) -> dict[str, Any]:
    inputs, params = case.input, case.params
    if "y" in inputs and "score" in inputs and "file" not in inputs:
        e = stats.auc(inputs["y"], inputs["score"], method="delong")
        return {"auc": e.value, "variance": e.details["variance"]}
    if "score2" in inputs:
        return _two(case)
    if "group" in inputs:
        return _by_group(case)
    method = str(case.param("method", ""))
    if "Hand" in method:
        return _hand_till(case)
    y, x = case.binary(inputs["outcome"]), case.table()[inputs["score"]]
    if case.asks("n_thresholds", "sum_sens", "sum_spec"):
        curve = stats.roc_curve(y, x)
        return {
            "n_thresholds": len(curve.thresholds),
            "sum_sens": curve.tpr.sum(),
            "sum_spec": (1 - curve.fpr).sum(),
        }
    level = case.param("conf_level", 0.95)
    if method == "delong":
        e = stats.auc(y, x, method="delong", level=level)
        return {
            "auc": e.value,
            "lower": e.lower,
            "upper": e.upper,
            "variance": e.details["variance"],
        }
    if method.startswith("obuchowski"):
        n1, n0 = int(y.sum()), int((1 - y).sum())
        curve = stats.fit_binormal(y, x, response="specificity")
        return {"variance": stats.binormal_variance(curve, n0 / n1, crossed=False) / n1}
    if method.startswith("hanley"):
        return {"se": stats.auc(y, x, method="hanley-mcneil").se}
    if method == "delong_logit":
        e = stats.auc(y, x, method="logit-delong-plain", level=level)
        return {"lower": e.lower, "upper": e.upper}
    if "range" in params:
        options = {
            "limits": tuple(params["range"]),
            "focus": params["axis"],
            "n_resamples": 20,
        }
        return {
            "partial_auc": stats.partial_auc(y, x, **options).value,
            "mcclish_corrected": stats.partial_auc(y, x, corrected=True, **options).value,
        }
    if "threshold_convention" in params:
        return {
            "youden": _point(y, x, "youden"),
            "closest_topleft": _point(y, x, "closest-topleft"),
        }
    if "specificity" in params:
        e = stats.rate_at(y, x, specificity=params["specificity"], n_resamples=20)
        return {"sensitivity": e.value}
    if "percentile bootstrap" in method:
        e = stats.auc(
            y,
            x,
            method="bootstrap",
            level=level,
            n_resamples=params["n_resamples"],
            stratified=params["stratified"],
        )
        return {"lower": e.lower, "upper": e.upper, "median": e.details["median"]}
    raise Unsupported(f"no counterpart of {method or params}")


def _point(y, x, rule: str) -> dict[str, Any]:
    points = stats.operating_points(y, x, rule=rule)
    listed = {
        "threshold": [p.threshold for p in points],
        "sensitivity": [p.sensitivity for p in points],
        "specificity": [p.specificity for p in points],
    }
    if rule == "youden":  # pROC gives Se + Sp
        listed["youden"] = [p.sensitivity + p.specificity for p in points]
    return {k: v[0] if len(v) == 1 else v for k, v in listed.items()}


def _two(case: Case) -> dict[str, Any]:
    inputs, params = case.input, case.params
    y = case.binary(inputs["outcome"])
    a, b = case.table()[inputs["score1"]], case.table()[inputs["score2"]]
    method = str(case.param("method", ""))
    case.param("conf_level", 0.95)
    if "margin" in params:
        r = stats.delong_test(y, a, b, alternative="non-inferiority", margin=params["margin"])
        return {"z": r.statistic, "p_value": r.p_value, "se_diff": r.details["se"]}
    if method == "delong":
        alternative = params["alternative"].replace("two.sided", "two-sided")
        r = stats.delong_test(
            y, a, b, alternative=alternative, level=case.param("conf_level", 0.95)
        )
        return {
            "auc1": r.details["auc1"],
            "auc2": r.details["auc2"],
            "z": r.statistic,
            "p_value": r.p_value,
            "diff_lower": r.interval[0],
            "diff_upper": r.interval[1],
            "cov": r.details["covariance"],
        }
    if "covariance" in method:
        first, second = (stats.fit_binormal(y, s, response="specificity") for s in (a, b))
        n1, n0 = int(y.sum()), int((1 - y).sum())
        r_negative = np.corrcoef(a[y == 0], b[y == 0])[0, 1]
        r_positive = np.corrcoef(a[y == 1], b[y == 1])[0, 1]
        cov = stats.binormal_covariance(first, second, n0 / n1, r_negative, r_positive) / n1
        return {"cov": cov}
    if "venkatraman" in method:
        r = stats.venkatraman_test(y, a, b, n_resamples=params["n_resamples"])
        return {"statistic": r.statistic, "p_value": r.p_value}
    if "sensitivity at fixed specificity" in method:
        at = params["specificity"]
        r = stats.bootstrap_test(
            lambda t, s: stats.rate_value(t, s, at, True),
            y,
            a,
            b,
            n_resamples=params["n_resamples"],
            stratified=True,
        )
        return {"statistic": r.statistic, "p_value": r.p_value}
    if "bootstrap z" in method:
        r = stats.bootstrap_test(
            stats.weighted_auc,
            y.astype(bool),
            a,
            b,
            n_resamples=params["n_resamples"],
            stratified=params["stratified"],
            weighted=True,
        )
        return {"statistic": r.statistic, "p_value": r.p_value}
    raise Unsupported(f"no counterpart of {method or params}")


def _by_group(case: Case) -> dict[str, Any]:
    table, inputs = case.table(), case.input
    y, x, group = case.binary(inputs["outcome"]), table[inputs["score"]], table[inputs["group"]]
    one, two = group == inputs["group1"], group == inputs["group2"]
    r = stats.delong_test_unpaired(y[one], x[one], y[two], x[two])
    return {
        "auc1": r.details["auc1"],
        "auc2": r.details["auc2"],
        "statistic": r.statistic,
        "df": r.df,
        "p_value": r.p_value,
    }


def _hand_till(case: Case) -> dict[str, Any]:
    table, inputs = case.table(), case.input
    labels, scores = table[inputs["outcome"]], table[inputs["score"]]
    classes = np.unique(labels, return_inverse=True)[1]
    # pROC's direction ">" says that controls (the lower class) score higher.
    direction = "lower" if "'>'" in case.command else "higher"
    e = stats.multiclass_auc(classes, scores, average="hand-till", direction=direction)
    return {"auc": e.value}
