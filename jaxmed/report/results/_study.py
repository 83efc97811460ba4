"""Results of a cross-validated study: arms with both variances, pairs by the corrected test."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmed import protocols, quantities, stats
from jaxmed.protocols import SiteScores, Study
from jaxmed.report.results._classification import classification
from jaxmed.report.results._comparison import predictions_of
from jaxmed.report.results._measures import mean_auc, share_of_known
from jaxmed.report.results._parts import Comparison, Contrast, Overlap, Scores, SubgroupTable
from jaxmed.report.results._results import ComparisonResults, Results, Task, placed, threshold_of
from jaxmed.report.results._segmentation import MEASURES, from_overlap, row_means
from jaxmed.stats import Estimate, Subgroups

Metric = Callable[[Any, Any], Any]


class _Measured(NamedTuple):
    """A metric, the study that it is estimated on, that in which arms are paired, its bounds."""

    metric: Metric
    estimated: Study
    tested: Study
    bounds: tuple[float, float] | None = None


def from_study(
    study: Study,
    *,
    task: Task | None = None,
    classes: Sequence[str] = (),
    metrics: Mapping[str, Metric] | None = None,
    adjustment: str = "holm",
    level: float = 0.95,
    threshold: float = 0.5,
    unit: str = "mm",
    n_resamples: int = 500,
    resampling_seed: int = 0,
    sites: str | None = None,
    title: str = "Study",
    **about: Any,
) -> ComparisonResults:
    """Build results of a study: its arms, and tests of every pair over the folds.

    Each metric is computed on all cases at once, joined from the folds of a run; its interval
    combines the variances of cases and of trainings, which a note reports separately, and stays in
    the metric's range: that of an AUC is formed on the logit scale. Pairs are
    compared fold by fold by the t-test corrected for overlapping training sets. Curves show the
    first run. Of a segmentation the means over cases of Dice (of each structure, too), HD95 and NSD
    are estimated; a case in which one of them is not defined, or infinite, for one arm takes no
    part in the test of any. What cannot be estimated or tested is told in a note.

    Args:
        study: a study whose splits test each case once per repetition, with scores as outputs; of
            a segmentation with `MEASURES` of each structure, (cases, measures, structures).
        task: as in `classification`, or `segmentation`.
        classes: names of the classes; of a segmentation without the background.
        metrics: name to `(labels, outputs) -> number`; by default those of the task.
        adjustment: adjustment of the p-values, over all pairs and metrics together.
        level: confidence level of all intervals.
        threshold: threshold of a positive call.
        unit: of the distances of a segmentation, `mm` or `px`.
        n_resamples: number of resamples of the bootstrap of cases.
        resampling_seed: seed of the bootstrap.
        sites: what the splits of `protocols.leave_one_site_out` leave out, `site` or `scanner`:
            each metric is then told for each of them too, and over them (`protocols.site_scores`).
        title: title of the report.
        **about: further fields of the results.

    Returns:
        Results with a `comparison`; failures, seeds and tuning trials are in the report.

    Raises:
        ValueError: as in `protocols.runs_of`, outputs that `classification` refuses, or that are
            not those measures, or nothing that can be estimated.
    """
    runs = protocols.runs_of(study)
    shown = "the cases' own values" if task == "segmentation" else "curves"
    made: dict[str, Results] = {}
    left: list[str] = []
    for arm, outputs in runs.outputs.items():
        if task == "segmentation":
            overlap = _overlap(outputs[0], runs, unit)
            made[arm] = from_overlap(overlap, classes=classes, level=level)
            left += [f"{arm}, first run: {note}" for note in made[arm].notes]
        else:
            made[arm] = classification(
                runs.labels, outputs[0], task=task, classes=classes, cases=runs.cases,
                groups=runs.groups, level=level, threshold=threshold,
            )  # fmt: skip
    first = next(iter(made.values()))
    if metrics is not None:
        chosen = {name: _Measured(metric, study, study) for name, metric in metrics.items()}
    elif task == "segmentation":
        chosen = _of_masks(study, first.classes)
    else:
        chosen = {
            name: _Measured(metric, study, study, _BOUNDS[name])
            for name, metric in _METRICS[first.task](threshold).items()
        }
    models: dict[str, dict[str, Estimate]] = {arm: {} for arm in study.arms}
    tests, tables = [], []
    for name, (metric, estimated, tested, bounds) in chosen.items():
        try:
            found = protocols.components(
                estimated, metric, level=level, n_resamples=n_resamples, seed=resampling_seed,
                name=name, bounds=bounds,
            )  # fmt: skip
        except ValueError as error:
            left.append(f"{name}: not estimated: {error}")
            continue
        for arm, estimate in found.items():
            models[arm][name] = _with_deviations(estimate)
        if sites is not None:
            try:
                by_site = protocols.site_scores(
                    estimated, metric, level=level, n_resamples=n_resamples, seed=resampling_seed,
                    bounds=bounds, name=name,
                )  # fmt: skip
            except ValueError as error:
                left.append(f"{name} by {sites}: not estimated: {error}")
                by_site = {}
            for arm, scores in by_site.items():
                models[arm][f"{name}/over {sites}s"] = scores.mean
                tables.append(_by_site(sites, name, arm, scores))
        if len(study.arms) > 1:
            try:
                pairs = protocols.compare_arms(tested, metric, level=level, name=name)
            except ValueError as error:
                left.append(f"{name}, all pairs: not tested: {error}")
                continue
            tests += [(name, test) for test in pairs]
    if chosen and not any(models.values()):
        raise ValueError(f"the study has no estimate: {'; '.join(left)}")
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
            scores=predictions_of(made, Scores),
            overlaps=predictions_of(made, Overlap),
        ),
        level=level,
        threshold=threshold_of(first),
        subgroups=tuple(tables),
        study={"tuning_trials": _trials(study), "selection": _selection(study)}
        | dict(about.pop("study", {})),
        notes=(
            *about.pop("notes", ()),
            *runs.notes,
            *left,
            f"{shown} are of the first run: repetition {runs.runs[0][0]}, seed {runs.runs[0][1]}",
        ),
        **placed(_training_record(study) | about),
    )


def _by_site(column: str, metric: str, arm: str, scores: SiteScores) -> SubgroupTable:
    """Return the table of an arm's scores, untested: sites are compared by models of their own."""
    low, high = (scores.sites[site] for site in (scores.lowest, scores.highest))
    ends = {"largest": scores.highest, "smallest": scores.lowest}
    gap = Estimate(
        high.value - low.value, np.nan, np.nan, scores.mean.level, scores.mean.n, column, "",
        details=ends, name=metric,
    )  # fmt: skip
    return SubgroupTable(column, metric, Subgroups(dict(scores.sites), {}, gap, ()), arm)


