"""Metrics by subgroup (site, sex, age, ...): intervals, gaps, adjusted tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmed import quantities, stats
from jaxmed.data.tables._table import is_missing
from jaxmed.report.results._measures import mean_auc
from jaxmed.report.results._parts import Overlap, Scores, SubgroupTable
from jaxmed.report.results._results import (
    DetectionResults,
    InstanceResults,
    Results,
    threshold_of,
)
from jaxmed.report.results._segmentation import row_means
from jaxmed.stats import Estimate

Array = NDArray[Any]
Measured = tuple[Callable[..., Estimate], Array, Array]

_BANDS = 3  # of a number with more distinct values than `_FEW`
_FEW = 8
_UNKNOWN = "not known"


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
        results: result of `classification`, `segmentation`, `detection` (one threshold for all, at
            one false box an image), `instances` or `compare`, whose models are evaluated
            separately.
        columns: name of the grouping variable to (cases,) values. Numbers with more than eight
            values, such as ages, are cut into thirds, as `bands` tells.
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
    predicted = results.predictions()
    if not predicted:
        raise ValueError("subgroups need predictions, but these results hold none")
    for model, held in predicted.items():
        measured, groups = _measured(results, held), held.groups
        n = len(next(iter(measured.values()))[1])
        for column, values in columns.items():
            if len(values) != n:
                raise ValueError(f"subgroup {column!r} has {len(values)} values for {n} cases")
            by = bands(values)
            for name, (metric, y, x) in measured.items():
                where = f"{name} by {column}" + (f" of {model}" if model else "")
                try:
                    found = stats.subgroups(
                        metric, y, x, by, adjustment=adjustment, level=results.level,
                        minimum=minimum, groups=groups, n_resamples=n_resamples,
                        seed=resampling_seed,
                    )  # fmt: skip
                except ValueError as error:
                    notes.append(f"{where} is not given: {error}")
                    continue
                tables.append(SubgroupTable(column, name, found, model))
                notes += [f"{where}: {note}" for note in found.notes]
    return results.replace(subgroups=(*results.subgroups, *tables), notes=(*results.notes, *notes))


def bands(values: Sequence[Any]) -> Array:
    """Convert values to subgroup names; more than eight distinct numbers are cut into thirds.

    The cuts are the tertiles, rounded up to whole numbers if all values are whole, else to three
    digits. Each interval holds its lower end and not its upper one, but for the last, which holds
    both. A missing value is `not known`, a group of its own.

    Examples:
        >>> in_order(set(bands([20, 30, 40, 50, 60, 70, 80, 90, 105, ""]).tolist()))
        ['[20, 47)', '[47, 74)', '[74, 105]', 'not known']
    """
    text = np.array([_UNKNOWN if is_missing(str(v)) else str(v).strip() for v in values])
    known = text != _UNKNOWN
    try:
        numbers = np.array([float(t) for t in text[known]])
    except ValueError:
        return text
    if len(np.unique(numbers)) <= _FEW or not np.isfinite(numbers).all():
        return text
    tertiles = np.quantile(numbers, np.arange(1, _BANDS) / _BANDS)
    if np.array_equal(numbers, np.round(numbers)):
        cuts = np.ceil(tertiles - 1e-9)
    else:
        cuts = np.array([float(f"{cut:.3g}") for cut in tertiles])
    low, high = numbers.min(), numbers.max()
    cuts = np.unique(cuts[(cuts > low) & (cuts <= high)])
    ends = [f"{end:.12g}" for end in (low, *cuts, high)]
    names = [f"[{a}, {b})" for a, b in itertools.pairwise(ends)]
    names[-1] = names[-1][:-1] + "]"
    found = np.full(len(text), _UNKNOWN, dtype=object)
    found[known] = np.array(names)[np.searchsorted(cuts, numbers, side="right")]
    return found.astype(str)


def in_order(groups: Iterable[Any]) -> list[Any]:
    """Sort subgroups: intervals and numbers by value, before names, what is not known last."""

    def place(group: Any) -> tuple[int, float, str]:
        text = str(group)
        number = text[1:].partition(",")[0] if text.startswith("[") else text
        try:
            return 0, float(number), text
        except ValueError:
            return 1 + (text == _UNKNOWN), 0.0, text

    return sorted(groups, key=place)


def _measured(results: Results, held: Scores | Overlap) -> dict[str, Measured]:
    """Return the metrics to evaluate by subgroup, each with its data."""
    if isinstance(held, Overlap):
        name, table = next(iter(held.values.items()))
        values = row_means(np.asarray(table, float))
        return {name: (_mean, values, values)}
    if isinstance(results, DetectionResults):
        found, false = results.froc.counts(results.froc.threshold(1.0))
        return {
            "sensitivity/1 false boxes an image": (_share, results.froc.objects, found),
            "false boxes an image": (_mean, false, false),
        }
    if isinstance(results, InstanceResults):
        of = results.found
        return {
            "f1": (_share, of.objects + of.found, 2 * of.hits),
            "recall": (_share, of.objects, of.hits),
            "precision": (_share, of.found, of.hits),
        }
    y, s = np.asarray(held.labels), np.asarray(held.scores)
    if results.task == "regression":
        error = abs(y - s)
        return {"mae": (_mean, error, error)}
    hard = getattr(results, "hard", False)
    if results.task == "binary":
        threshold = threshold_of(results)
        called = quantities.at_least(s[:, 1], 0.5 if threshold is None else threshold).astype(int)
        area = {} if hard else {"auc": (stats.auc, y, s[:, 1])}
        return area | {
            "accuracy": (stats.accuracy, y, called),
            "sensitivity": (stats.sensitivity, y, called),
            "specificity": (stats.specificity, y, called),
        }
    if results.task == "multi-label":
        known = ~np.isnan(y)
        return {"auc": (stats.multiclass_auc if known.all() else _mean_auc, y, s)}
    area = {} if hard else {"auc": (stats.multiclass_auc, y, s)}
    return area | {"accuracy": (stats.accuracy, y, quantities.largest(s))}


def _share(whole: Array, part: Array, *, level: float = 0.95, groups: Any = None) -> Estimate:
    """The share of all objects that were found, or are true."""
    if not whole.any():
        raise ValueError("there is no object")

    def shares(w: Array, p: Array, weights: Array) -> Array:
        total = weights @ w
        return weights @ p / np.where(total > 0, total, np.nan)

    return stats.bootstrap(
        shares, whole.astype(float), part.astype(float), level=level, groups=groups,
        n_resamples=200, weighted=True, method="percentile",
    )  # fmt: skip


def _mean_auc(y: Array, s: Array, *, level: float = 0.95, groups: Any = None) -> Estimate:
    """Average the AUCs of labels that are partly unknown."""
    return stats.bootstrap(mean_auc, y, s, level=level, groups=groups, n_resamples=200)


def _mean(_: Array, values: Array, *, level: float = 0.95, groups: Any = None) -> Estimate:
    """Average the defined values."""
    keep = np.isfinite(values)
    if keep.sum() < 2:
        raise ValueError("fewer than two cases in which the metric is defined")
    kept = None if groups is None else np.asarray(groups)[keep]
    return stats.mean(values[keep], level=level, groups=kept)
