"""More of the coverage study: metrics of two classes, rows that share patients, further tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import integrate, special

from jaxmed import stats

SHIFT = float(np.sqrt(2) * special.ndtri(0.8))  # binormal scores of AUC .8

METRICS: dict[str, tuple[Callable, str]] = {
    "sensitivity": (stats.sensitivity, "calls"),
    "ppv": (stats.ppv, "calls"),
    "npv": (stats.npv, "calls"),
    "likelihood ratio": (stats.likelihood_ratio, "calls"),
    "diagnostic odds ratio": (stats.diagnostic_odds_ratio, "calls"),
    "youden": (stats.youden, "calls"),
    "balanced accuracy": (stats.balanced_accuracy, "calls"),
    "f1": (stats.f1, "calls"),
    "mcc": (stats.mcc, "calls"),
    "kappa": (stats.kappa, "calls"),
    "average precision": (stats.average_precision, "scores"),
    "calibration slope": (stats.calibration_slope, "probabilities"),
    "calibration intercept": (stats.calibration_intercept, "probabilities"),
}


def truths(prevalence: float) -> dict[str, float]:
    """What each metric is in the population, scores cut midway between the classes."""
    cut = SHIFT / 2
    se, sp = special.ndtr(SHIFT - cut), special.ndtr(cut)
    tp, fn = prevalence * se, prevalence * (1 - se)
    tn, fp = (1 - prevalence) * sp, (1 - prevalence) * (1 - sp)
    chance = (tp + fp) * prevalence + (fn + tn) * (1 - prevalence)

    def precision(x: float) -> float:
        hits = prevalence * special.ndtr(SHIFT - x)
        return hits / (hits + (1 - prevalence) * special.ndtr(-x))

    def density(x: float) -> float:
        return float(np.exp(-((x - SHIFT) ** 2) / 2) / np.sqrt(2 * np.pi))

    return {
        "sensitivity": se,
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "likelihood ratio": se / (1 - sp),
        "diagnostic odds ratio": tp * tn / (fp * fn),
        "youden": se + sp - 1,
        "balanced accuracy": (se + sp) / 2,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * prevalence * (1 - prevalence) * (tn + fn)),
        "kappa": (tp + tn - chance) / (1 - chance),
        "average precision": integrate.quad(lambda x: precision(x) * density(x), -9, 12)[0],
        "calibration slope": 1.0,
        "calibration intercept": 0.0,
    }


def metric_coverage(
    n: int, prevalence: float, *, studies: int = 500, seed: int = 0
) -> dict[str, float]:
    """Share of studies whose interval holds the population's value; undefined ones count as not."""
    rng = np.random.default_rng(seed)
    true = truths(prevalence)
    held = dict.fromkeys(true, 0)
    for _ in range(studies):
        y = (rng.random(n) < prevalence).astype(int)
        x = rng.normal(size=n) + SHIFT * y
        called = (x >= SHIFT / 2).astype(int)
        p = special.expit(SHIFT * (x - SHIFT / 2) + special.logit(prevalence))
        data = {"calls": called, "scores": x, "probabilities": p}
        for name, (metric, of) in METRICS.items():
            try:
                e = metric(y, data[of])
            except ValueError:  # one class only, separation
                continue
            held[name] += e.lower <= true[name] <= e.upper
    return {name: count / studies for name, count in held.items()}