def _overlap(outputs: np.ndarray, runs: protocols.Runs, unit: str) -> Overlap:
    """Return the agreement case by case that a run's outputs are."""
    if outputs.ndim != 3 or outputs.shape[1] != len(MEASURES):
        raise ValueError(
            f"the outputs of a segmentation are (cases, {len(MEASURES)} measures, structures): "
            f"{', '.join(MEASURES)}; got the shape {outputs.shape}"
        )
    values = {name: outputs[:, i] for i, name in enumerate(MEASURES)}
    return Overlap(runs.cases, values, runs.groups, unit=unit)


def _of_masks(study: Study, classes: Sequence[str]) -> dict[str, _Measured]:
    """Return the metrics of masks, each of a study of one number a case."""

    def made(name: str, column: Callable[[np.ndarray], np.ndarray]) -> _Measured:
        measure = name.partition("/")[0]
        own = {}
        for at, outputs in study.outputs.items():
            values = column(outputs[:, MEASURES.index(measure)].astype(float))
            own[at] = np.where(np.isfinite(values), values, np.nan)
        # An arm must not gain by a case that it alone has no value of.
        shared = {}
        for (arm, *at), values in own.items():
            others = [own[key] for other in study.arms if (key := (other, *at)) in own]
            known = np.all([np.isfinite(found) for found in others], axis=0)
            shared[(arm, *at)] = np.where(known, values, np.nan)
        one, paired = (dataclasses.replace(study, outputs=found) for found in (own, shared))
        return _Measured(_mean, one, paired, _BOUNDS[measure])

    def columns() -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
        yield "dice", row_means
        for i, name in enumerate(classes if len(classes) > 1 else ()):
            yield f"dice/{name}", lambda table, i=i: table[:, i]
        yield "hd95", row_means
        yield "nsd", row_means

    return {name: made(name, column) for name, column in columns()}


def _mean(_: Any, values: np.ndarray) -> float:
    return quantities.mean_defined(values)


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
        "auc": mean_auc,
        "accuracy": lambda y, p: share_of_known(y, quantities.at_least(p, threshold)),
    }


def _regression(threshold: float) -> dict[str, Metric]:
    return {
        "mae": lambda y, p: quantities.mae(y, p.reshape(len(y))),
        "rmse": lambda y, p: quantities.rmse(y, p.reshape(len(y))),
    }


# Between these an interval stays.
_BOUNDS = {
    "auc": (0.0, 1.0), "accuracy": (0.0, 1.0), "brier": (0.0, 1.0), "log_loss": (0.0, np.inf),
    "mae": (0.0, np.inf), "rmse": (0.0, np.inf), "dice": (0.0, 1.0), "nsd": (0.0, 1.0),
    "hd95": (0.0, np.inf),
}  # fmt: skip

_METRICS: dict[str, Callable[[float], dict[str, Metric]]] = {
    "binary": _binary,
    "multi-class": _multi_class,
    "ordinal": _multi_class,
    "multi-label": _multi_label,
    "regression": _regression,
}
