"""Record of a grid: its finished runs, and tables of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from benchmarks._lines import finished
from benchmarks._places import placeless_command, placeless_settings

_METRIC = ("value", "lower", "upper", "runs")


def read_runs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the runs of one or several `runs.jsonl`; the latest of the same name is used.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there is no complete line.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(path)
        found |= finished(path, "name")
    if not found:
        raise ValueError(f"no finished run in {', '.join(map(str, paths))}")
    return list(found.values())


def gather_grid(
    runs: Sequence[Mapping[str, Any]],
    *,
    rows: str,
    metrics: Sequence[str],
    columns: str | None = None,
    by: str | None = None,
    order: Mapping[str, Sequence[str]] | None = None,
    also: Mapping[str, Sequence[str]] | None = None,
    published: Mapping[str, float] | None = None,
    source: str = "",
    note: str = "",
    error: bool = False,
    interval: bool = False,
) -> dict[str, Any]:
    """Build one record of a grid, with a table for each value of a setting.

    Args:
        runs: result of `read_runs`.
        rows: the setting that differs from row to row.
        metrics: the columns, for each value of `columns`.
        columns: a setting, if any.
        by: a setting each of whose values has a table of that name; otherwise the table is `runs`.
        order: values of settings in display order; others follow.
        also: further tables, `TABLE NAME`, of other metrics and of the rows that have them.
        published: by table, the published value of the first metric.
        source: source of the published values.
        note: note for readers of the tables.
        error: show the standard error of a metric's mean, not the standard deviation of its
            replicates.
        interval: show each metric with its interval.

    Returns:
        The record. A metric is shown with the standard deviation of its replicates; one whose name
        ends in `/difference` with its interval, bold if that leaves out 0.

    Raises:
        ValueError: if a run lacks one of the settings.
    """
    wanted = [name for name in (rows, columns, by) if name]
    for run in runs:
        if missing := [name for name in wanted if name not in run["config"]]:
            raise ValueError(f"{run['name']} has no setting {missing}: {sorted(run['config'])}")
    order = order or {}

    def values(name: str | None) -> list[Any]:
        if name is None:
            return [None]
        there = list(dict.fromkeys(run["config"][name] for run in runs))
        first = [str(value) for value in order.get(name, ())]
        known = sorted(
            (v for v in there if str(v) in first), key=lambda value: first.index(str(value))
        )
        return [*known, *sorted((v for v in there if str(v) not in first), key=str)]

    def table_of(table: Any, metrics: Sequence[str]) -> dict[str, list]:
        head, body = [rows], []
        for column in values(columns):
            at = "" if column is None else f", {columns} {column}"
            head += [f"{metric}{at}" for metric in metrics]
        for row in values(rows):
            cells = []
            for column in values(columns):
                run = _find(runs, {rows: row, columns: column, by: table})
                cells += [_cell(metric, run, error, interval) for metric in metrics]
            if any(cells):
                body.append([f"`{row}`", *cells])
        return {"head": head, "rows": body}

    tables = {}
    for table in values(by):
        name = "runs" if by is None else str(table)
        made = table_of(table, metrics)
        if published and name in published:
            empty = [""] * (len(made["head"]) - 2)
            made["rows"].append([f"published ({source})", f"{published[name]:.3f}", *empty])
        tables[name] = made
        for extra, others in (also or {}).items():
            tables[f"{name} {extra}"] = table_of(table, others)
    environment = runs[0]["environment"]
    plain = {k: v for k, v in environment.items() if not isinstance(v, dict | list)}
    plain["devices"] = ", ".join(environment.get("devices", ()))
    tables["machine"] = {"head": ["machine", ""], "rows": [[k, v] for k, v in plain.items()]}
    return {
        "runs": [_kept(run) for run in sorted(runs, key=lambda run: run["name"])],
        "environment": environment,
        "methods": {
            name: metric["method"] for run in runs for name, metric in run["metrics"].items()
        },
        "published": dict(published or {}),
        "source": source,
        "note": note,
        "tables": tables,
    }


def _find(runs: Sequence[Mapping[str, Any]], settings: Mapping[Any, Any]) -> Any:
    for run in runs:
        if all(run["config"][name] == value for name, value in settings.items() if name):
            return run
    return None


def _cell(metric: str, run: Mapping[str, Any] | None, error: bool, interval: bool) -> str:
    found = None if run is None else run["metrics"].get(metric)
    if found is None or found["value"] is None:
        return ""
    value, lower, upper = found["value"], found["lower"], found["upper"]
    if metric.endswith("/difference"):
        text = f"{value:+.3f} ({lower:+.3f} to {upper:+.3f})"
        return f"**{text}**" if lower > 0 or upper < 0 else text
    if interval:
        return f"{value:.3f} ({lower:.3f} to {upper:.3f})"
    many = found.get("runs", ())
    if len(many) < 2:
        return f"{value:.3f}"
    return f"{value:.3f} ± {stdev(many) / (len(many) ** 0.5 if error else 1):.3f}"


def _kept(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a run kept in a record, without file paths and environment."""
    return {
        "command": placeless_command(run["command"]),
        "config": placeless_settings(run["config"]),
        "seconds": run["seconds"],
        "metrics": {
            name: {k: metric[k] for k in _METRIC if k in metric}
            for name, metric in run["metrics"].items()
        },
    }
