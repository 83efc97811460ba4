"""Comparison of several models on the same cases: estimates, and a test of every pair."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.report.results._classification import classification
from jaxmed.report.results._contrasts import Test, Way, contrasts_of
from jaxmed.report.results._measures import OF_CALLS
from jaxmed.report.results._parts import Comparison, Contrast, Overlap, Scores
from jaxmed.report.results._results import ComparisonResults, Results, Task, placed, threshold_of
from jaxmed.report.results._segmentation import from_overlap, row_means
from jaxmed.stats import TestResult

Array = NDArray[Any]

Family = Literal["all", "metric"]
FAMILIES: tuple[Family, ...] = ("all", "metric")
Predictions = TypeVar("Predictions", Scores, Overlap)


class Correction(NamedTuple):
    """Multiplicity correction of p-values: method and family of tests."""

    method: str = "holm"
    family: Family = "all"


def compare(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    *,
    task: Task | None = None,
    classes: Sequence[str] = (),
    cases: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    metrics: Sequence[str] = (),
    adjustment: str = "holm",
    family: Family = "all",
    level: float = 0.95,
    threshold: float = 0.5,
    hard: bool = False,
    n_resamples: int = 2000,
    resampling_seed: int = 0,
    title: str = "Comparison",
    **about: Any,
) -> ComparisonResults:
    """Compare models on the same cases by every metric of the task.

    AUCs are compared by DeLong's test, rates by McNemar's (mid-p), predictive values by the
    weighted score test, per-case values by sign-flip permutation, all else by the paired bootstrap.
    With `groups` the patient is the unit: Obuchowski's forms of DeLong's and McNemar's test, and
    whole patients flipped or drawn.

    Args:
        labels: as in `classification`.
        scores: model to its scores, as in `classification`; at least two models.
        task: as in `classification`.
        classes: names of the classes.
        cases: names of the cases.
        groups: (cases,) patients.
        metrics: metrics to test; by default all. Specify the study's endpoints in advance: each
            further one makes the correction more severe.
        adjustment: adjustment of the p-values, as in `stats.adjust_p_values`; Holm's by default.
        family: tests corrected together: `all`, or those of one `metric`.
        level: confidence level of all intervals. Those of differences are not corrected.
        threshold: threshold of a positive call.
        hard: as in `classification`, of all models.
        n_resamples: number of resamples of the bootstrap.
        resampling_seed: seed of bootstraps and permutations.
        title: title of the report.
        **about: further fields of `Results`.

    Returns:
        Results whose `comparison` holds the models' estimates and the tests.

    Raises:
        ValueError: fewer than two models, an unknown metric or correction, or as in
            `classification`.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 2, 80)
        >>> good, poor = (np.clip(rng.normal(0.3 + d * y, 0.2), 0, 1) for d in (0.5, 0.0))
        >>> r = compare(y, {"good": good, "poor": poor}, metrics=["auc"], n_resamples=200)
        >>> r.comparison.contrasts[0].adjusted < 0.01
        True
    """
    _at_least_two(scores)
    options: dict[str, Any] = {
        "classes": classes, "cases": cases, "groups": groups, "level": level,
        "threshold": threshold, "hard": hard, "resampling_seed": resampling_seed,
    }  # fmt: skip
    made = {}
    for name, given in scores.items():
        try:
            made[name] = classification(labels, given, task=task, **options)
        except ValueError as error:
            raise ValueError(f"model {name}: {error}") from None
    first = next(iter(made.values()))
    for name, found in made.items():
        if found.classes != first.classes or found.task != first.task:
            raise ValueError(
                f"model {name} is a {found.task} model of {found.classes}, but the first one is "
                f"{first.task} of {first.classes}"
            )
    scored = predictions_of(made, Scores)
    y = np.asarray(scored[next(iter(made))].labels)
    way = _way(len(y), groups, level, n_resamples, resampling_seed)
    outputs = {name: np.asarray(held.scores) for name, held in scored.items()}
    tests = contrasts_of(first.task, way, y, first.classes, threshold)
    if hard:
        tests = ((name, test) for name, test in tests if name in OF_CALLS)
    return _assembled(
        made, outputs, tests, metrics, Correction(adjustment, family), way, title, about
    )


def compare_segmentations(
    overlaps: Mapping[str, Overlap],
    *,
    classes: Sequence[str],
    metrics: Sequence[str] = (),
    adjustment: str = "holm",
    family: Family = "all",
    level: float = 0.95,
    n_resamples: int = 2000,
    resampling_seed: int = 0,
    title: str = "Comparison",
    **about: Any,
) -> ComparisonResults:
    """Compare several models' masks on the same cases by sign flips of per-case values.

    Args:
        overlaps: model to its agreement case by case, as `segmentation` leaves it in
            its `overlap`; the cases in the same order.
        classes: names of the classes, without the background.
        metrics: metrics to test, such as `dice`; by default all.
        adjustment: as in `compare`.
        family: as in `compare`.
        level: as in `compare`.
        n_resamples: as in `compare`.
        resampling_seed: as in `compare`.
        title: as in `compare`.
        **about: further fields of `Results`.

    Returns:
        Results whose `comparison` holds the models' estimates and the tests.

    Raises:
        ValueError: fewer than two models, models of different cases, an unknown metric.
    """
    _at_least_two(overlaps)
    first = next(iter(overlaps.values()))
    for name, overlap in overlaps.items():
        if list(overlap.cases) != list(first.cases):
            raise ValueError(f"model {name} has other cases, or another order, than the first one")
    made = {
        name: from_overlap(overlap, classes=classes, level=level, resampling_seed=resampling_seed)
        for name, overlap in overlaps.items()
    }
    way = _way(len(first.cases), first.groups, level, n_resamples, resampling_seed)
    outputs = {name: _columns(overlap, classes) for name, overlap in overlaps.items()}
    tests = ((name, _by_name(way, name)) for name in next(iter(outputs.values())))
    return _assembled(
        made, outputs, tests, metrics, Correction(adjustment, family), way, title, about
    )


def warn_of_repeats(
    results: Results, patients: Sequence[Any] | None, *, remedy: str = "give groups="
) -> Results:
    """Note on each number that its rows share patients, if it was computed without `groups=`.

    Args:
        results: result of `compare`, `classification` or `segmentation`.
        patients: (cases,) patients, or None, which returns the results unchanged.
        remedy: what to do about it, in the words of the caller's interface.
    """
    if patients is None:
        return results

    def warned(estimate: Any) -> Any:
        return stats.warn_repeats(estimate, patients, remedy=remedy)

    metrics = {name: warned(estimate) for name, estimate in results.metrics.items()}
    results = results.replace(metrics=metrics)
    if not isinstance(results, ComparisonResults):
        return results
    found = results.comparison
    models = {
        model: {name: warned(estimate) for name, estimate in metrics.items()}
        for model, metrics in found.models.items()
    }
    contrasts = tuple(c._replace(test=warned(c.test)) for c in found.contrasts)
    return results.replace(comparison=found._replace(models=models, contrasts=contrasts))


def _at_least_two(models: Mapping[str, Any]) -> None:
    if len(models) < 2:
        raise ValueError(f"a comparison needs at least 2 models, but there is {len(models)}")


def _way(n: int, groups: Any, level: float, n_resamples: int, seed: int) -> Way:
    patients = None if groups is None else np.asarray(groups)
    return Way(
        level, patients, stats.draw_resamples(n, n_resamples, groups=patients, seed=seed), seed
    )


def _columns(overlap: Overlap, classes: Sequence[str]) -> dict[str, Array]:
    """Return per-case values by the name of their mean among the metrics."""
    found = {}
    for name, table in overlap.values.items():
        table = np.asarray(table, float)
        if len(classes) == 1:
            found[name] = table[:, 0]
            continue
        found[name] = row_means(table)
        found |= {f"{name}/{c}": column for c, column in zip(classes, table.T)}
    return found


def _by_name(way: Way, name: str) -> Test:
    return lambda a, b: way.values(a[name], b[name])


def _assembled(
    made: Mapping[str, Results],
    outputs: Mapping[str, Any],
    tests: Iterator[tuple[str, Test]],
    metrics: Sequence[str],
    correction: Correction,
    way: Way,
    title: str,
    about: dict[str, Any],
) -> ComparisonResults:
    if correction.family not in FAMILIES:
        raise ValueError(f"family is one of {', '.join(FAMILIES)}, got {correction.family!r}")
    # Reject an unknown method before the work.
    stats.adjust_p_values([0.5], method=correction.method)
    table = dict(tests)
    unknown = [name for name in metrics if name not in table]
    if unknown:
        raise ValueError(f"there is no test of {unknown[0]!r}; there are {', '.join(table)}")
    chosen = {name: table[name] for name in (metrics or table)}
    notes: list[str] = []
    found: list[tuple[str, str, str, TestResult]] = []
    for name, test in chosen.items():
        for a, b in itertools.combinations(outputs, 2):
            try:
                result = test(outputs[a], outputs[b])
            except ValueError as error:
                notes.append(f"{name}, {a} against {b}: not tested: {error}")
                continue
            result = dataclasses.replace(result, name=f"{name}: {a} - {b}")
            found.append((name, a, b, result))
    first = next(iter(made.values()))
    from_models = {
        note if len({n for r in made.values() for n in r.notes}) == 1 else f"{name}: {note}": None
        for name, results in made.items()
        for note in results.notes
    }
    return ComparisonResults(
        title=title,
        task=first.task,  # pyright: ignore[reportArgumentType]
        classes=first.classes,
        metrics={},
        comparison=Comparison(
            models={name: dict(results.metrics) for name, results in made.items()},
            contrasts=tuple(_corrected(found, correction)),
            adjustment=correction.method,
            family=correction.family,
            level=way.level,
            scores=predictions_of(made, Scores),
            overlaps=predictions_of(made, Overlap),
        ),
        level=way.level,
        threshold=threshold_of(first),
        notes=(*about.pop("notes", ()), *from_models, *notes),
        **placed(about),
    )


def predictions_of(made: Mapping[str, Results], kind: type[Predictions]) -> dict[str, Predictions]:
    """Return the predictions of each model, of one kind."""
    held = {name: next(iter(results.predictions().values())) for name, results in made.items()}
    return {name: found for name, found in held.items() if isinstance(found, kind)}


def _corrected(
    found: Sequence[tuple[str, str, str, TestResult]], correction: Correction
) -> Iterator[Contrast]:
    """Adjust the p-values of each family."""
    key: Callable[[int], str] = (
        (lambda i: "all") if correction.family == "all" else (lambda i: found[i][0])
    )
    adjusted = np.empty(len(found))
    for family in {key(i) for i in range(len(found))}:
        rows = [i for i in range(len(found)) if key(i) == family]
        adjusted[rows] = stats.adjust_p_values(
            [found[i][3].p_value for i in rows], method=correction.method
        )
    for (metric, a, b, test), p in zip(found, adjusted, strict=True):
        yield Contrast(metric, a, b, test, float(p))
