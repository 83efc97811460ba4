"""Power and sample size (R, pwr, pROC, MESS, exact2x2, epiR, MKpower, pmsampsize)."""

from __future__ import annotations

from typing import Any

from jaxmed import stats
from reference_cases.compare import Case, Unsupported


def run(case: Case) -> dict[str, Any]:
    i, want = case.input, case.expected
    method = str(case.param("method", ""))
    if "p1" in i:
        return _two(i, case.params, method)
    if "d" in i:
        design = "paired" if i["type"] == "paired" else "two-sample"
        return {"n": stats.power_t(i["d"], power=i["power"], design=design).n}
    if "psi" in i:
        small, large = i["p_small"], i["p_small"] * i["psi"]
        at = {"n": i["n"], "alpha": i["alpha"]}
        return {
            "n_pairs_normal": stats.power_mcnemar(
                small, large, power=i["power"], alpha=i["alpha"]
            ).n,
            "power_normal_at_n": stats.power_mcnemar(small, large, **at).power,
            # MESS rejects by mid-p, exact2x2 by the exact test on the right side.
            "power_exact_at_n": stats.power_mcnemar(small, large, method="mid-p", **at).power,
            "power_exact2x2_at_n": stats.power_mcnemar(small, large, method="exact", **at).power,
        }
    if "parms" in i:
        p = i["parms"]
        r = stats.power_two_aucs(
            stats.Binormal(p["A1"], p["B1"]),
            stats.Binormal(p["A2"], p["B2"]),
            power=i["power"],
            ratio=i["kappa"],
            r_positive=p["ra"],
            r_negative=p["rn"],
            difference=p["delta"],
            alpha=i["alpha"],
            method="obuchowski-mcclish",
        )
        return {"n_cases": r.positives, "n_controls": r.negatives}
    if "a" in i and "file" in i:
        table, y = case.table(), case.binary(i["y"])
        data = (y, table[i["a"]], table[i["b"]])
        r = stats.power_two_aucs_pilot(*data, power=i["power"])
        return {
            "n_cases": r.positives,
            "n_controls": r.negatives,
            "power_at_pilot_n": stats.power_two_aucs_pilot(*data, positives=int(y.sum())).power,
            "n_cases_obuchowski": stats.power_two_aucs_pilot(
                *data, power=i["power"], method="binormal-proc"
            ).positives,
        }
    if "auc" in i:
        if "Hanley" in method:
            r = stats.size_auc_bound(
                i["auc"],
                i["delta"],
                power=i["power"],
                alpha=i["alpha"],
                prevalence=case.params["prevalence"],
                method="hanley-mcneil",
            )
        elif "power" in want:
            r = stats.power_auc(
                i["auc"],
                positives=i["ncases"],
                ratio=i["ncontrols"] / i["ncases"],
                alpha=i["alpha"],
            )
            return {"power": r.power}
        else:
            r = stats.power_auc(i["auc"], power=i["power"], ratio=i["kappa"], alpha=i["alpha"])
        return {"n_cases": r.positives, "n_controls": r.negatives}
    if "pt" in i:
        r = stats.power_noninferiority(
            i["pt"], i["pc"], i["delta"], power=i["power"], alpha=case.params["alpha"]
        )
        return {"n_total": 2 * r.n}
    if "eps" in i:
        share = i["prev"] if i["type"] == "se" else 1 - i["prev"]
        if "Flahault" in method:
            n = stats.size_exact_bound(i["p"], i["eps"])
            return {"n": n, "n1": n * (1 - share) / share}
        plan = stats.size_for_width(i["p"], i["eps"], method="wald", prevalence=share)
        return {"n": plan.total}
    if "c" in i and "prev" in i:
        known = {"auc": i["c"]} if "C-statistic" in method else {"r_squared": i["r2"]}
        r = stats.model_sample_size(i["k"], i["prev"], **known)
        return {"n": r.n, "r2_cs": r.r_squared, "epp": r.events_per_parameter}
    if "w" in i:
        return {"n": stats.size_for_width(i["p"], i["w"]).of_class}
    raise Unsupported(f"no counterpart of {method}")


def _two(i: dict[str, Any], params: dict[str, Any], method: str) -> dict[str, Any]:
    import math

    sides = 1 if i["alt"] == "one.sided" else 2
    options = {"alpha": i["alpha"], "sides": sides}
    if "arcsine" in method:
        h = 2 * math.asin(math.sqrt(i["p1"])) - 2 * math.asin(math.sqrt(i["p2"]))
        r = stats.power_proportions(i["p1"], i["p2"], power=i["power"], method="arcsine", **options)
        return {"h": h, "n_per_group": r.n}
    if "strict" in params:
        r = stats.power_proportions(i["p1"], i["p2"], n=i["n"], strict=params["strict"], **options)
        return {"power": r.power}
    r = stats.power_proportions(i["p1"], i["p2"], power=i["power"], **options)
    return {"n_per_group": r.n, "n_ceil": r.needed}
