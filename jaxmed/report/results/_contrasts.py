"""Pairwise comparison of models: the test of each metric, with the effect's interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxmed import quantities, stats
from jaxmed.report.results._results import ComparisonResults
from jaxmed.stats import Draws, Replicates, TestResult

Array = NDArray[Any]
Test = Callable[[Array, Array], TestResult]
"""``(outputs of one model, outputs of the other) -> test of first - second``."""


class Way(NamedTuple):
    """Test settings: level, patient of each case, shared resamples."""

    level: float
    groups: Array | None
    draws: Draws
    seed: int

    def called(self, first: Array, second: Array) -> TestResult:
        """Compare two proportions: McNemar's mid-p test, or Obuchowski's with patients."""
        if self.groups is None or len(np.unique(self.groups)) == len(first):
            return stats.mcnemar_test(first, second, level=self.level)
        found = stats.clustered_mcnemar_test(first, second, self.groups)
        spread = self._mean(first.astype(float) - second, self.groups)
        return dataclasses.replace(found, interval=spread.interval, level=self.level)

    def values(self, first: Array, second: Array) -> TestResult:
        """Compare two means on the same cases by sign flips, with bootstrap limits."""
        keep = np.isfinite(first) & np.isfinite(second)
        if not keep.any():
            raise ValueError("in no case is it defined, and finite, for both")
        groups = None if self.groups is None else self.groups[keep]
        difference = first[keep] - second[keep]
        found = stats.sign_flip_test(difference, groups=groups, seed=self.seed)
        notes = found.notes
        if not keep.all():
            left = int((~keep).sum())
            cases = "case" if left == 1 else "cases"
            notes += (f"{left} {cases} left out: the metric is undefined for one of the two",)
        interval = self._mean(difference, groups).interval
        return dataclasses.replace(
            found, interval=interval, level=self.level, notes=notes,
            method=f"{found.method}, bootstrap interval",
        )  # fmt: skip

    def resampled(self, metric: Callable[[Array, Array], Array]) -> Test:
        """Compare any metric by the paired bootstrap; `metric(outputs, weights (b, n)) -> (b,)`.

        Each model is evaluated on the resamples once, whatever the number of pairs.
        """
        measured: dict[int, tuple[Array, Replicates]] = {}

        def of(outputs: Array) -> Replicates:
            # The array is kept with its replicates, so that its id is not reused.
            if id(outputs) not in measured:
                measured[id(outputs)] = outputs, stats.replicates_on(self.draws, metric, outputs)
            return measured[id(outputs)][1]

        return lambda first, second: stats.replicates_test(
            of(first), of(second), self.draws, level=self.level
        )

    def _mean(self, difference: Array, groups: Array | None) -> TestResult:
        """Compute the interval of a mean difference by the paired bootstrap."""
        draws = self.draws
        if len(difference) != draws.n:
            draws = stats.draw_resamples(
                len(difference), draws.n_resamples, groups=groups, seed=self.seed, unit=draws.unit
            )
        found = stats.replicates_on(draws, _weighted_mean, difference)
        nothing = found._replace(value=0.0, replicates=np.zeros_like(found.replicates))
        return stats.replicates_test(found, nothing, draws, level=self.level)


def _weighted_mean(values: Array, weights: Array) -> Array:
    return (weights @ values) / weights.sum(1)


def contrasts_of(
    task: str, way: Way, y: Array, names: Sequence[str], threshold: float
) -> Iterator[tuple[str, Test]]:
    """Return the tests of a task by metric name; each takes two models' scores.

    Why others have none is told by `untested`.
    """
    return _TASKS[task](way, y, names, threshold)


_FOUR = (
    "it is made of the same counts as sensitivity, specificity and the predictive values, which "
    "are tested: one test more of them would only make the correction more severe"
)
_AIM = (
    "a larger value is not a better one: the aim is {aim}, against which each model's interval is "
    "to be read"
)
# Metrics that are estimated and have no test, by the part of their name before a slash.
_UNTESTED = {
    "ece": "its upward bias depends on the model, so that a difference is no difference of "
    "calibration alone; the Brier score and the log loss, which are proper, compare that too",
    "balanced_accuracy": _FOUR,
    "f1": _FOUR,
    "mcc": _FOUR,
    "calibration_slope": _AIM.format(aim="a slope of 1"),
    "calibration_intercept": _AIM.format(aim="an intercept of 0"),
}


def untested(results: ComparisonResults) -> dict[str, str]:
    """Return why each metric that is estimated in a comparison has no test."""
    found = results.comparison
    tested = {contrast.metric for contrast in found.contrasts}
    estimated = dict.fromkeys(name for metrics in found.models.values() for name in metrics)
    reasons = {}
    for name in estimated:
        if name in tested:
            continue
        if any(note.startswith(f"{name}, ") and "not tested" in note for note in results.notes):
            reasons[name] = "it could not be tested on these data, as the notes say"
        else:
            reasons[name] = _UNTESTED.get(
                name.partition("/")[0], "it is not among the metrics that were named to be tested"
            )
    return reasons


def _delong(way: Way, y: Array, column: int) -> Test:
    known = ~np.isnan(y)
    groups = None if way.groups is None else way.groups[known]
    return lambda a, b: stats.delong_test(
        y[known].astype(int), a[known, column], b[known, column], level=way.level, groups=groups
    )


def _binary(way: Way, y: Array, names: Sequence[str], threshold: float) -> Iterator:
    def called(scores: Array) -> Array:
        return quantities.at_least(scores[:, 1], threshold).astype(int)

    def on(rows: Array, target: int) -> Test:
        def test(a: Array, b: Array) -> TestResult:
            if not rows.any():
                raise ValueError("no case of that class")
            groups = None if way.groups is None else way.groups[rows]
            part = way._replace(groups=groups)
            return part.called(
                (called(a) == target)[rows].astype(int), (called(b) == target)[rows].astype(int)
            )

        return test

    yield "auc", _delong(way, y, 1)
    yield (
        "accuracy",
        lambda a, b: way.called((called(a) == y).astype(int), (called(b) == y).astype(int)),
    )
    yield "sensitivity", on(y == 1, 1)
    yield "specificity", on(y == 0, 0)
    for name, target in (("ppv", 1), ("npv", 0)):
        yield name, _predictive(way, y, called, name, target)
    yield (
        "average_precision",
        way.resampled(lambda s, w: quantities.weighted_average_precision(y == 1, s[:, 1], w)),
    )
    yield (
        "brier",
        lambda a, b: way.values(
            quantities.brier_values(y, a[:, 1]), quantities.brier_values(y, b[:, 1])
        ),
    )


def _predictive(
    way: Way, y: Array, called: Callable[[Array], Array], name: str, target: int
) -> Test:
    """Run Kosinski's weighted score test with bootstrap limits; with patients, bootstrap only."""
    right = (y == target).astype(float)

    def value(scores: Array, weights: Array) -> Array:
        chosen = (called(scores) == target).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ (chosen * right)) / (weights @ chosen)

    def test(a: Array, b: Array) -> TestResult:
        drawn = way.resampled(value)(a, b)
        if way.groups is not None:
            return drawn
        found = stats.predictive_value_test(y, called(a), called(b), quantity=name)
        return dataclasses.replace(
            found, interval=drawn.interval, level=way.level,
            method=f"{found.method}, bootstrap interval",
        )  # fmt: skip

    return test