def clustered_coverage(
    *, patients: int = 50, rows: int = 4, icc: float = 0.5, studies: int = 400, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Coverage (rows as independent, by patient) where a patient's rows are alike."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rows)
    counts = {name: np.zeros(2) for name in ("auc", "accuracy", "mean")}
    cut = SHIFT / 2
    true = {"auc": 0.8, "accuracy": float(special.ndtr(cut)), "mean": 0.0}
    for _ in range(studies):
        y = rng.permutation(np.arange(patients) % 2)[patient]
        noise = np.sqrt(icc) * rng.normal(size=patients)[patient]
        noise += np.sqrt(1 - icc) * rng.normal(size=patient.size)
        x = noise + SHIFT * y
        for i, groups in enumerate((None, patient)):
            made = {
                "auc": stats.auc(y, x, groups=groups),
                "accuracy": stats.accuracy(y, (x >= cut).astype(int), groups=groups),
                "mean": stats.mean(noise, groups=groups),
            }
            for name, e in made.items():
                counts[name][i] += e.lower <= true[name] <= e.upper
    return {name: tuple(c / studies) for name, c in counts.items()}


def sizes_of_tests(*, studies: int = 400, seed: int = 0) -> dict[str, float]:
    """Share of true null hypotheses rejected at .05."""
    rng = np.random.default_rng(seed)
    rejected: dict[str, int] = {}

    def count(name: str, p_value: float) -> None:
        rejected[name] = rejected.get(name, 0) + (p_value <= 0.05)

    readers, cases = 5, 60
    r, t, c = (g.ravel() for g in np.meshgrid(range(readers), range(2), range(cases)))
    for _ in range(studies):
        y = (rng.random(60) < 0.4).astype(int)
        shared = rng.normal(size=60) + 1.2 * y
        a, b = (shared + 0.6 * rng.normal(size=60) for _ in range(2))
        d = rng.beta(9, 1, 40) - rng.beta(9, 1, 40)
        count("paired t, differences of skewed Dice, n = 40", stats.paired_t_test(d).p_value)
        count("Wilcoxon, the same", stats.wilcoxon_test(d).p_value)
        count("sign flips, the same", stats.sign_flip_test(d, n_resamples=499).p_value)
        made = stats.bootstrap_test(
            lambda y, s, w: stats.weighted_average_precision(y == 1, s, w),
            y, a, b, weighted=True, n_resamples=300,
        )  # fmt: skip
        count("bootstrap of average precision, n = 60", made.p_value)
        p = rng.uniform(0.05, 0.95, 400)
        truth = (rng.random(400) < p).astype(int)
        count("Hosmer-Lemeshow, n = 400", stats.hosmer_lemeshow_test(truth, p, df=10).p_value)
        count("Spiegelhalter, n = 400", stats.spiegelhalter_test(truth, p).p_value)
        k = rng.normal(size=(12, 4))
        count("Friedman, 12 data sets x 4 models", stats.friedman_test(k).p_value)
        positive = c % 2
        rating = (
            positive * 1.2 + rng.normal(size=cases)[c] + 0.4 * rng.normal(size=readers)[r]
            + 0.3 * rng.normal(size=(readers, 2))[r, t] * positive + rng.normal(size=c.size)
        )  # fmt: skip
        study = stats.reader_study(positive, rating, r, t, c)
        count("Obuchowski-Rockette, 5 readers x 60 cases", stats.reader_test(study).overall.p_value)
    sizes = {name: n / studies for name, n in rejected.items()}
    for name, plan, n in (
        ("DeLong, clustered, 60 patients x 3", stats.planned_aucs(0.8, 0.8, rows=3, icc=0.5), 60),
        ("McNemar, clustered, 60 patients x 3", stats.planned_rates(0.8, 0.8, rows=3, icc=0.5), 60),
        ("McNemar mid-p, n = 100", stats.planned_rates(0.8, 0.8), 100),
    ):
        sizes[name] = stats.simulate_power(plan, n, studies=4000).value
    return sizes


def kappa_coverage(
    n: int, kappa: float, prevalence: float, *, studies: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Coverage of kappa's limits: two raters who, each with chance sqrt(kappa), see the truth."""
    rng = np.random.default_rng(seed)
    held = dict.fromkeys(("delta", "log", "auto"), 0)
    for _ in range(studies):
        a, b = _raters(rng, n, 2, kappa, prevalence).T
        for method in held:
            e = stats.kappa(a, b, method=method)
            held[method] += e.lower <= kappa <= e.upper
    return {name: count / studies for name, count in held.items()}


def fleiss_coverage(
    n: int, kappa: float, *, raters: int = 4, studies: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Coverage of the limits of Fleiss' kappa, the rarer class at .3."""
    rng = np.random.default_rng(seed)
    held = dict.fromkeys(("null", "wald", "log"), 0)
    for _ in range(studies):
        x = _raters(rng, n, raters, kappa, 0.3)
        for method in held:
            e = stats.fleiss_kappa(x, method=method)
            held[method] += e.lower <= kappa <= e.upper
    return {name: count / studies for name, count in held.items()}


def _raters(
    rng: np.random.Generator, n: int, raters: int, kappa: float, prevalence: float
) -> np.ndarray:
    """(n, raters) of 0 and 1 of a known kappa."""
    truth = rng.random(n) < prevalence
    own = rng.random((n, raters)) < prevalence
    seen = rng.random((n, raters)) < np.sqrt(kappa)
    return np.where(seen, truth[:, None], own).astype(int)


def icc_coverage(
    n: int, raters: int, value: float, *, studies: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Coverage of the limits of ICC2, raters' shifts making half of what is not the subjects'."""
    rng = np.random.default_rng(seed)
    held = dict.fromkeys(("f", "generalized"), 0)
    shift = error = np.sqrt((1 - value) / 2)
    for _ in range(studies):
        x = np.sqrt(value) * rng.normal(size=(n, 1)) + shift * rng.normal(size=raters)
        x = x + error * rng.normal(size=(n, raters))
        for method in held:
            e = stats.icc(x, method=method)
            held[method] += e.lower <= value <= e.upper
    return {name: count / studies for name, count in held.items()}


def agreement_sections(table: Callable[[list[str], list[list[str]]], str]) -> list[str]:
    """Agreement: kappa near 1, few subjects, few raters."""
    text = ["## Cohen's kappa (1000 studies each; error .007)\n"]
    text.append("`auto`, the default, is `log` where raters differ on fewer than 15 cases.\n")
    rows = []
    for n in (30, 60, 200):
        for kappa, prevalence in ((0.6, 0.5), (0.6, 0.2), (0.9, 0.5), (0.97, 0.2)):
            c = kappa_coverage(n, kappa, prevalence)
            rows.append(
                [str(n), f"{kappa:g}", f"{prevalence:g}", *(f"{v:.3f}" for v in c.values())]
            )
    text.append(table(["n", "kappa", "prevalence", *c], rows))
    text.append("## Fleiss' kappa of four raters (1000 studies each; `log` is the default)\n")
    rows = []
    for n in (20, 60, 200):
        for kappa in (0.3, 0.6, 0.97):
            c = fleiss_coverage(n, kappa)
            rows.append([str(n), f"{kappa:g}", *(f"{v:.3f}" for v in c.values())])
    text.append(table(["n", "kappa", *c], rows))
    text.append("## ICC2 of few raters (1000 studies each)\n")
    text.append("`generalized` is the default below 20 raters, `f` is McGraw and Wong's.\n")
    rows = []
    for n in (10, 30, 100):
        for raters in (2, 3, 5, 10):
            for value in (0.5, 0.9):
                c = icc_coverage(n, raters, value)
                rows.append([str(n), str(raters), f"{value:g}", *(f"{v:.3f}" for v in c.values())])
    text.append(table(["n", "raters", "ICC2", *c], rows))
    return text


def sections(table: Callable[[list[str], list[list[str]]], str]) -> list[str]:
    """The pages' further sections."""
    grid = [(40, 0.3), (40, 0.5), (200, 0.1), (200, 0.3)]
    found = [metric_coverage(n, share) for n, share in grid]
    head = ["metric (default interval)", *(f"n = {n}, prevalence {p:g}" for n, p in grid)]
    rows = [[name, *(f"{f[name]:.3f}" for f in found)] for name in found[0]]
    text = [
        "## Metrics of two classes, binormal scores of AUC .8 (500 studies each; error .01)\n",
        "A study in which a metric is not defined counts as not covered.\n",
        table(head, rows),
    ]
    grouped = clustered_coverage()
    text += [
        *agreement_sections(table),
        "## Rows that share patients: 50 patients of 4 rows, correlated by .5 (400 studies)\n",
        table(
            ["estimate", "rows as independent", "by patient (`groups=`)"],
            [[name, f"{a:.3f}", f"{b:.3f}"] for name, (a, b) in grouped.items()],
        ),
        "## Size of further tests (400 studies each, error .011; the last three 4000)\n",
        table(["test", "size"], [[name, f"{v:.3f}"] for name, v in sizes_of_tests().items()]),
    ]
    return text
