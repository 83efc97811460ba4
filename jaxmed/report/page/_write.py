"""Writing of a report to disk: `metrics.json`, tables, `report.html`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from jaxmed._files import write_whole
from jaxmed._json import to_json
from jaxmed.report.page._csv import comparison_csv, metrics_csv, predictions_csv
from jaxmed.report.page._page import html
from jaxmed.report.page._record import metrics_record
from jaxmed.report.results._results import ComparisonResults, Results

_SHOWN = 4  # Metrics of each model of a comparison that a terminal shows.


class Written(NamedTuple):
    """Paths of a report's files.

    Attributes:
        metrics: `metrics.json`.
        predictions: `predictions.csv`, or None without predictions.
        report: `report.html`.
        comparison: `comparison.csv`, or None without a comparison.
        table: `metrics.csv`, every estimate in one table.
    """

    metrics: Path
    predictions: Path | None
    report: Path
    comparison: Path | None = None
    table: Path | None = None


def write(results: Results, out: str | os.PathLike) -> Written:
    """Write a report into a folder.

    Args:
        results: the results.
        out: the folder, created if missing.

    Returns:
        The paths. Files are replaced atomically: an interrupted call leaves the old ones.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "metrics.json", folder / "predictions.csv", folder / "report.html"
    write_whole(paths[0], to_json(metrics_record(results)) + "\n")
    table = predictions_csv(results)
    if table:
        write_whole(paths[1], table)
    compared = None
    if isinstance(results, ComparisonResults):
        compared = folder / "comparison.csv"
        write_whole(compared, comparison_csv(results))
    estimates = folder / "metrics.csv"
    write_whole(estimates, metrics_csv(results))
    write_whole(paths[2], html(results))
    return Written(paths[0], paths[1] if table else None, paths[2], compared, estimates)


def summary(results: Results) -> str:
    """Return the headline metrics, or a comparison's models and tests, as lines of text."""
    if isinstance(results, ComparisonResults):
        found = results.comparison
        models = [
            f"{model}: {estimate}"
            for model, metrics in found.models.items()
            for estimate in [*metrics.values()][:_SHOWN]
        ]
        tests = [
            f"{contrast.test}, {found.adjustment}-adjusted p = {contrast.adjusted:.3g}"
            for contrast in found.contrasts
        ]
        return "\n".join([*models, *tests])
    return "\n".join(
        str(estimate) for name, estimate in results.metrics.items() if name in results.headline
    )