def _macro(truth: Array) -> Callable[[Array, Array], Array]:
    """Average the weighted AUCs of the columns; columns of one class are left out.

    Unknown labels, NaN, weigh nothing in their column.
    """
    known = ~np.isnan(truth)
    both = [k for k in range(truth.shape[1]) if 0 < np.nansum(truth[:, k]) < known[:, k].sum()]

    def area(scores: Array, weights: Array) -> Array:
        parts = [
            quantities.weighted_auc(
                truth[known[:, k], k] == 1, scores[known[:, k], k], weights[:, known[:, k]]
            )
            for k in both
        ]
        return np.mean(parts, axis=0)

    return area


def _multi_class(way: Way, y: Array, names: Sequence[str], threshold: float) -> Iterator:
    hot = (y[:, None] == np.arange(len(names))).astype(int)

    def balanced(scores: Array, weights: Array) -> Array:
        called = quantities.largest(scores)
        return quantities.balanced_accuracy(quantities.tabulate(y, called, len(names), weights))

    def lost(scores: Array) -> Array:
        return quantities.log_loss_values(scores[np.arange(len(y)), y])

    def right(scores: Array) -> Array:
        return (quantities.largest(scores) == y).astype(int)

    yield "auc", way.resampled(_macro(hot))
    yield (
        "accuracy",
        lambda a, b: way.called(right(a), right(b)),
    )
    yield "balanced_accuracy", way.resampled(balanced)
    yield "log_loss", lambda a, b: way.values(lost(a), lost(b))
    for i, name in enumerate(names):
        if 0 < hot[:, i].sum() < len(y):
            yield f"auc/{name}", _delong(way, hot[:, i], i)


def _ordinal(way: Way, y: Array, names: Sequence[str], threshold: float) -> Iterator:
    k = len(names)
    cost = quantities.costs(k, "quadratic")

    def kappa(scores: Array, weights: Array) -> Array:
        called = quantities.largest(scores)
        return quantities.kappa(quantities.tabulate(y, called, k, weights), cost)

    def grades(scores: Array) -> Array:
        return abs(quantities.largest(scores) - y).astype(float)

    yield "quadratic_kappa", way.resampled(kappa)
    yield (
        "mae_grades",
        lambda a, b: way.values(grades(a), grades(b)),
    )
    yield from _multi_class(way, y, names, threshold)


def _multi_label(way: Way, y: Array, names: Sequence[str], threshold: float) -> Iterator:
    known = ~np.isnan(y)
    weight = known / np.where(known.any(1), known.sum(1), np.nan)[:, None]

    def right(scores: Array) -> Array:
        """The share of a case's known labels that is right."""
        return ((quantities.at_least(scores, threshold) == y) * weight).sum(1)

    yield "auc", way.resampled(_macro(y))
    yield "accuracy", lambda a, b: way.values(right(a), right(b))
    for i, name in enumerate(names):
        if 0 < np.nansum(y[:, i]) < known[:, i].sum():
            yield f"auc/{name}", _delong(way, y[:, i], i)


def _regression(way: Way, y: Array, names: Sequence[str], threshold: float) -> Iterator:
    yield "mae", lambda a, b: way.values(abs(a - y), abs(b - y))
    yield (
        "rmse",
        way.resampled(lambda s, w: quantities.rmse(y, s, w)),
    )
    yield "bias", lambda a, b: way.values(a - y, b - y)
    yield "r2", way.resampled(lambda s, w: quantities.r2(y, s, w))


_TASKS = {
    "binary": _binary,
    "multi-class": _multi_class,
    "ordinal": _ordinal,
    "multi-label": _multi_label,
    "regression": _regression,
}
