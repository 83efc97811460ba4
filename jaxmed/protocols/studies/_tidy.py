"""Predictions of a study as tables, and tests for cross-validation."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed import stats
from jaxmed._csv import csv_text
from jaxmed.protocols.studies._result import Study
from jaxmed.stats import Estimate, TestResult

Metric = Callable[[np.ndarray, np.ndarray], Any]
"""``(labels, outputs) -> number``, or an estimate, whose value is taken."""


class Runs(NamedTuple):
    """Every case predicted once by each run of each arm.

    Attributes:
        labels: (cases, ...) truth.
        outputs: arm to (runs, cases, ...); a run is one repetition from one seed.
        runs: (repeat, seed) of each run.
        cases: (cases,) names.
        groups: (cases,) patients, or None.
        notes: exclusions.
    """

    labels: np.ndarray
    outputs: dict[str, np.ndarray]
    runs: tuple[tuple[int, int], ...]
    cases: tuple[str, ...]
    groups: tuple[Any, ...] | None
    notes: tuple[str, ...] = ()


class ArmTest(NamedTuple):
    """Test of two arms over the folds, with the p-value adjusted for all pairs."""

    first: str
    second: str
    test: TestResult
    adjusted: float


def study_table(study: Study) -> dict[str, list[Any]]:
    """Tabulate a study: one row per case, arm, repetition, fold and seed.

    Args:
        study: result of `study`.

    Returns:
        Columns `arm, repeat, fold, seed, case, group, label, output` (or `output_0, ...`).
    """
    columns: dict[str, list[Any]] = {
        name: [] for name in ("arm", "repeat", "fold", "seed", "case", "group", "label")
    }
    wide = 0
    rows: list[np.ndarray] = []
    for (arm, at, seed), found in sorted(study.outputs.items()):
        one = study.splits[at]
        flat = found.reshape(len(found), -1)
        wide = max(wide, flat.shape[1])
        for i, position in enumerate(one.test):
            label = study.labels[position]
            cells = (
                arm,
                one.repeat,
                one.fold,
                seed,
                study.cases[position],
                "" if study.groups is None else study.groups[position],
                label.tolist() if label.ndim == 0 else " ".join(map(str, label.ravel())),
            )
            for column, cell in zip(columns.values(), cells, strict=True):
                column.append(cell)
            rows.append(flat[i])
    names = ["output"] if wide == 1 else [f"output_{i}" for i in range(wide)]
    for i, name in enumerate(names):
        columns[name] = [float(row[i]) for row in rows]
    return columns


def write_study(study: Study, path: str | os.PathLike) -> Path:
    """Write `study_table` as CSV.

    Args:
        study: as `study` returned it.
        path: the file.

    Returns:
        The path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = study_table(study)
    text = csv_text(list(columns), zip(*columns.values(), strict=True))
    path.write_text(text, encoding="utf-8", newline="")
    return path


def runs_of(study: Study) -> Runs:
    """Join the folds, so that every case occurs once per repetition and seed.

    Args:
        study: a study whose splits test each case once per repetition.

    Returns:
        The predictions. A run in which any arm failed on a fold is left out for all arms.

    Raises:
        ValueError: if a case is tested never or twice in a repetition (`monte_carlo`), or there is
            no run without a failure, or trainings are missing.
    """
    study.check_whole()
    repeats = sorted({one.repeat for one in study.splits})
    runs, notes = [], []
    outputs: dict[str, list[np.ndarray]] = {arm: [] for arm in study.arms}
    for repeat in repeats:
        at = [i for i, one in enumerate(study.splits) if one.repeat == repeat]
        tested = np.concatenate([study.splits[i].test for i in at])
        if not np.array_equal(np.sort(tested), np.arange(len(study.labels))):
            raise ValueError(
                f"repetition {repeat} does not test each of {len(study.labels)} cases once: use "
                "fold_scores, which needs no joined predictions"
            )
        order = np.argsort(tested)
        for seed in study.seeds:
            if any((arm, i, seed) not in study.outputs for arm in study.arms for i in at):
                notes.append(f"repetition {repeat}, seed {seed}: an arm failed; left out")
                continue
            runs.append((repeat, seed))
            for arm in study.arms:
                parts = [study.outputs[arm, i, seed] for i in at]
                outputs[arm].append(np.concatenate(parts)[order])
    if not runs:
        raise ValueError(f"no run is without a failure: {'; '.join(notes)}")
    stacked = {arm: np.stack(found) for arm, found in outputs.items()}
    return Runs(study.labels, stacked, tuple(runs), study.cases, study.groups, tuple(notes))


