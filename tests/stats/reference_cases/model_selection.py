"""Information criteria, likelihood ratio, leave-one-out, PSIS-LOO, WAIC, weights (R, loo)."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def _terms(formula: str) -> tuple[str, list[str]]:
    left, right = formula.replace(" ", "").split("~")
    return left, [t for t in right.split("+") if t != "1"]


def _data(case: Case, formula: str) -> tuple[np.ndarray, np.ndarray]:
    outcome, terms = _terms(formula)
    table = case.table()
    y = case.binary(outcome)
    x = np.stack([table[t] for t in terms], axis=1) if terms else np.empty((y.size, 0))
    return x, y


def _loo(path: str, case: Case) -> tuple[stats.Elpd, stats.Elpd]:
    x = np.loadtxt(case.folder / path, delimiter=",", ndmin=2)  # no header
    return stats.psis_loo(x), stats.waic(x)


def run(case: Case) -> dict[str, Any]:
    inputs, params = case.input, case.params
    if "files" in inputs:
        models = {f"model{i + 1}": _loo(f, case)[0] for i, f in enumerate(inputs["files"])}
        rows = stats.compare_elpd(models)
        table = np.stack([m.pointwise for m in models.values()], axis=1)
        return {
            "order": [r["name"] for r in rows],
            "elpd_diff": [r["difference"] for r in rows],
            "se_diff": [r["se"] for r in rows],
            "stacking": stats.model_weights(table).tolist(),
            "pseudobma": stats.model_weights(table, method="pseudo-bma").tolist(),
        }
    if case.asks("elpd_loo", "elpd_waic", "p_loo", "p_waic", "se_elpd_loo"):
        a, b = _loo(inputs["file"], case)
        return {
            "elpd_loo": a.elpd,
            "se_elpd_loo": a.se,
            "p_loo": a.p_effective,
            "pareto_k_max": a.pareto_k.max(),
            "pareto_k_first5": a.pareto_k[:5].tolist(),
            "elpd_waic": b.elpd,
            "se_elpd_waic": b.se,
            "p_waic": b.p_effective,
        }
    if "formulas" in params:
        fits = [stats.logistic_model(*_data(case, f)) for f in params["formulas"]]
        if case.asks("weights"):
            return {"weights": stats.information_weights([f.criteria.aic for f in fits]).tolist()}
        extra = fits[1].parameters - fits[0].parameters
        r = stats.likelihood_ratio_test(fits[0].log_likelihood, fits[1].log_likelihood, extra)
        return {"chi2": r.statistic, "df": r.df, "p_value": r.p_value}
    if "formula" in params:
        x, y = _data(case, params["formula"])
        if case.asks("first5", "sum"):
            scores = stats.leave_one_out_scores(x, y)
            spread = np.sqrt(scores.size * scores.var(ddof=1))
            return {"sum": scores.sum(), "se": spread, "first5": scores[:5].tolist()}
        fit = stats.logistic_model(x, y, errors="glm")
        coef, se = fit.coefficients.tolist(), fit.standard_errors.tolist()
        one = len(coef) == 1
        return {
            "loglik": fit.log_likelihood,
            "aic": fit.criteria.aic,
            "bic": fit.criteria.bic,
            "aicc": fit.criteria.aicc,
            "coef": coef[0] if one else coef,
            "se": se[0] if one else se,
        }
    raise Unsupported("no counterpart in model selection")
