"""Calibration (rms, SpecsVerification, scikit-learn, netcal, MAPIE)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from scipy import special

from jaxmed import stats
from reference_cases.compare import Case, Ignored, Unsupported


def run(case: Case) -> dict[str, Any]:
    inputs, params, want = case.input, case.params, case.expected
    if "probs" in inputs:
        return _multiclass(case)
    table = case.table()
    y, p = table[inputs["outcome"]].astype(int), table[inputs["prob"]]
    if "clip" in inputs:
        p = np.clip(p, 1e-6, 1 - 1e-6)
    if "Emax" in want:
        return _val_prob(y, p)
    if case.asks("citl", "citl_se", "slope_se", "intercept_joint"):
        a = stats.calibration_intercept(y, p, errors="glm")
        b = stats.calibration_slope(y, p, errors="glm")
        return {
            "citl": a.value,
            "citl_se": a.se,
            "slope": b.value,
            "slope_se": b.se,
            "intercept_joint": b.details["intercept"],
        }
    if case.asks("groups", "chi2"):
        df = params.get("df")
        r = stats.hosmer_lemeshow_test(
            y, p, groups=_groups(params.get("groups")), df=df if isinstance(df, int) else None
        )
        return {"chi2": r.statistic, "groups": r.details["groups"], "p_value": r.p_value}
    if case.asks("reliability", "resolution", "reliability_bias_corrected"):
        m = stats.murphy(y, p, n_bins=params["bins"])
        return {k: getattr(m, k.replace("_bias_corrected", "_corrected")) for k in want}
    if case.asks("brier_skill", "log_loss", "average_precision"):
        b = stats.brier(y, p)
        return {
            "brier": b.value,
            "log_loss": stats.log_loss(y, p).value,
            "brier_skill": b.details["skill"],
            "average_precision": stats.average_precision(y, p).value,
            "auc": stats.auc(y, p).value,
        }
    if case.asks("brier_se", "z"):
        r = stats.spiegelhalter_test(y, p)
        return {"z": r.statistic, "p_value": r.p_value, "brier_se": r.details["brier_se"]}
    if case.asks("ece", "rmsce", "mce", "ece_left_closed", "mce_left_closed"):
        return _ece(case, y, p)
    if case.asks("kuiper", "ks"):
        if np.unique(p).size < p.size and len({*zip(p, y, strict=True)}) > np.unique(p).size:
            raise Unsupported("MAPIE breaks ties of probability at random; ours enter together")
        return {k: stats.cumulative_test(y, p, kind=k, n_resamples=9).statistic for k in want}
    if case.asks("temperature", "nll_before", "nll_after"):
        t = stats.fit_temperature(y, p, bound=params["logit_clip"])
        logit = np.clip(special.logit(p), -params["logit_clip"], params["logit_clip"])
        signed = np.where(y == 1, 1, -1) * logit
        return {
            "temperature": t,
            "nll_before": np.logaddexp(0, -signed).mean(),
            "nll_after": np.logaddexp(0, -signed / t).mean(),
        }
    if case.asks("slope", "intercept"):
        e = stats.calibration_slope(y, p)
        return {"slope": e.value, "intercept": e.details["intercept"]}
    if case.asks("corp_miscalibration", "corp_discrimination", "brier_after"):
        fitted, parts = stats.isotonic(y, p), stats.corp(y, p)
        return {
            "brier_after": np.mean((fitted - y) ** 2),
            "n_levels": np.unique(fitted).size,
            "first10": fitted[:10].tolist(),
            "corp_miscalibration": parts.miscalibration,
            "corp_discrimination": parts.discrimination,
            "corp_uncertainty": parts.uncertainty,
        }
    raise Unsupported(f"no counterpart of {sorted(want)}")


def _groups(told: Any) -> int:
    """Groups by quantiles, given as a number or in words (`deciles ...`)."""
    if isinstance(told, (int, float)):
        return int(told)
    words = {"decile": 10, "quintile": 5, "quartile": 4, "vigintile": 20}
    return next((n for word, n in words.items() if word in str(told)), 10)


def _val_prob(y: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    v, s = stats.validation_indices(y, p), stats.smooth_calibration(y, p)
    z = stats.spiegelhalter_test(y, p)
    c = stats.auc(y, np.floor(5000 * p)).value  # lrm counts concordance over steps of 1/5000
    return {
        "Dxy": 2 * c - 1,
        "C (ROC)": c,
        "R2": v.r_squared,
        "D": v.d,
        "D:Chi-sq": v.d_chi_square,
        "U": v.u,
        "U:Chi-sq": v.u_chi_square,
        "U:p": v.u_p_value,
        "Q": v.q,
        "Brier": stats.brier(y, p).value,
        "Intercept": v.intercept,
        "Slope": v.slope,
        "Emax": s.maximum,
        "E90": s.e90,
        "Eavg": s.ici,
        "S:z": z.statistic,
        "S:p": z.p_value,
    }


def _ece(case: Case, y: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    params = case.params
    bins = {"n_bins": params["n_bins"], "n_resamples": 0}
    if "array_split" in str(params.get("bins", "")):
        # The tool parts tied probabilities in the order of the rows, which ours does not do: that
        # order is given to them, below any difference that counts.
        order = np.empty(p.size)
        order[np.argsort(p, kind="stable")] = np.arange(p.size)
        parted = p * (1 - 1e-9) + 1e-9 * order / p.size
        return {"ece": stats.ece(y, parted, binning="mass", **bins).value}
    of = "top" if "max" in str(params.get("confidence", "")) else "positive"

    def value(**options: Any) -> float:
        return stats.ece(y, p, of=of, **bins, **options).value

    left = value(closed="left")
    return {
        "ece": value(),
        "rmsce": value(norm="l2"),
        "mce": value(norm="max"),
        "ece_left_closed": left,
        "mce_left_closed": value(closed="left", norm="max"),
        "netcal_ece": left,
        "netcal_mce": value(closed="left", norm="max"),
        "torchmetrics": Ignored("float32, and a bin of its own for a probability of 1"),
    }


def _multiclass(case: Case) -> dict[str, Any]:
    table = case.table()
    columns = sorted((n for n in table if re.fullmatch(r"p\d+", n)), key=lambda n: int(n[1:]))
    p = np.stack([table[n] for n in columns], axis=1)
    if case.input.get("renormalise"):
        p = p / p.sum(axis=1, keepdims=True)
    y = table[case.input["outcome"]].astype(int)
    bins = {"n_bins": case.params["n_bins"], "n_resamples": 0}
    return {
        "top_label_ece": stats.ece(y, p, **bins).value,
        "classwise_ece": stats.ece(y, p, of="class", **bins).value,
        "brier_multiclass": stats.brier(y, p).value,
        "nll": stats.log_loss(y, p).value,
        "accuracy": stats.accuracy(y, p).value,
        "auc_ovr_macro": stats.multiclass_auc(y, p).value,
        "auc_ovo_handtill": stats.multiclass_auc(y, p, average="hand-till").value,
        "torchmetrics_ece": Ignored("float32"),
        "metricsreloaded": Ignored("other definitions, informative only"),
    }
