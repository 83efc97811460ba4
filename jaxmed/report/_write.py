"""A finished run on disk: `metrics.json`, `predictions.csv`, `report.html`."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.report._page import html
from jaxmed.report._record import metrics_record, to_json, write_text
from jaxmed.report._results import Results


class Written(NamedTuple):
    """Where the parts of a report are.

    Attributes:
        metrics: `metrics.json`.
        predictions: `predictions.csv`, or None where there are none to list.
        report: `report.html`.
        comparison: `comparison.csv`, or None without a comparison.
    """

    metrics: Path
    predictions: Path | None
    report: Path
    comparison: Path | None = None


def write(results: Results, out: str | os.PathLike) -> Written:
    """Write a report into a folder.

    Args:
        results: what was found.
        out: the folder, made where it is missing.

    Returns:
        The paths. Files are replaced whole: an interrupted call leaves the old ones.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "metrics.json", folder / "predictions.csv", folder / "report.html"
    write_text(paths[0], to_json(metrics_record(results)) + "\n")
    table = predictions_csv(results)
    if table:
        write_text(paths[1], table)
    compared = None
    if results.comparison is not None:
        compared = folder / "comparison.csv"
        write_text(compared, comparison_csv(results))
    write_text(paths[2], html(results))
    return Written(paths[0], paths[1] if table else None, paths[2], compared)


def comparison_csv(results: Results) -> str:
    """One row a test: both models' values, the effect with its limits, p as it is and corrected."""
    found = results.comparison
    if found is None:
        return ""
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
    return _csv(header, rows)


def predictions_csv(results: Results) -> str:
    """One row a case, as `jaxmed evaluate` reads it.

    Classifiers: `case, group, label, score_NAME, ...`; several labels: `label_NAME` too;
    segmentation: `case, group, MEASURE_NAME, ..., mask`.
    """
    if results.scores is not None:
        return _csv(*_score_rows(results))
    if results.overlap is not None:
        return _csv(*_overlap_rows(results))
    return ""


def summary(results: Results) -> str:
    """The headline metrics, and the tests of a comparison, as lines of text."""
    if results.comparison is not None:
        found = results.comparison
        return "\n".join(
            [
                f"{contrast.test}, {found.adjustment}-adjusted p = {contrast.adjusted:.3g}"
                for contrast in found.contrasts
            ]
        )
    return "\n".join(
        str(estimate) for name, estimate in results.metrics.items() if name in results.headline
    )


def _score_rows(results: Results) -> tuple[list[str], list[list[Any]]]:
    found = results.scores
    y, s = np.asarray(found.labels), np.asarray(found.scores)
    many = y.ndim == 2
    header = ["case"] + ["group"] * (found.groups is not None)
    header += [f"label_{c}" for c in results.classes] if many else ["label"]
    header += ["score"] if s.ndim == 1 else [f"score_{c}" for c in results.classes]
    rows = []
    for i, case in enumerate(found.cases):
        row = [case] + ([found.groups[i]] if found.groups is not None else [])
        row += [*y[i]] if many else [y[i]]
        row += [f"{v:.9g}" for v in np.atleast_1d(s[i])]
        rows.append(row)
    return header, rows


def _overlap_rows(results: Results) -> tuple[list[str], list[list[Any]]]:
    found = results.overlap
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


def _csv(header: list[str], rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
