"""Results of a cross-validated study: arms with both variances, pairs by the corrected test."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxmed import protocols, quantities, stats
from jaxmed.protocols import Study
from jaxmed.report.results._classification import classification
from jaxmed.report.results._parts import Comparison, Contrast, Scores
from jaxmed.report.results._results import ComparisonResults, Task, placed, threshold_of
from jaxmed.stats import Estimate

Metric = Callable[[Any, Any], Any]


def from_study(
    study: Study,
    *,
    task: Task | None = None,
    classes: Sequence[str] = (),
    metrics: Mapping[str, Metric] | None = None,
    adjustment: str = "holm",
    level: float = 0.95,
    threshold: float = 0.5,
    n_resamples: int = 500,
    resampling_seed: int = 0,
    title: str = "Study",
    **about: Any,
) -> ComparisonResults:
    """Build results of a study: its arms, and tests of every pair over the folds.

    Each metric is computed on all cases at once, joined from the folds of a run; its interval
    combines the variances of cases and of trainings, which a note reports separately, and stays in
    the metric's range: that of an AUC is formed on the logit scale. Pairs are
    compared fold by fold by the t-test corrected for overlapping training sets. Curves show the
    first run.

    Args:
        study: a study whose splits test each case once per repetition, with scores as outputs.
        task: as in `classification`.
        classes: names of the classes.
        metrics: name to `(labels, outputs) -> number`; by default those of the task.
        adjustment: adjustment of the p-values, over all pairs and metrics together.
        level: confidence level of all intervals.
        threshold: threshold of a positive call.
        n_resamples: number of resamples of the bootstrap of cases.
        resampling_seed: seed of the bootstrap.
        title: title of the report.
        **about: further fields of the results.

    Returns:
        Results with a `comparison`; failures, seeds and tuning trials are in the report.

    Raises:
        ValueError: as in `protocols.runs_of`, or outputs that `classification` refuses.
    """
    runs = protocols.runs_of(study)
    made = {
        arm: classification(
            runs.labels, outputs[0], task=task, classes=classes, cases=runs.cases,
            groups=runs.groups, level=level, threshold=threshold,
        )
        for arm, outputs in runs.outputs.items()
    }  # fmt: skip
    first = next(iter(made.values()))
    chosen = dict(metrics or _METRICS[first.task](threshold))
    models: dict[str, dict[str, Estimate]] = {arm: {} for arm in study.arms}
    tests = []
    for name, metric in chosen.items():
        found = protocols.components(
            study, metric, level=level, n_resamples=n_resamples, seed=resampling_seed, name=name,
            bounds=None if metrics else _BOUNDS[name],
        )  # fmt: skip
        for arm, estimate in found.items():
            models[arm][name] = _with_deviations(estimate)
        if len(study.arms) > 1:
            for test in protocols.compare_arms(study, metric, level=level, name=name):
                tests.append((name, test))
    adjusted = (
        stats.adjust_p_values([t.test.p_value for _, t in tests], method=adjustment)
        if tests
        else ()
    )
    return ComparisonResults(
        title=title,
        task=first.task,  # pyright: ignore[reportArgumentType]
        classes=first.classes,
        metrics={},
        comparison=Comparison(
            models=models,
            contrasts=tuple(
                Contrast(name, t.first, t.second, t.test, float(p))
                for (name, t), p in zip(tests, adjusted, strict=True)
            ),
            adjustment=adjustment,
            family="all",
            level=level,
            scores={
                arm: held
                for arm, results in made.items()
                for held in results.predictions().values()
                if isinstance(held, Scores)
            },
        ),
        level=level,
        threshold=threshold_of(first),
        study={"tuning_trials": _trials(study), "selection": _selection(study)}
        | dict(about.pop("study", {})),
        notes=(
            *about.pop("notes", ()),
            *runs.notes,
            f"curves are of the first run: repetition {runs.runs[0][0]}, seed {runs.runs[0][1]}",
        ),
        **placed(_training_record(study) | about),
    )


def _training_record(study: Study) -> dict[str, Any]:
    """Return the components of a study's results: failures, splits, settings, seeds, time."""
    return {
        "failures": tuple(
            f"{f.arm}, repetition {f.repeat}, fold {f.fold}, seed {f.seed}: {f.why}"
            for f in study.failures
        ),
        "partition": _partition(study),
        "config": {
            "arms": list(study.arms),
            "seeds": list(study.seeds),
            "trainings": len(study.outputs) + len(study.failures),
            **study.settings,
        },
        "seed": study.seeds[0] if len(study.seeds) == 1 else None,
        "seconds": {"train": study.seconds},
    }


