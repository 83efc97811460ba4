"""The report as one self-contained HTML page."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

import jaxmed
from jaxmed._files import write_whole
from jaxmed._json import to_json
from jaxmed.report.guidelines._checklist import checklist
from jaxmed.report.page._exhibits import figure_groups
from jaxmed.report.page._glossary import glossary
from jaxmed.report.page._pictures import case_exhibits, galleries
from jaxmed.report.page._record import metrics_record
from jaxmed.report.page._subgroups import subgroup_exhibits
from jaxmed.report.page._tables import (
    case_caption,
    case_table,
    class_table,
    contrast_table,
    metric_table,
    model_table,
    pretty,
    subgroup_tables,
    untested_list,
)
from jaxmed.report.results._results import ComparisonResults, Results

_TEMPLATES = Path(__file__).parent / "templates"

_TASK_NAMES = {
    "binary": "classification in two classes",
    "multi-class": "classification",
    "ordinal": "ordinal classification",
    "multi-label": "several labels a case",
    "regression": "regression",
    "continual": "classification, tasks one after the other",
    "density": "model of images",
    "detection": "detection",
    "generation": "drawn images",
    "instances": "instance segmentation",
    "registration": "registration",
    "segmentation": "segmentation",
    "survival": "times to an event",
    "translation": "images made of images",
}


def html(results: Results) -> str:
    """Return the report as one self-contained HTML page.

    Args:
        results: result of `classification` or `segmentation`, or any `Results`.
    """
    groups = figure_groups(results)
    class_rows = class_table(results)
    columns, case_rows = case_table(results)
    pictures, gallery = case_exhibits(results), galleries(results)
    models, contrasts = model_table(results), contrast_table(results)
    by_group, forests = subgroup_tables(results), subgroup_exhibits(results)
    methods = glossary(results)
    items = checklist(results)
    sections = [("results", "Results")]
    if contrasts:
        sections.append(("comparison", "Comparison"))
    data = results.data
    if data.splits or data.flow or data.partition or data.failures:
        sections.append(("data", "Data"))
    sections += [(group["id"], group["name"]) for group in groups]
    if class_rows:
        sections.append(("classes", "Structures"))
    elif case_rows:
        sections.append(("images", "Images"))
    if by_group:
        sections.append(("subgroups", "Subgroups"))
    if pictures or gallery:
        sections.append(("cases", "Cases"))
    if methods:
        sections.append(("methods", "Methods"))
    sections += [("made", "How it was made"), ("checklist", "Checklist")]
    record = to_json(metrics_record(results), indent=None).replace("<", "\\u003c")
    return template("report.html").render(
        r=results,
        title=results.title,
        description=results.description,
        notes=results.notes,
        task_name=_TASK_NAMES[results.task],
        facts=_facts(results),
        sections=sections,
        cards=[_card(name, results.metrics[name]) for name in results.headline],
        metric_rows=metric_table(results.metrics),
        model_rows=models,
        contrast_rows=contrasts,
        comparison_note=_comparison_note(results),
        untested=untested_list(results),
        subgroup_tables=by_group,
        subgroup_figures=forests,
        glossary=methods,
        items=items,
        answered=sum(item.known for item in items),
        shown={id_ for id_, _ in sections},
        splits=[_split(split) for split in data.splits],
        figure_groups=groups,
        class_rows=class_rows,
        case_columns=columns,
        case_rows=case_rows,
        case_caption=case_caption(results),
        pictures=pictures,
        legend=_legend(results) if pictures else [],
        galleries=gallery,
        tables=_tables(results),
        metrics_json=record,
    )


@functools.cache
def template(name: str) -> jinja2.Template:
    """One of the pages' templates, which extend that of what every page has."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = jaxmed.__version__
    environment.globals["css"] = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template(name)


def write_page(out: str | os.PathLike, name: str, **content: Any) -> Path:
    """Render a template and write it as `report.html` of a folder, which is created if missing."""
    page = Path(out) / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, template(name).render(**content))
    return page


def _comparison_note(results: Results) -> str:
    if not isinstance(results, ComparisonResults):
        return ""
    found = results.comparison
    scope = "all tests of this table" if found.family == "all" else "the tests of each metric"
    return (
        f"Differences are first minus second, with {100 * found.level:g}% intervals that are not "
        f"corrected. The last p-value is corrected for {scope} by {found.adjustment.capitalize()}; "
        "it is bold where it is at most 1 minus the level."
    )


def _facts(results: Results) -> list[tuple[str, str]]:
    facts = []
    if results.run.seed is not None:
        facts.append(("Seed", str(results.run.seed)))
    if results.run.seconds:
        facts.append(("Time", duration(total_seconds(results.run.seconds))))
    if results.run.environment.get("commit"):
        facts.append(("Commit", str(results.run.environment["commit"])))
    devices = results.run.environment.get("devices")
    if devices:
        facts.append(("Device", ", ".join(devices)))
    return facts


def total_seconds(seconds: Mapping[str, float]) -> float:
    """Return the wall-clock time of all stages."""
    return float(seconds.get("total", sum(seconds.values())))


def duration(seconds: float) -> str:
    """Format a duration.

    Examples:
        >>> duration(8.25), duration(754), duration(7201)
        ('8.2 s', '12 min 34 s', '2 h 00 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _card(name: str, estimate: Any) -> dict[str, Any]:
    row = metric_table({name: estimate})[0]
    known = all(math.isfinite(v) for v in (estimate.value, estimate.lower, estimate.upper))
    bar = None
    if known and estimate.lower >= 0 and estimate.upper <= 1:
        low, width = 100 * estimate.lower, 100 * (estimate.upper - estimate.lower)
        bar = (f"{low:.2f}", f"{max(width, 0.8):.2f}", f"{100 * estimate.value:.2f}")
    return {
        "name": row["name"],
        "value": row["estimate"],
        "interval": row["interval"] if known else "",
        "level": row["level"],
        "n": row["n"],
        "bar": bar,
    }


def _split(split: Any) -> dict[str, Any]:
    total = sum(split.counts.values())
    bars = [
        {
            "name": name,
            "count": count,
            "share": f"{count / total:.0%}",
            "width": f"{100 * count / total:.2f}",
            "colour": i % 8,
        }
        for i, (name, count) in enumerate(split.counts.items())
        if total
    ]
    return {"name": split.name, "cases": split.cases, "groups": split.groups, "bars": bars}


def _legend(results: Results) -> list[dict[str, Any]]:
    return [{"name": name, "colour": i % 8} for i, name in enumerate(results.classes)]


def _tables(results: Results) -> list[dict[str, Any]]:
    tables = []
    if results.run.config:
        tables.append({"name": "Settings", "rows": [*_flat(results.run.config)]})
    if results.run.environment:
        packages = results.run.environment.get("packages", {})
        machine = {k: v for k, v in results.run.environment.items() if k != "packages" and v}
        rows = [(pretty(key), _text(value)) for key, value in machine.items()]
        tables.append({"name": "Hardware and system", "rows": rows})
        if packages:
            tables.append({"name": "Software", "rows": [*packages.items()]})
    if results.run.seconds:
        rows = [(pretty(key), duration(value)) for key, value in results.run.seconds.items()]
        tables.append({"name": "Time", "rows": rows})
    return tables


def _flat(config: Mapping[str, Any], prefix: str = "") -> Any:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)
