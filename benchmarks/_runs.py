"""Records of experiments: the runs of one study, gathered from their `metrics.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks._places import placeless_command, placeless_settings


def gather(
    folders: Sequence[Path],
    metrics: Sequence[str],
    *,
    published: Mapping[str, float] | None = None,
    source: str = "",
    note: str = "",
    separate: bool = False,
) -> dict[str, Any]:
    """Build one record of several runs, which differ only in seed or fold unless they are separate.

    Args:
        folders: folders of finished runs, each with a `metrics.json`.
        metrics: the names to keep, in the order of the table's columns.
        published: by metric, the published value.
        source: source of the published values.
        note: note for readers of the table.
        separate: whether they are of different data, so that there is no mean of them.

    Raises:
        FileNotFoundError: if a run has no `metrics.json`, so is not finished.
        ValueError: if a run lacks one of the metrics.
    """
    runs = [_run(folder, metrics) for folder in folders]
    record = {"runs": runs, "published": dict(published or {}), "source": source, "note": note}
    averaged = len(runs) > 1 and not separate
    tables = {"runs": _runs_table(record, averaged=averaged), "machine": _machine_table(runs)}
    if averaged:
        tables["summary"] = {**tables["runs"], "rows": tables["runs"]["rows"][len(runs) :]}
    return {**record, "tables": tables}


def _run(folder: Path, metrics: Sequence[str]) -> dict[str, Any]:
    found = json.loads((folder / "metrics.json").read_text())
    if missing := [name for name in metrics if name not in found["metrics"]]:
        raise ValueError(f"{folder} has no {missing}; it has {sorted(found['metrics'])}")
    return {
        "title": found["title"],
        "command": placeless_command(found["command"]),
        "seconds": found["seconds"],
        "environment": found["environment"],
        "config": placeless_settings(found["config"]),
        "metrics": {name: found["metrics"][name] for name in metrics},
        "notes": [re.sub(r"\S*/(?=\S+)", "", note) for note in found["notes"]],
    }


def _runs_table(record: Mapping[str, Any], *, averaged: bool) -> dict[str, list]:
    runs, published = record["runs"], record["published"]
    names = list(runs[0]["metrics"])
    rows = [
        [
            f"`{run['command']}`",
            *(_interval(run["metrics"][name]) for name in names),
            f"{run['seconds'] / 60:.3g}",
        ]
        for run in runs
    ]
    if averaged:
        values = [[run["metrics"][name]["value"] for run in runs] for name in names]
        spread = [f"**{mean(column):.3f}** ± {stdev(column):.3f}" for column in values]
        rows.append([f"mean ± standard deviation of {len(runs)} runs", *spread, ""])
    if published:
        cells = [f"{published[name]:.3f}" if name in published else "" for name in names]
        rows.append([f"published ({record['source']})", *cells, ""])
    return {"head": ["", *names, "minutes"], "rows": rows}


def _machine_table(runs: Sequence[Mapping[str, Any]]) -> dict[str, list]:
    """Describe the machine of the runs, if they all ran on one kind."""
    first = runs[0]["environment"]
    shown = {name: value for name, value in first.items() if not isinstance(value, dict)}
    cells = {n: ", ".join(v) if isinstance(v, list) else v for n, v in shown.items()}
    return {"head": ["machine", ""], "rows": [[name, cell] for name, cell in cells.items()]}


def _interval(metric: Mapping[str, Any]) -> str:
    if metric["lower"] is None:  # one case has no interval
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} ({metric['lower']:.3f} to {metric['upper']:.3f})"
