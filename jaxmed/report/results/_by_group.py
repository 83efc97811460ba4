"""Metrics by subgroup (site, sex, age, ...): intervals, gaps, adjusted tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmed import stats
from jaxmed.report.results._results import Overlap, Results, Scores, SubgroupTable
from jaxmed.stats import Estimate

Array = NDArray[Any]
Measured = tuple[Callable[..., Estimate], Array, Array]

_BANDS = 3  # of a number with more distinct values than `_FEW`
_FEW = 8


def with_subgroups(
    results: Results,
    columns: Mapping[str, Sequence[Any]],
    *,
    adjustment: str = "holm",
    minimum: int = 10,
    n_resamples: int = 500,
    resampling_seed: int = 0,
) -> Results:
    """Evaluate a model in each subgroup, and test each subgroup against all others.

    Args:
        results: result of `classification`, `segmentation` or `compare`, whose models are evaluated
            separately.
        columns: name of the grouping variable to (cases,) values. Numbers with more than eight
            values, such as ages, are cut into thirds.
        adjustment: adjustment of the p-values over the subgroups of one column and metric.
        minimum: smaller subgroups are left out, with a note.
        n_resamples: number of bootstrap resamples behind tests and gaps.
        resampling_seed: seed of the bootstrap.

    Returns:
        The results with `subgroups`; what cannot be estimated becomes a note.

    Raises:
        ValueError: if the results have no predictions, or a column has a different length.

    Examples:
        >>> from jaxmed.report import classification
        >>> y = np.arange(80) % 2
        >>> r = classification(y, 0.3 + 0.4 * y)
        >>> r = with_subgroups(r, {"sex": ["f", "m"] * 40}, n_resamples=20)
        >>> [(t.column, t.metric) for t in r.subgroups]  # each sex is of one class here
        [('sex', 'accuracy')]
    """
    tables, notes = [], []
    for model, scores, overlap in _models(results):
        measured, groups = _measured(results, scores, overlap)
        n = len(next(iter(measured.values()))[1])
        for column, values in columns.items():
            if len(values) != n:
                raise ValueError(f"subgroup {column!r} has {len(values)} values for {n} cases")
            by = bands(values)
            for name, (metric, y, x) in measured.items():
                told = f"{name} by {column}" + (f" of {model}" if model else "")
                try:
                    found = stats.subgroups(
                        metric, y, x, by, adjustment=adjustment, level=results.level,
                        minimum=minimum, groups=groups, n_resamples=n_resamples,
                        seed=resampling_seed,
                    )  # fmt: skip
                except ValueError as error:
                    notes.append(f"{told} is not given: {error}")
                    continue
                tables.append(SubgroupTable(column, name, found, model))
                notes += [f"{told}: {note}" for note in found.notes]
    return results.replace(subgroups=(*results.subgroups, *tables), notes=(*results.notes, *notes))


def bands(values: Sequence[Any]) -> Array:
    """Convert values to subgroup names; many distinct numbers are cut into thirds.

    Examples:
        >>> sorted(set(bands([20, 30, 40, 50, 60, 70, 80, 90, 95]).tolist()))
        ['20 to 46.7', '46.7 to 73.3', '73.3 to 95']
    """
    text = np.array([str(value).strip() or "not known" for value in values])
    try:
        numbers = np.array([float(t) for t in text])
    except ValueError:
        return text
    if len(np.unique(numbers)) <= _FEW or not np.isfinite(numbers).all():
        return text
    edges = np.quantile(numbers, np.linspace(0, 1, _BANDS + 1))
    names = [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]
    return np.array(names)[np.searchsorted(edges[1:-1], numbers, side="right")]


def _models(results: Results) -> Iterator[tuple[str, Scores | None, Overlap | None]]:
    """Return the predictions by model; a single model has no name."""
    found = results.comparison
    if found is None:
        yield "", results.scores, results.overlap
        return
    for model in found.models:
        yield model, found.scores.get(model), found.overlaps.get(model)


def _measured(
    results: Results, scores: Scores | None, overlap: Overlap | None
) -> tuple[dict[str, Measured], Any]:
    """Return the metrics to evaluate by subgroup, each with its data; and the patients."""
    if overlap is not None:
        name, table = next(iter(overlap.values.items()))
        table = np.asarray(table, float)
        known = np.isfinite(table)
        values = np.where(known, table, 0).sum(1) / np.maximum(known.sum(1), 1)
        values = np.where(known.any(1), values, np.nan)
        return {name: (_mean, values, values)}, overlap.groups
    if scores is None:
        raise ValueError("subgroups need predictions, but these results hold none")
    y, s = np.asarray(scores.labels), np.asarray(scores.scores)
    found: dict[str, Measured]
    if results.task == "regression":
        error = abs(y - s)
        found = {"mae": (_mean, error, error)}
    elif results.task == "binary":
        threshold = 0.5 if results.threshold is None else results.threshold
        called = (s[:, 1] >= threshold).astype(int)
        found = {
            "auc": (stats.auc, y, s[:, 1]),
            "accuracy": (stats.accuracy, y, called),
            "sensitivity": (stats.sensitivity, y, called),
            "specificity": (stats.specificity, y, called),
        }
    elif results.task == "multi-label":
        found = {"auc": (stats.multiclass_auc, y, s)}
    else:
        found = {
            "auc": (stats.multiclass_auc, y, s),
            "accuracy": (stats.accuracy, y, s.argmax(1)),
        }
    return found, scores.groups


def _mean(_: Array, values: Array, *, level: float = 0.95, groups: Any = None) -> Estimate:
    """Average the defined values."""
    keep = np.isfinite(values)
    if keep.sum() < 2:
        raise ValueError("fewer than two cases in which the metric is defined")
    kept = None if groups is None else np.asarray(groups)[keep]
    return stats.mean(values[keep], level=level, groups=kept)
