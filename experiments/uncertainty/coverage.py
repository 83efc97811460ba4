"""Do conformal methods keep their promises? Each over a thousand splits, counted exactly.

    jaxmed train coverage
    jaxmed train coverage --record benchmarks/results/coverage.json

Each split draws calibration cases and *one* new case afresh, from a population whose model is wrong
and overconfident, and asks whether the method holds for the new case. So hits are independent, and
their number is binomial: exactly, at the level promised, where scores are continuous and the rank
(cases + 1) x level is a whole number; at that level or above where the promise is a lower bound.
`interval` is where the number of hits may then lie with a probability of 99 % (a lower bound has a
lower limit alone). Per class and per site likewise, for the methods that promise it.

Every set, interval and threshold is made by the library's own functions. Half a minute.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special
from scipy import stats as law

from jaxmed import bayes
from jaxmed.report import (
    ClassificationResults,
    DataSummary,
    Results,
    RunRecord,
    Split,
    environment,
    stage,
)
from jaxmed.stats import proportion

LEVEL, CASES = 0.9, 99  # 0.9 of 99 + 1 is a whole number
EACH = 39  # of each class or site, where the promise is to each: 0.9 of 40 is whole too
FEW, FOLDS = 50, 5  # where models are trained: cases, and parts they are left out by
CENTRES = 1.5 * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
SHARES = (0.4, 0.3, 0.2, 0.1)  # of the classes
CONFIDENCE = 0.99


@dataclasses.dataclass(frozen=True)
class Config:
    """How many splits.

    Args:
        splits: of each method.
        seed: of all draws.
        record: file for the tables.
    """

    splits: int = 1000
    seed: int = 0
    record: Path | None = None


class Hit(NamedTuple):
    """Whether a promise held for a new case, and the class or site it was made to."""

    held: bool
    group: str = ""


class Promise(NamedTuple):
    """A method, what it promises, and one split of it: ``(rng, split) -> Hit``."""

    split: Callable[[np.random.Generator, int], Hit]
    level: float = LEVEL
    exact: bool = True


def run(config: Config, out: Path) -> Results:
    """Count the hits of every method."""
    seconds: dict[str, float] = {}
    rows, metrics = [], {}
    for name, promise in PROMISES.items():
        with stage(seconds, name):
            # A method's draws do not depend on which others there are.
            rng = np.random.default_rng([config.seed, *name.encode()])
            hits = [promise.split(rng, split) for split in range(config.splits)]
        for row in counted(name, promise, hits):
            rows.append(row)
            metrics["/".join(filter(None, (name, row["group"])))] = proportion(
                row["hits"], row["splits"], method="clopper-pearson", unit="split", name=name
            )
    broken = [f"{r['method']} {r['group']}".strip() for r in rows if not r["within"]]
    if config.record is not None:
        config.record.write_text(json.dumps(record(config, rows), indent=1) + "\n")
    return ClassificationResults(
        title=f"Conformal methods over {config.splits} splits",
        task="multi-class",
        classes=(),
        metrics=metrics,
        headline=("LAC sets", "split intervals"),
        data=DataSummary(
            splits=(Split("calibration", CASES, None, {}), Split("test", config.splits, None, {}))
        ),
        description=(
            f"Whether each method held for one new case, over {config.splits} splits of its own. "
            f"The promise is {LEVEL:g}, but for jackknife+ and the methods by cross-validation, "
            f"which promise a little under {2 * LEVEL - 1:g}, or just that. Notes name the counts "
            f"outside the binomial's {CONFIDENCE:.0%} interval at what was promised."
        ),
        run=RunRecord(seconds=seconds),
        notes=tuple(f"{name}: outside its interval" for name in broken),
    )


def counted(name: str, promise: Promise, hits: list[Hit]) -> Iterator[dict[str, Any]]:
    """A row for all splits, and one for each class or site: hits, and where they may lie."""
    groups = sorted({hit.group for hit in hits} - {""})
    for group in ("", *groups):
        held = [hit.held for hit in hits if group in ("", hit.group)]
        n, found = len(held), int(sum(held))
        if promise.exact:
            low, high = (int(k) for k in law.binom.interval(CONFIDENCE, n, promise.level))
        else:
            low, high = int(law.binom.ppf(1 - CONFIDENCE, n, promise.level)), n
        yield {
            "method": name, "group": group, "promise": promise.level, "exact": promise.exact,
            "splits": n, "hits": found, "low": low, "high": high, "within": low <= found <= high,
        }  # fmt: skip


def record(config: Config, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows, and their tables: exact promises, lower bounds, each class and site."""

    def table(chosen: list[dict[str, Any]]) -> dict[str, Any]:
        grouped = any(row["group"] for row in chosen)
        body = []
        for row in chosen:
            n, name = row["splits"], row["method"]
            high = f" to {row['high'] / n:.3f}" if row["exact"] else " or more"
            held = f"{row['hits'] / n:.3f}" + ("" if row["within"] else " (outside)")
            own = [row["group"], n] if grouped else []
            body.append([name, *own, f"{row['promise']:.3f}", f"{row['low'] / n:.3f}{high}", held])
        own = ["of", "splits"] if grouped else []
        return {"head": ["method", *own, "promise", "interval", "held"], "rows": body}

    return {
        "command": f"jaxmed train coverage --splits {config.splits} --seed {config.seed}",
        "environment": environment(),
        "rows": rows,
        "tables": {
            "exact": table([r for r in rows if r["exact"] and not r["group"]]),
            "bounds": table([r for r in rows if not r["exact"]]),
            "groups": table([r for r in rows if r["group"]]),
        },
    }


