"""Multi-reader multi-case studies (MRMCaov, RJafroc, iMRMC)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def run(case: Case) -> dict[str, Any]:
    if "marks" in case.input:
        return _froc(case)
    params = case.params
    if "modalityA" in params or "modalityB" in params:
        return _one_shot(case)
    if "effect_size" in params:
        return _power(case)
    table = case.table()
    study, cases = _study(case, table)
    if case.asks("auc_treatment_by_reader", "rows", "cols"):
        return {
            "auc_treatment_by_reader": study.theta.tolist(),
            "rows": "treatments",
            "cols": "readers",
        }
    if "pseudo_anova_ms" in case.expected or "VarC" in case.expected.get("variance_components", {}):
        a = stats.dbm_anova(study)
        names = {
            "VarR": "R",
            "VarC": "C",
            "VarTR": "TR",
            "VarTC": "TC",
            "VarRC": "RC",
            "VarErr": "error",
        }
        return {
            "variance_components": {k: a.components[v] for k, v in names.items()},
            "F": a.f,
            "df2": a.df2,
            "p_value": a.p_value,
            "pseudo_anova_ms": a.mean_squares,
        }
    r = stats.reader_test(study, readers=_readers(case), cases=cases)
    return _answer(r)


def _readers(case: Case) -> str:
    """Fixed where the case says so, or expects their chi-square."""
    return case.param("readers", "fixed" if case.asks("X2") else "random")


def _study(case: Case, table: dict[str, np.ndarray]) -> tuple[stats.ReaderStudy, str]:
    params = case.params
    rating, metric = table["rating"], "auc"
    name = str(params.get("metric", "") if params else "")
    if name.startswith("binary"):
        at = float(re.search(r">=\s*([\d.]+)", params["positive"]).group(1))
        rating = (rating >= at).astype(float)
        metric = "sensitivity" if "sens" in name else "specificity"
    elif "partial" in name:
        low, high = map(float, re.search(r"specificity ([\d.]+)-([\d.]+)", name).groups())

        def metric(y: np.ndarray, x: np.ndarray) -> float:
            return stats.partial_auc_value(y, x, (low, high), "specificity", False)

    names = np.unique(table["case"], return_inverse=True)[1]
    nested = str(params.get("case_id", "") if params else "")
    if "reader" in nested:
        names = _within(names, table["reader"])
    elif "treatment" in nested:
        names = _within(names, table["treatment"])
    covariance = str(params.get("covariance", "jackknife") if params else "jackknife").lower()
    study = stats.reader_study(
        table["truth"],
        rating,
        table["reader"],
        table["treatment"],
        names,
        metric=metric,
        covariance=covariance,
    )
    return study, params.get("cases", "random") if params else "random"


def _within(names: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Names of cases that each reader (or treatment) has for itself."""
    return names + (names.max() + 1) * np.unique(outer, return_inverse=True)[1]


def _answer(r: stats.ReaderTest) -> dict[str, Any]:
    df = r.overall.df
    names = r.components
    diffs = []
    for key, d in r.differences.items():
        first, second = key.split(" - ")
        tidy = [_plain(x) for x in (first, second)]
        comparison = " - ".join(tidy)
        diffs.append(
            {
                "comparison": _Either(comparison, f"trt{tidy[0]}-trt{tidy[1]}"),
                "estimate": d.effect,
                "se": d.details["se"],
                "df": d.df,
                "lower": d.interval[0],
                "upper": d.interval[1],
                "statistic": d.statistic,
                "p_value": d.p_value,
            }
        )
    means = [
        {"estimate": m.value, "se": m.se, "df": m.details["df"], "lower": m.lower, "upper": m.upper}
        for m in r.means.values()
    ]
    ms = r.overall.details["mean_squares"]
    p = r.overall.p_value
    answer = {
        "F": r.overall.statistic,
        "X2": r.overall.statistic,
        "p_value": p,
        "p-value": p,
        "df1": df[0] if isinstance(df, tuple) else df,
        "df": df,
        "df2": df[1] if isinstance(df, tuple) else None,
        "MS(T)": ms["T"],
        "Cov1": names.cov1,
        "Cov2": names.cov2,
        "Cov3": names.cov3,
        "Denominator": r.overall.details["denominator"],
        "diffs": diffs,
        "means": means,
        "variance_components": {
            "reader": names.reader,
            "treatment:reader": names.treatment_reader,
            "Error": names.error,
            "Cov1": names.cov1,
            "Cov2": names.cov2,
            "Cov3": names.cov3,
            "VarR": names.reader,
            "VarTR": names.treatment_reader,
            "Var": names.error,
        },
    }
    return answer


