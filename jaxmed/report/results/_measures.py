"""Metrics of each task, from `jaxmed.stats` or `jaxmed.quantities`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxmed import quantities, stats
from jaxmed.stats import Estimate

Array = NDArray[Any]
Named = Iterator[tuple[str, Callable[[], Estimate]]]

HEADLINE = {
    "binary": ("auc", "accuracy", "sensitivity", "specificity"),
    "multi-class": ("auc", "accuracy", "balanced_accuracy"),
    "ordinal": ("auc", "accuracy", "quadratic_kappa"),
    "multi-label": ("auc", "accuracy"),
    "regression": ("mae", "rmse", "r2"),
}


# What predicted classes without a probability have.
OF_CALLS = (
    "accuracy", "sensitivity", "specificity", "ppv", "npv", "balanced_accuracy", "f1", "mcc",
    "quadratic_kappa", "mae_grades",
)  # fmt: skip


class Rule(NamedTuple):
    """Interval settings: level, patient of each case, seed of the bootstrap."""

    level: float
    groups: Array | None
    seed: int

    def of(self, metric: Callable[..., Estimate], *data: Any, **options: Any) -> Callable:
        """Bind a metric of `jaxmed.stats` to these data, to be called later."""
        return lambda: metric(*data, level=self.level, groups=self.groups, **options)

    def resampled(self, statistic: Callable[..., float], *data: Array) -> Callable:
        """Bind a bootstrap estimate: BCa if the jackknife it needs is cheap."""
        n = len(data[0])
        return self.of(
            stats.bootstrap, statistic, *data,
            method="bca" if n <= 2000 else "percentile",
            n_resamples=int(np.clip(2e7 / n, 200, 2000)),
            seed=self.seed,
            unit="case" if self.groups is None else "patient",
        )  # fmt: skip


def measures(
    task: str, rule: Rule, y: Array, s: Array, names: Sequence[str], threshold: float
) -> Named:
    """Return the metrics of a task by name, each as a function that computes it when called.

    Args:
        task: a key of `HEADLINE`.
        rule: settings of the intervals.
        y: labels, checked by `jaxmed.report.classification`.
        s: scores, likewise.
        names: names of the classes.
        threshold: threshold of a positive call.
    """
    return _TASKS[task](rule, y, s, names, threshold)


def _binary(rule: Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    p = s[:, 1]
    called = quantities.at_least(p, threshold).astype(int)
    yield "auc", rule.of(stats.auc, y, p)
    yield "accuracy", rule.of(stats.accuracy, y, called)
    yield "sensitivity", rule.of(stats.sensitivity, y, called)
    yield "specificity", rule.of(stats.specificity, y, called)
    yield "ppv", rule.of(stats.ppv, y, called)
    yield "npv", rule.of(stats.npv, y, called)
    yield "balanced_accuracy", rule.of(stats.balanced_accuracy, y, called, seed=rule.seed)
    yield "f1", rule.of(stats.f1, y, called, seed=rule.seed)
    yield "mcc", rule.of(stats.mcc, y, called, seed=rule.seed)
    yield "average_precision", rule.of(stats.average_precision, y, p, seed=rule.seed)
    yield "brier", rule.of(stats.brier, y, p, seed=rule.seed)
    yield "ece", rule.of(stats.ece, y, p, seed=rule.seed)
    if rule.groups is None:  # the standard errors of the logistic model assume independent rows
        yield "calibration_slope", lambda: stats.calibration_slope(y, p, level=rule.level)
        yield "calibration_intercept", lambda: stats.calibration_intercept(y, p, level=rule.level)


def _multi_class(rule: Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    top = quantities.largest(s)
    yield "auc", rule.of(stats.multiclass_auc, y, s)
    yield "accuracy", rule.of(stats.accuracy, y, top)
    yield "balanced_accuracy", rule.of(stats.balanced_accuracy, y, top, seed=rule.seed)
    yield "log_loss", rule.of(stats.log_loss, y, s, seed=rule.seed)
    yield "ece", rule.of(stats.ece, y, s, seed=rule.seed)
    for i, name in enumerate(names):
        yield f"auc/{name}", rule.of(stats.auc, (y == i).astype(int), s[:, i])


def _ordinal(rule: Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    top = quantities.largest(s)
    yield (
        "quadratic_kappa",
        rule.of(stats.kappa, y, top, weights="quadratic", seed=rule.seed),
    )
    yield "mae_grades", rule.resampled(quantities.mae, y, top)
    yield from _multi_class(rule, y, s, names, threshold)


def _multi_label(rule: Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    called = quantities.at_least(s, threshold)
    known = ~np.isnan(y)
    if known.all():
        yield "auc", rule.of(stats.multiclass_auc, y, s)
        yield "accuracy", rule.resampled(lambda a, b: float((a == b).mean()), y, called)
    else:
        yield "auc", rule.resampled(mean_auc, y, s)
        yield "accuracy", rule.resampled(share_of_known, y, called)
    for i, name in enumerate(names):
        rows = known[:, i]
        groups = None if rule.groups is None else rule.groups[rows]
        part = rule._replace(groups=groups)
        yield f"auc/{name}", part.of(stats.auc, y[rows, i].astype(int), s[rows, i])


def mean_auc(y: Array, s: Array) -> float:
    """Average the AUCs of the labels, each over the cases where it is known.

    Raises:
        ValueError: no label has both values.
    """
    areas = []
    for truth, score in zip(y.T, s.T):
        known = ~np.isnan(truth)
        if 0 < truth[known].sum() < known.sum():
            areas.append(quantities.auc(truth[known] == 1, score[known]))
    if not areas:
        raise ValueError("no label has both values among the cases where it is known")
    return float(np.mean(areas))


def share_of_known(y: Array, called: Array) -> float:
    """Return the share of right calls among the labels that are known."""
    known = ~np.isnan(y)
    return float((y == called)[known].mean())


def _regression(rule: Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    yield "mae", rule.resampled(quantities.mae, y, s)
    yield "rmse", rule.resampled(quantities.rmse, y, s)
    yield "bias", rule.resampled(quantities.bias, y, s)
    yield "r2", rule.resampled(quantities.r2, y, s)


_TASKS = {
    "binary": _binary,
    "multi-class": _multi_class,
    "ordinal": _ordinal,
    "multi-label": _multi_label,
    "regression": _regression,
}