# Classes: points about four centres, and a model that is too sure of where these are.


def images(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Features of cases of these classes."""
    return CENTRES[labels] + rng.normal(size=(len(labels), 2))


def model(x: np.ndarray, centres: np.ndarray = 1.2 * CENTRES) -> np.ndarray:
    """Probabilities, twice too sure."""
    return special.softmax(-((x[:, None] - centres) ** 2).sum(-1), axis=1)


def balanced(rng: np.random.Generator, split: int, kinds: int) -> tuple[np.ndarray, int]:
    """As many calibration cases of each kind, then a new one of each kind in turn."""
    new = split % kinds
    return np.r_[rng.permutation(np.repeat(np.arange(kinds), EACH)), new], new


def sets(score: str, by: str = "") -> Callable[[np.random.Generator, int], Hit]:
    """Prediction sets: marginal, by class or by site."""

    def one(rng: np.random.Generator, split: int) -> Hit:
        site = None
        y = rng.choice(4, CASES + 1, p=SHARES)
        if by == "class":
            y, new = balanced(rng, split, 4)
        x = images(rng, y)
        if by == "site":
            site, new = balanced(rng, split, 2)
            y = rng.choice(4, len(site), p=SHARES)
            x = images(rng, y) + site[:, None] * rng.normal(size=(len(y), 2))
        p = model(x)
        first, last = (None, None) if site is None else (site[:-1], site[-1:])
        rule = bayes.fit_sets(
            y[:-1], p[:-1], level=LEVEL, score=score, groups=first, per_class=by == "class",
            seed=int(rng.integers(2**31)),
        )  # fmt: skip
        found = bayes.predict_sets(rule, p[-1:], groups=last, seed=int(rng.integers(2**31)))
        return Hit(bool(found[0, y[-1]]), f"{by} {new}" if by else "")

    return one


def cross_classes(rng: np.random.Generator, split: int) -> Hit:
    """Sets by cross-validation: a model of each fold's other cases."""
    y = rng.choice(4, CASES + 2, p=SHARES)
    x, old = images(rng, y), np.arange(CASES + 1)
    folds = old % FOLDS
    own, new = np.empty(len(old)), np.empty((FOLDS, 1, 4))
    for k in range(FOLDS):
        seen, held = old[folds != k], old[folds == k]
        one_hot = np.eye(4)[y[seen]]
        centres = one_hot.T @ x[seen] / (one_hot.sum(0) + 1)[:, None]  # a class may be missing
        own[held] = bayes.class_scores(model(x[held], centres))[np.arange(len(held)), y[held]]
        new[k] = bayes.class_scores(model(x[-1:], centres))
    return Hit(bool(bayes.cross_sets(own, new, folds, level=LEVEL)[0, y[-1]]))


def p_values(rng: np.random.Generator, split: int) -> Hit:
    """Smoothed p-values of scores with many ties."""
    s = rng.integers(0, 5, CASES + 1).astype(float)
    return Hit(bool(bayes.conformal_p_values(s[:-1], s[-1:], smoothing=[rng.random()])[0] > 0.1))


# Numbers: a line whose noise grows along it, and a model that is wrong about both.


def line(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets."""
    x = rng.uniform(0.2, 2.0, n)
    return x, x + x * rng.normal(size=n)


def intervals(kind: str) -> Callable[[np.random.Generator, int], Hit]:
    """Intervals by residuals: plain, normalised, of quantiles, by site."""

    def one(rng: np.random.Generator, split: int) -> Hit:
        site, new = balanced(rng, split, 2)
        x, y = line(rng, len(site) if kind == "site" else CASES + 1)
        guess, options = 0.8 * x, {}
        if kind == "normalised":
            options = {"scale": 0.5 + x}
        elif kind == "quantile":
            guess = np.stack([0.2 * x, 1.5 * x], axis=1)
        elif kind == "site":
            y, options = y + 2 * site, {"groups": site}
        first = {name: value[:-1] for name, value in options.items()}
        last = {name: value[-1:] for name, value in options.items()}
        rule = bayes.fit_intervals(y[:-1], guess[:-1], level=LEVEL, **first)
        low, high = bayes.predict_intervals(rule, guess[-1:], **last)[0]
        return Hit(bool(low <= y[-1] <= high), f"site {new}" if kind == "site" else "")

    return one


def refitted(folds: int | None, minmax: bool = False) -> Callable[[np.random.Generator, int], Hit]:
    """Intervals of lines fitted without a case (jackknife+), or without its fold (CV+)."""

    def one(rng: np.random.Generator, split: int) -> Hit:
        x, y = line(rng, FEW + 1)
        design = np.stack([np.ones_like(x), x], axis=1)
        old = np.arange(FEW)
        fold = old if folds is None else old % folds
        residuals, at = np.empty(FEW), np.empty((FEW, 1))
        for k in np.unique(fold):
            seen, held = old[fold != k], old[fold == k]
            weights = np.linalg.lstsq(design[seen], y[seen], rcond=None)[0]
            residuals[held] = np.abs(y[held] - design[held] @ weights)
            at[held] = design[-1] @ weights
        low, high = bayes.jackknife_plus(residuals, at, level=LEVEL, minmax=minmax)[0]
        return Hit(bool(low <= y[-1] <= high))

    return one


def shifted(rng: np.random.Generator, split: int) -> Hit:
    """Intervals for a population elsewhere, its likelihood ratio known."""
    x, new = rng.normal(size=CASES), rng.normal(1.0)
    score, target = np.abs(x * rng.normal(size=CASES)), abs(new * rng.normal())
    ratio = np.exp(np.r_[x, new] - 0.5)
    t = bayes.conformal_threshold(score, LEVEL, weights=ratio[:-1], own=float(ratio[-1]))
    return Hit(bool(target <= t))


# Masks: the share of a structure's voxels that a threshold misses.

THRESHOLDS = np.linspace(0.01, 0.99, 50)


def population(size: int = 5000) -> np.ndarray:
    """Losses of a population's cases at each threshold; a case is of its own difficulty."""
    rng = np.random.default_rng(0)
    voxels = [np.clip(rng.beta(4, 2, n) - 0.2 * rng.random(), 0, 1)
              for n in rng.integers(5, 30, size)]  # fmt: skip
    whole = [np.ones(len(v), bool) for v in voxels]
    return bayes.false_negative_losses(voxels, whole, THRESHOLDS)[0]


def risk(certified: bool) -> Callable[[np.random.Generator, int], Hit]:
    """Is a voxel of a new case found? Or: is the population's risk within the limit?"""
    losses = population()

    def one(rng: np.random.Generator, split: int) -> Hit:
        rows = rng.integers(0, len(losses), CASES + 1)
        control = bayes.learn_then_test if certified else bayes.control_risk
        found = control(losses[rows[:-1]], THRESHOLDS, limit=1 - LEVEL)
        missed = losses if certified else losses[rows[-1:]]
        # Where no threshold is safe, everything is marked, and nothing is missed.
        missed = missed[:, found.threshold == THRESHOLDS].sum() / len(missed)
        return Hit(bool(missed <= 1 - LEVEL) if certified else bool(rng.random() >= missed))

    return one


# Cross-validation's bound: Barber et al. (2021), theorem 4.
TWICE = 2 * LEVEL - 1
CV = {n: TWICE - min(2 * (1 - 1 / FOLDS) / (n / FOLDS + 1), (1 - FOLDS / n) / (FOLDS + 1))
      for n in (FEW, CASES + 1)}  # fmt: skip
PROMISES = {
    "split intervals": Promise(intervals("absolute")),
    "normalised intervals": Promise(intervals("normalised")),
    "quantile intervals (CQR)": Promise(intervals("quantile")),
    "Mondrian intervals": Promise(intervals("site")),
    "LAC sets": Promise(sets("lac")),
    "APS sets": Promise(sets("aps")),
    "RAPS sets": Promise(sets("raps")),
    "LAC sets per class": Promise(sets("lac", "class")),
    "APS sets per class": Promise(sets("aps", "class")),
    "RAPS sets per class": Promise(sets("raps", "class")),
    "Mondrian LAC sets": Promise(sets("lac", "site")),
    "Mondrian APS sets": Promise(sets("aps", "site")),
    "smoothed p-values": Promise(p_values),
    "jackknife-minmax": Promise(refitted(None, minmax=True), exact=False),
    "jackknife+": Promise(refitted(None), TWICE, exact=False),
    "CV+ intervals": Promise(refitted(FOLDS), CV[FEW], exact=False),
    "cross sets (CV+)": Promise(cross_classes, CV[CASES + 1], exact=False),
    "weighted, shifted inputs": Promise(shifted, exact=False),
    "risk control: voxels found": Promise(risk(False), exact=False),
    "learn then test: risk kept": Promise(risk(True), exact=False),
}


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
