"""Coverage of intervals and size of tests over a grid; writes docs/stats-coverage.md.

Run: python tests/stats/coverage_study.py (three minutes on one core). Proportions and McNemar's
test are exact sums over all outcomes; AUC, Dice means and fold tests are simulated.
"""

from __future__ import annotations

from pathlib import Path

import coverage_metrics
import numpy as np
from scipy import special
from scipy import stats as sp

from jaxmed import stats
from jaxmed.stats.comparison._batch import batch_placements
from jaxmed.stats.diagnostic._auc import (
    FEW_MISPLACED,
    hanley_mcneil_variance,
    newcombe_limits,
)

PROPORTION_METHODS = ("wald", "wilson", "agresti-coull", "clopper-pearson", "jeffreys", "mid-p")


def proportion_coverage(method: str, n: int, p: float, level: float = 0.95) -> float:
    """Exact chance that the interval holds p."""
    x = np.arange(n + 1)
    limits = np.array([stats.proportion_limits(k, n, method=method, level=level) for k in x])
    inside = (limits[:, 0] <= p) & (p <= limits[:, 1])
    return float(sp.binom.pmf(x, n, p)[inside].sum())


def auc_coverage(
    area: float, n1: int, n0: int, *, spread: float = 1.0, studies: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """Share of simulated binormal studies whose interval holds the area, by method.

    The positives' scores spread `spread` times as widely as the negatives'.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [n1, n0]) == 1
    shift = np.sqrt(1 + spread**2) * special.ndtri(area)
    scores = rng.normal(size=(studies, n1 + n0)) * np.where(labels, spread, 1) + shift * labels
    up, down, found = batch_placements(labels, scores)
    se = np.sqrt(up.var(axis=1, ddof=1) / n1 + down.var(axis=1, ddof=1) / n0)
    z = sp.norm.ppf(0.975)
    held = {"delong": np.abs(found - area) <= z * se}
    with np.errstate(divide="ignore", invalid="ignore"):
        logit = np.abs(special.logit(found) - special.logit(area)) <= z * se / (found * (1 - found))
    # Areas are multiples of 1 / (n1 n0): each is inverted once. At 1 the logit's are Newcombe's.
    score = {
        v: low <= area <= high
        for v in np.unique(found)
        for low, high in [newcombe_limits(v, n1, n0, z)]
    }
    newcombe = np.array([score[v] for v in found])
    plain = np.where((found < 1) & (se > 0), logit, newcombe)
    few = min(n1, n0) * np.minimum(found, 1 - found) < FEW_MISPLACED
    held["logit-delong-plain"] = plain
    held["logit-delong"] = plain | (few & newcombe)
    held["newcombe"] = newcombe
    error = np.sqrt([max(hanley_mcneil_variance(v, n1, n0), 0) for v in found])
    held["hanley-mcneil"] = np.abs(found - area) <= z * error
    return {k: float(v.mean()) for k, v in held.items()}


def mcnemar_size(method: str, n: int, discordant: float, alpha: float = 0.05) -> float:
    """Exact chance that McNemar's test rejects where both are right equally often."""
    total = 0.0
    for m in range(n + 1):
        weight = sp.binom.pmf(m, n, discordant)
        if weight < 1e-12:
            continue
        chance = sp.binom.pmf(np.arange(m + 1), m, 0.5)
        for b in np.flatnonzero(weight * chance > 1e-8):
            r = stats.mcnemar_test(table=(0, int(b), int(m - b), n - m), method=method)
            total += weight * chance[b] * (r.p_value <= alpha)
    return total


def dice_coverage(n: int, *, studies: int = 1000, seed: int = 0) -> dict[str, float]:
    """Coverage of the mean of skewed per-case Dice, Beta(9, 1)."""
    rng = np.random.default_rng(seed)
    held = {"t": 0, "percentile": 0, "bca": 0}
    for row in rng.beta(9, 1, (studies, n)):
        for method in held:
            e = stats.mean(row, method=method, n_resamples=499)
            held[method] += e.lower <= 0.9 <= e.upper
    return {k: v / studies for k, v in held.items()}


def fold_test_size(
    *, repeats: int, folds: int = 10, studies: int = 200, seed: int = 0
) -> dict[str, float]:
    """Size of fold tests: nearest means of two equal noise models, cross-validated."""
    rng = np.random.default_rng(seed)
    n, rejected = 100, {"paired t": 0, "corrected t": 0}
    for _ in range(studies):
        y = rng.integers(0, 2, n)
        x = rng.normal(size=(2, n, 5)) + 0.5 * y[None, :, None]  # two models see other features
        gaps = []
        for _ in range(repeats):
            fold = rng.permutation(n) % folds
            for f in range(folds):
                test = fold == f
                right = []
                for features in x:
                    means = [features[~test & (y == c)].mean(axis=0) for c in (0, 1)]
                    d = [((features[test] - m) ** 2).sum(axis=1) for m in means]
                    right.append(np.mean((d[1] < d[0]) == y[test]))
                gaps.append(right[0] - right[1])
        rejected["paired t"] += stats.paired_t_test(gaps).p_value < 0.05
        rejected["corrected t"] += (
            stats.corrected_t_test(gaps, ratio=1 / (folds - 1)).p_value < 0.05
        )
    return {k: v / studies for k, v in rejected.items()}


def delong_size(n1: int, n0: int, area: float, *, studies: int = 10_000) -> float:
    """Size of the paired DeLong test of two equal areas."""
    return stats.simulated_auc_power(area, area, n1, n0, studies=studies)[0]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def auc_section() -> str:
    """Intervals of the AUC: balanced classes, rare positives, positives of another spread."""
    rows = []
    for n1, n0 in ((10, 10), (10, 50), (10, 300), (30, 30), (30, 1000), (50, 200)):
        for area in (0.7, 0.9, 0.97):
            for spread in (1.0, 2.0):
                # Areas take 4000 studies where each inversion is of another value.
                c = auc_coverage(area, n1, n0, spread=spread, studies=4000)
                rows.append(
                    [str(n1), str(n0), f"{area:g}", f"{spread:g}"]
                    + [f"{v:.3f}" for v in c.values()]
                )
    return "\n".join(
        [
            "## AUC, binormal scores (4000 studies each; Monte-Carlo error .003)\n",
            "Spread is that of the positives' scores over that of the negatives'.\n",
            _table(["positives", "negatives", "AUC", "spread", *c], rows),
        ]
    )


def main() -> None:
    text = [
        "# Coverage of intervals, size of tests\n",
        "Nominal level .95, nominal size .05. Written by `tests/stats/coverage_study.py`.\n",
        "## Proportions (exact)\n",
    ]
    rows = []
    for n in (10, 20, 50, 100, 500):
        for p in (0.5, 0.8, 0.95, 0.99):
            rows.append(
                [str(n), f"{p:g}"]
                + [f"{proportion_coverage(m, n, p):.3f}" for m in PROPORTION_METHODS]
            )
    text.append(_table(["n", "p", *PROPORTION_METHODS], rows))
    text.append(auc_section())
    text.append("## Mean of skewed per-case Dice, Beta(9, 1) (1000 studies each)\n")
    rows = []
    for n in (10, 20, 50):
        c = dice_coverage(n)
        rows.append([str(n)] + [f"{v:.3f}" for v in c.values()])
    text.append(_table(["n", *c], rows))
    text.append("## Size of McNemar's test (exact)\n")
    methods = ("asymptotic", "corrected", "exact", "mid-p")
    rows = [
        [str(n), f"{d:g}"] + [f"{mcnemar_size(m, n, d):.3f}" for m in methods]
        for n, d in ((30, 0.2), (60, 0.1), (60, 0.3))
    ]
    text.append(_table(["n", "disagree", *methods], rows))
    text.append("## Size of the paired DeLong test (10,000 studies each)\n")
    rows = [
        [str(a), str(b), f"{area:g}", f"{delong_size(a, b, area):.3f}"]
        for a, b in ((10, 10), (30, 30), (50, 200))
        for area in (0.7, 0.9)
    ]
    text.append(_table(["positives", "negatives", "AUC", "size"], rows))
    text.append("## Size of tests over the folds of cross-validation (200 studies each)\n")
    rows = []
    for repeats in (1, 10):
        c = fold_test_size(repeats=repeats)
        rows.append([f"{repeats} x 10"] + [f"{v:.3f}" for v in c.values()])
    text.append(_table(["folds", *c], rows))
    text += coverage_metrics.sections(_table)
    out = Path(__file__).resolve().parents[2] / "docs" / "stats-coverage.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(text))


if __name__ == "__main__":
    main()
