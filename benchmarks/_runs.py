"""Records of experiments: the runs of one study, gathered from their `metrics.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

_ENVIRONMENT = (
    "device",
    "devices",
    "cores",
    "cpu",
    "gpu",
    "memory",
    "python",
    "packages",
    "commit",
)


def gather(
    folders: Sequence[Path], metrics: Sequence[str], published: Mapping[str, float], source: str
) -> dict[str, Any]:
    """One record of several runs that differ in their seed or fold alone.

    Args:
        folders: of finished runs, each with a `metrics.json`.
        metrics: the names to keep, in the order of the table's columns.
        published: by metric, the number to compare with.
        source: where that number was published.

    Raises:
        FileNotFoundError: if a run has no `metrics.json`, so is not finished.
        KeyError: if a run lacks one of the metrics.
    """
    runs = []
    for folder in folders:
        found = json.loads((folder / "metrics.json").read_text())
        runs.append(
            {
                "title": found["title"],
                # Where a run was written to says nothing about it.
                "command": re.sub(r"(--out[= ])(\S*/)?(\S+)", r"\1runs/\3", found["command"]),
                "seconds": found["seconds"],
                "environment": found["environment"],
                "config": found["config"],
                "metrics": {name: found["metrics"][name] for name in metrics},
            }
        )
    return {"kind": "runs", "published": dict(published), "source": source, "runs": runs}


def table(record: dict[str, Any]) -> str:
    """Rows of runs, their mean and spread, and the published numbers."""
    names = list(record["runs"][0]["metrics"])
    lines = [["run", *names, "minutes"], ["---", *["---:"] * (len(names) + 1)]]
    for run in record["runs"]:
        numbers = [_interval(run["metrics"][name]) for name in names]
        lines.append([f"`{run['command']}`", *numbers, f"{run['seconds'] / 60:.0f}"])
    if len(record["runs"]) > 1:
        spreads = [[run["metrics"][name]["value"] for run in record["runs"]] for name in names]
        cells = [f"**{mean(values):.3f}** ± {stdev(values):.3f}" for values in spreads]
        lines.append([f"mean ± standard deviation of {len(record['runs'])}", *cells, ""])
    if record["published"]:
        cells = [f"{record['published'][n]:.3f}" if n in record["published"] else "" for n in names]
        lines.append([f"published: {record['source']}", *cells, ""])
    return "\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def _interval(metric: Mapping[str, Any]) -> str:
    return f"{metric['value']:.3f} ({metric['lower']:.3f} to {metric['upper']:.3f})"
