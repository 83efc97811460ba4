"""The machine-readable record `metrics.json`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxmed.report.guidelines._checklist import checklist
from jaxmed.report.results._results import ComparisonResults, Results

_FIELDS = ("value", "lower", "upper", "level", "n", "unit", "method", "notes")


def metrics_record(results: Results) -> dict[str, Any]:
    """Return the content of `metrics.json`: metrics with intervals, and their provenance."""
    metrics = {}
    for name, estimate in results.metrics.items():
        record = estimate.to_dict()
        metrics[name] = {field: record[field] for field in _FIELDS}
    seconds = dict(results.run.seconds)
    return {
        "title": results.title,
        "task": results.task,
        "classes": list(results.classes),
        "metrics": metrics,
        "config": dict(results.run.config),
        "environment": dict(results.run.environment),
        "seconds": round(seconds.pop("total", sum(seconds.values())), 3) if seconds else None,
        "seconds_by_stage": {k: round(v, 3) for k, v in seconds.items() if k != "total"},
        "seed": results.run.seed,
        "command": results.run.command,
        "splits": [split._asdict() for split in results.data.splits],
        "partition": results.data.partition,
        "failures": list(results.data.failures),
        "openings": results.data.openings,
        "notes": list(results.notes),
        **_compared(results),
        **_grouped(results),
        "checklist": [item._asdict() for item in checklist(results)],
    }


def _compared(results: Results) -> dict[str, Any]:
    if not isinstance(results, ComparisonResults):
        return {}
    found = results.comparison
    return {
        "models": {
            model: {name: estimate.to_dict() for name, estimate in metrics.items()}
            for model, metrics in found.models.items()
        },
        "comparisons": [
            {
                "metric": contrast.metric,
                "first": contrast.first,
                "second": contrast.second,
                **contrast.test.to_dict(),
                "p_adjusted": contrast.adjusted,
                "adjustment": found.adjustment,
                "family": found.family,
            }
            for contrast in found.contrasts
        ],
    }


def _grouped(results: Results) -> dict[str, Any]:
    return {
        "subgroups": [
            {
                "column": table.column,
                "metric": table.metric,
                **({"model": table.model} if table.model else {}),
                "estimates": {str(k): e.to_dict() for k, e in table.found.estimates.items()},
                "differences": {str(k): t.to_dict() for k, t in table.found.differences.items()},
                "gap": table.found.gap.to_dict(),
                "notes": list(table.found.notes),
            }
            for table in results.subgroups
        ]
    } if results.subgroups else {}  # fmt: skip


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Write strict JSON: NaN is null, an infinity a string, an array a list, a path its text."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a half."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