def _with_deviations(estimate: Estimate) -> Estimate:
    """Return the estimate with its two standard deviations in a note."""
    parts = estimate.details
    note = f"standard deviation by cases {parts['sampling_sd']:.3g}"
    if np.isfinite(parts["seed_sd"]):
        note += f", by trainings {parts['seed_sd']:.3g}"
    return dataclasses.replace(estimate, notes=(*estimate.notes, note))


def _partition(study: Study) -> str:
    repeats = len({one.repeat for one in study.splits})
    folds = len(study.splits) // repeats
    kept = "no patient in two parts" if study.groups is not None else "cases, no patients named"
    times = f"{repeats} times " if repeats > 1 else ""
    return f"{times}{folds} folds; {kept}; checked before training"


def _trials(study: Study) -> str:
    return "; ".join(f"{arm}: {n}" for arm, n in study.trials.items()) + " configurations"


def _selection(study: Study) -> str:
    if not study.choices:
        return "nothing was chosen on the data: every arm is reported"
    chosen = []
    for arm in dict.fromkeys(choice.arm for choice in study.choices):
        counts = Counter(c.chosen for c in study.choices if c.arm == arm)
        times = ", ".join(f"{name} {n} times" for name, n in counts.most_common())
        chosen.append(f"{arm} by inner folds of each training part ({times})")
    return "; ".join(chosen)


def _binary(threshold: float) -> dict[str, Metric]:
    def called(y: Any, p: Any) -> Any:
        return quantities.tabulate(y, quantities.at_least(p[:, 1], threshold), 2)

    return {
        "auc": lambda y, p: quantities.auc(y == 1, p[:, 1]),
        "accuracy": lambda y, p: quantities.accuracy(called(y, p)),
        "brier": lambda y, p: quantities.brier_values(y, p[:, 1]).mean(),
    }


def _multi_class(threshold: float) -> dict[str, Metric]:
    return {
        "auc": stats.multiclass_auc,
        "accuracy": lambda y, p: np.mean(quantities.largest(p) == y),
        "log_loss": lambda y, p: quantities.log_loss_values(p[np.arange(len(y)), y]).mean(),
    }


def _multi_label(threshold: float) -> dict[str, Metric]:
    return {
        "auc": stats.multiclass_auc,
        "accuracy": lambda y, p: np.mean(quantities.at_least(p, threshold) == y),
    }


def _regression(threshold: float) -> dict[str, Metric]:
    return {
        "mae": lambda y, p: quantities.mae(y, p.reshape(len(y))),
        "rmse": lambda y, p: quantities.rmse(y, p.reshape(len(y))),
    }


# Between these an interval stays.
_BOUNDS = {
    "auc": (0.0, 1.0), "accuracy": (0.0, 1.0), "brier": (0.0, 1.0), "log_loss": (0.0, np.inf),
    "mae": (0.0, np.inf), "rmse": (0.0, np.inf),
}  # fmt: skip

_METRICS: dict[str, Callable[[float], dict[str, Metric]]] = {
    "binary": _binary,
    "multi-class": _multi_class,
    "ordinal": _multi_class,
    "multi-label": _multi_label,
    "regression": _regression,
}
