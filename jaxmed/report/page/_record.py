"""The machine-readable record `metrics.json`."""

from __future__ import annotations

from typing import Any

from jaxmed.report.guidelines._checklist import checklist
from jaxmed.report.results._episodes import checked_episode, from_target
from jaxmed.report.results._results import ComparisonResults, Results
from jaxmed.report.results._robustness import as_record

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
        **_labelled(results),
        **_walked(results),
        **({"robustness": as_record(results.robustness)} if results.robustness else {}),
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


def _labelled(results: Results) -> dict[str, Any]:
    curve = results.label_curve
    if curve is None:
        return {}
    return {
        "label_curve": {
            "counts": curve.counts.tolist(),
            "baseline": curve.baseline,
            "metric": curve.metric,
            "unit": curve.unit,
            "points": {k: [e.to_dict() for e in found] for k, found in curve.points.items()},
            "areas": {k: e.to_dict() for k, e in curve.areas.items()},
            "gains": {k: e.to_dict() for k, e in curve.gains.items()},
            "saved": dict(curve.saved),
        }
    }


def _walked(results: Results) -> dict[str, Any]:
    if results.episodes is None:
        return {}
    walks = [checked_episode(walk) for walk in results.episodes.walks]
    measure = {"point": "distance", "box": "overlap", "plane": "distance"}
    return {
        "episodes": {
            "unit": results.episodes.unit,
            "walks": [
                {
                    "case": e.name,
                    "steps": len(e.path) - 1,
                    "failed": bool(e.failed),
                    "answer": e.answer.tolist(),
                    **(
                        {}
                        if e.target is None
                        else {measure[e.moved]: float(from_target(e, e.answer))}
                    ),
                }
                for e in walks
            ],
        }
    }