def fold_scores(study: Study, metric: Metric) -> dict[str, np.ndarray]:
    """Compute a metric of each training on its test part.

    Args:
        study: as `study` returned it.
        metric: `(labels, outputs) -> number` or estimate.

    Returns:
        Arm to (splits, seeds); NaN for failures and undefined metrics.

    Raises:
        ValueError: trainings of the study are missing.
    """
    study.check_whole()
    found = {arm: np.full((len(study.splits), len(study.seeds)), np.nan) for arm in study.arms}
    for (arm, at, seed), outputs in study.outputs.items():
        try:
            value = metric(study.labels[study.splits[at].test], outputs)
        except ValueError:  # such as one class in a small fold
            continue
        found[arm][at, study.seeds.index(seed)] = float(getattr(value, "value", value))
    return found


def compare_arms(
    study: Study,
    metric: Metric,
    *,
    adjustment: str = "holm",
    level: float = 0.95,
    name: str = "difference",
) -> list[ArmTest]:
    """Compare every pair of arms by the t-test corrected for overlapping training parts.

    Scores of the folds are averaged over seeds; the variance of their differences is multiplied
    by :math:`1/J + n_{test}/n_{train}` instead of :math:`1/J`. A plain t-test over ten times ten
    folds rejects a true null hypothesis half of the time.

    Args:
        study: as `study` returned it.
        metric: `(labels, outputs) -> number` or estimate.
        adjustment: adjustment of the p-values over pairs, as in `stats.adjust_p_values`.
        level: confidence level of the intervals.
        name: name of the metric.

    Returns:
        One test per pair, first minus second.

    Raises:
        ValueError: for fewer than two arms, or fewer than two folds on which both have a score.

    References:
        Nadeau and Bengio (2003), Mach Learn 52:239. Bouckaert and Frank (2004), PAKDD.
    """
    if len(study.arms) < 2:
        raise ValueError(f"a comparison needs 2 arms, but there is {len(study.arms)}")
    scores = fold_scores(study, metric)
    ratio = float(np.mean([len(one.test) / len(one.train) for one in study.splits]))
    tests: list[tuple[str, str, TestResult]] = []
    for first, second in itertools.combinations(study.arms, 2):
        a, b = scores[first], scores[second]
        both = np.isfinite(a) & np.isfinite(b)
        kept = both.any(1)
        if kept.sum() < 2:
            raise ValueError(f"{first} and {second} have a score on fewer than 2 folds in common")
        gap = np.where(both, a - b, 0).sum(1)[kept] / both.sum(1)[kept]
        made = stats.corrected_t_test(
            gap, ratio=ratio, level=level, name=f"{name}: {first} - {second}"
        )
        tests.append((first, second, made))
    adjusted = stats.adjust_p_values([made.p_value for *_, made in tests], method=adjustment)
    return [ArmTest(a, b, made, float(p)) for (a, b, made), p in zip(tests, adjusted, strict=True)]


def components(
    study: Study,
    metric: Metric,
    *,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
    name: str = "",
) -> Mapping[str, Estimate]:
    """Estimate a metric of each arm, separating the variances of cases and training.

    The folds are joined, so the metric is computed on all cases at once: for ranks (AUC) this
    assumes that scores of different folds are comparable. Runs differ in their seed, and in their
    folds if these are repeated.

    Args:
        study: a study whose splits test each case once per repetition.
        metric: `(labels, outputs) -> number` or estimate.
        level: confidence level of the intervals.
        n_resamples: number of resamples of the bootstrap of cases (patients where these are known).
        seed: seed of the bootstrap.
        bounds: least and greatest value of the metric, between which the intervals then stay.
        name: name of the metric.

    Returns:
        Arm to estimate, as returned by `stats.seed_components`.

    Raises:
        ValueError: as in `runs_of`.
    """
    runs = runs_of(study)
    return {
        arm: stats.seed_components(
            metric, runs.labels, found, groups=runs.groups, level=level, n_resamples=n_resamples,
            seed=seed, bounds=bounds, name=name,
        )
        for arm, found in runs.outputs.items()
    }  # fmt: skip
