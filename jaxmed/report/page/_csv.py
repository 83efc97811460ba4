"""Tables of a report as CSV: estimates, tests, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmed._csv import csv_text
from jaxmed.report.results._parts import Overlap, Scores
from jaxmed.report.results._results import (
    ComparisonResults,
    DetectionResults,
    InstanceResults,
    RegistrationResults,
    Results,
    SegmentationResults,
    SurvivalResults,
)
from jaxmed.stats import Estimate


def metrics_csv(results: Results) -> str:
    """Write one row per estimate: of each model, in all cases and in each subgroup."""
    header = [
        "model", "column", "subgroup", "metric", "value", "lower", "upper", "level", "n", "unit",
        "method", "notes",
    ]  # fmt: skip

    def row(model: str, column: str, subgroup: Any, metric: str, e: Estimate) -> list[Any]:
        numbers = [f"{x:.9g}" if np.isfinite(x) else "" for x in (e.value, e.lower, e.upper)]
        end = [*numbers, e.level, e.n, e.unit, e.method, "; ".join(e.notes)]
        return [model, column, subgroup, metric, *end]

    rows = [row("", "", "", name, e) for name, e in results.metrics.items()]
    if isinstance(results, ComparisonResults):
        for model, metrics in results.comparison.models.items():
            rows += [row(model, "", "", name, e) for name, e in metrics.items()]
    for table in results.subgroups:
        rows += [
            row(table.model, table.column, name, table.metric, e)
            for name, e in table.found.estimates.items()
        ]
    return csv_text(header, rows)


def comparison_csv(results: Results) -> str:
    """Write one row per test: both values, the effect with limits, raw and adjusted p-values."""
    if not isinstance(results, ComparisonResults):
        return ""
    found = results.comparison
    header = [
        "metric", "first", "second", "first_value", "second_value", "effect", "lower", "upper",
        "level", "statistic", "p", "p_adjusted", "adjustment", "family", "n", "unit", "method",
        "notes",
    ]  # fmt: skip
    rows = []
    for contrast in found.contrasts:
        test = contrast.test
        values = [
            f"{found.models[model][contrast.metric].value:.9g}"
            if contrast.metric in found.models[model]
            else ""
            for model in (contrast.first, contrast.second)
        ]
        numbers = [test.effect, *(test.interval or ("", "")), test.level, test.statistic]
        rows.append(
            [
                contrast.metric, contrast.first, contrast.second, *values,
                *(f"{x:.9g}" if isinstance(x, float) else x for x in numbers),
                f"{test.p_value:.6g}", f"{contrast.adjusted:.6g}", found.adjustment, found.family,
                test.n, test.unit, test.method, "; ".join(test.notes),
            ]
        )  # fmt: skip
    return csv_text(header, rows)


def predictions_csv(results: Results) -> str:
    """Write one row per case, in the format read by `jaxmed evaluate`.

    Classifiers: `case, group, label, score_NAME, ...`; several labels: `label_NAME` too;
    segmentation: `case, group, MEASURE_NAME, ..., mask`; detection: `image, label, score` and
    corners, a row a box; instances: `case, group, objects, found, hits, mask`; registration:
    `case, group, MEASURE, ...`, a row a pair; survival: `case, group, time, event, risk,
    survival_TIME, ...`.
    """
    if isinstance(results, ComparisonResults):
        return ""
    if isinstance(results, DetectionResults):
        held = results.boxes
        return box_csv(held.cases, held.boxes, held.scores, held.kinds, results.classes)
    if isinstance(results, InstanceResults):
        return csv_text(*_instance_rows(results))
    if isinstance(results, RegistrationResults):
        return csv_text(*_pair_rows(results))
    if isinstance(results, SurvivalResults):
        return csv_text(*_survival_rows(results))
    for found in results.predictions().values():
        if isinstance(found, Scores):
            return csv_text(*_score_rows(results, found))
        if isinstance(results, SegmentationResults):
            return csv_text(*_overlap_rows(results, found))
    return ""


def box_csv(
    cases: Sequence[str],
    boxes: Sequence[Any],
    scores: Sequence[Any],
    kinds: Sequence[Any],
    classes: Sequence[str],
) -> str:
    """Write a row a box, `image, label, score, low_0, ..., high_0, ...`, corners along the axes.

    An image in which none was found has a row with empty cells.
    """
    rank = next((np.shape(b)[1] // 2 for b in boxes if len(b)), 2)
    header = [f"{end}_{axis}" for end in ("low", "high") for axis in range(rank)]
    rows: list[list[Any]] = []
    for case, found, score, kind in zip(cases, boxes, scores, kinds, strict=True):
        if not len(found):
            rows.append([case, *[""] * (2 + 2 * rank)])
        for box, s, k in zip(found, score, kind, strict=True):
            rows.append([case, classes[int(k)], f"{s:.6g}", *(f"{v:.2f}" for v in box)])
    return csv_text(["image", "label", "score", *header], rows)


def _instance_rows(results: InstanceResults) -> tuple[list[str], list[list[Any]]]:
    held = results.found
    header = ["case", *["group"] * (held.groups is not None), "objects", "found", "hits"]
    rows = []
    for i, case in enumerate(held.cases):
        group = [] if held.groups is None else [held.groups[i]]
        numbers = [int(n[i]) for n in (held.objects, held.found, held.hits)]
        rows.append([case, *group, *numbers, *([held.masks[case]] if held.masks else [])])
    return [*header, *["mask"] * bool(held.masks)], rows


def _pair_rows(results: RegistrationResults) -> tuple[list[str], list[list[Any]]]:
    held = results.pairs
    rows = []
    for i, case in enumerate(held.cases):
        group = [] if held.groups is None else [held.groups[i]]
        numbers = [f"{v[i]:.6f}" if np.isfinite(v[i]) else "" for v in held.values.values()]
        rows.append([case, *group, *numbers])
    return ["case", *["group"] * (held.groups is not None), *held.values], rows


def _survival_rows(results: SurvivalResults) -> tuple[list[str], list[list[Any]]]:
    held = results.predicted
    header = ["case", *["group"] * (held.groups is not None), "time", "event", "risk"]
    rows = []
    for i, case in enumerate(held.cases):
        group = [] if held.groups is None else [held.groups[i]]
        numbers = [f"{held.time[i]:.9g}", int(held.event[i]), f"{held.risk[i]:.9g}"]
        rows.append([case, *group, *numbers])
        if held.survival is not None:
            rows[-1] += [f"{value:.6g}" for value in held.survival[i]]
    if held.survival is not None:
        header += [f"survival_{at:g}" for at in held.times]
    return header, rows


def _score_rows(results: Results, found: Scores) -> tuple[list[str], list[list[Any]]]:
    y, s = np.asarray(found.labels), np.asarray(found.scores)
    many = y.ndim == 2
    header = ["case"] + ["group"] * (found.groups is not None)
    header += [f"label_{c}" for c in results.classes] if many else ["label"]
    header += ["score"] if s.ndim == 1 else [f"score_{c}" for c in results.classes]
    rows = []
    for i, case in enumerate(found.cases):
        row = [case] + ([found.groups[i]] if found.groups is not None else [])
        row += ["" if np.isnan(v) else f"{v:g}" for v in y[i]] if many else [y[i]]
        row += [f"{v:.9g}" for v in np.atleast_1d(s[i])]
        rows.append(row)
    return header, rows


def _overlap_rows(
    results: SegmentationResults, found: Overlap
) -> tuple[list[str], list[list[Any]]]:
    header = ["case"] + ["group"] * (found.groups is not None)
    header += [f"{measure}_{c}" for measure in found.values for c in results.classes]
    header += ["mask"] * bool(results.masks)
    rows = []
    for i, case in enumerate(found.cases):
        row = [case] + ([found.groups[i]] if found.groups is not None else [])
        row += [
            f"{v:.6f}" if np.isfinite(v) else ""
            for table in found.values.values()
            for v in table[i]
        ]
        row += [results.masks.get(case, "")] * bool(results.masks)
        rows.append(row)
    return header, rows