def _plain(name: str) -> str:
    """A treatment's number without decimals; another name as it is."""
    try:
        return str(int(float(name)))
    except ValueError:
        return name


class _Either(str):
    """A name that two tools spell in two ways."""

    def __new__(cls, *spellings: str) -> _Either:
        made = super().__new__(cls, spellings[0])
        made.spellings = spellings
        return made

    def __eq__(self, other: object) -> bool:
        return other in self.spellings

    __hash__ = str.__hash__


@lru_cache(maxsize=4)
def _pilot(path: str, folder: str) -> stats.ReaderStudy:
    from reference_cases.compare import _table

    t = _table(path)
    return stats.reader_study(t["truth"], t["rating"], t["reader"], t["treatment"], t["case"])


def _power(case: Case) -> dict[str, Any]:
    params = case.params
    pilot = _pilot(str(case.path()), "")
    if "K" in params:
        alpha = params["alpha"]
        r = stats.reader_power(
            pilot,
            readers=params["J"],
            cases=params["K"],
            effect=params["effect_size"],
            alpha=alpha,
        )
        from scipy import stats as scipy_stats

        return {
            "powerRRRC": r.power,
            "ncpRRRC": r.noncentrality,
            "df2RRRC": r.df2,
            "fRRRC": scipy_stats.f.isf(alpha, 1, r.df2),
        }
    r = stats.reader_sample_size(
        pilot, readers=params["J"], effect=params["effect_size"], power=params["power"]
    )
    return {"KRRRC": r.cases, "powerRRRC": r.power}


def _one_shot(case: Case) -> dict[str, Any]:
    t, params = case.table(), case.params
    readers, cases = np.unique(t["reader"]), np.unique(t["case"])
    truth = np.zeros(cases.size, int)
    truth[np.searchsorted(cases, t["case"])] = t["truth"]

    def ratings(modality: str) -> np.ndarray | None:
        if modality == "NO_MOD":
            return None
        rows = t["treatment"] == float(modality.lstrip("m"))
        out = np.full((readers.size, cases.size), np.nan)
        i, j = np.searchsorted(readers, t["reader"][rows]), np.searchsorted(cases, t["case"][rows])
        out[i, j] = t["rating"][rows]
        return out

    method = "unbiased" if "U-stat" in params["method"] else "v-statistics"
    r = stats.one_shot_test(
        truth,
        ratings(params["modalityA"]),
        ratings(params["modalityB"]),
        method=method,
        truncate=True,
    )
    two = params["modalityB"] != "NO_MOD"
    d = r.details
    return {
        "NR": readers.size,
        "N0": d["negatives"],
        "N1": d["positives"],
        "AUCA": d["auc"][0],
        "varAUCA": d["variances"][0],
        "AUCB": d["auc"][1] if two else None,
        "varAUCB": d["variances"][1] if two else None,
        "AUCAminusAUCB": r.effect if two else None,
        "varAUCAminusAUCB": d["variance"] if two else None,
        "pValueNormal": d["p_normal"],
        "botCInormal": d["normal_interval"][0],
        "topCInormal": d["normal_interval"][1],
        "rejectNormal": int(d["p_normal"] < 0.05),
        "dfBDG": r.df,
        "pValueBDG": r.p_value,
        "botCIBDG": r.interval[0],
        "topCIBDG": r.interval[1],
        "rejectBDG": int(r.p_value < 0.05),
    }


def _froc(case: Case) -> dict[str, Any]:
    marks = case.table(case.input["marks"])
    cases = case.table(case.input["cases"])
    hit = marks["is_lesion_mark"] == 1
    study = stats.froc_study(
        cases["case"],
        cases["n_lesions"],
        mark_case=marks["case"],
        mark_reader=marks["reader"],
        mark_treatment=marks["modality"],
        mark_lesion=np.where(hit, marks["mark"], 0),
        mark_rating=marks["rating"],
        figure=case.params["fom"],
    )
    if "fom_modality_by_reader" in case.expected:
        return {"fom_modality_by_reader": study.theta.tolist()}
    if "OR" not in str(case.param("method", "")):
        raise Unsupported(f"no counterpart of {case.params}")
    answer = _answer(stats.reader_test(study))
    for got, want in zip(answer["diffs"], case.expected.get("diffs", answer["diffs"]), strict=True):
        got["comparison"] = want["comparison"]  # the tool's own names of the treatments
    return answer
