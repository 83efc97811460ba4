"""Run a suite, or render the tables: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import _accelerator, _grid, _tables
from benchmarks._case import Options
from benchmarks._grid_record import gather_grid, read_runs
from benchmarks._record import RESULTS, cores, save
from benchmarks._runs import gather
from benchmarks._suites import (
    SUITES,
    cases_of,
    limit_threads,
    measure_side,
    record_path,
    run_suite,
    sides_of,
)
from benchmarks.reliability import _mutations, _soak

# What processes do that commands start.
WORKERS = {
    "_accelerator": _accelerator.worker,
    "_grid": _grid.worker,
    "_mutations": _mutations.worker,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    for name, text in SUITES.items():
        suite = commands.add_parser(name, help=text)
        suite.add_argument(
            "--against",
            action="append",
            metavar="PEER",
            help="torch, monai, xla, scipy; all of the suite's if not given; may be repeated",
        )
        suite.add_argument("--json", type=Path, metavar="OUT", help="write the record there")
        suite.add_argument("--record", action="store_true", help="write it to benchmarks/results")
        suite.add_argument("--repeats", type=int, default=7, help="rounds (default 7)")
        suite.add_argument("--only", default="", help="cases whose name contains this")
        suite.add_argument(
            "--budget", type=float, default=math.inf, metavar="S", help="begin no case after that"
        )
        suite.add_argument(
            "--memory", action="store_true", help="also the peak memory of each side"
        )
        _common(suite)
    tables = commands.add_parser("tables", help="check the tables in README and docs")
    tables.add_argument("--write", action="store_true", help="make them anew from the records")
    runs = commands.add_parser("runs", help="one record of an experiment's finished runs")
    runs.add_argument("record", help="its name in benchmarks/results")
    runs.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="runs to gather")
    runs.add_argument("--metric", action="append", required=True, help="may be repeated")
    runs.add_argument("--published", action="append", default=[], metavar="METRIC=VALUE")
    runs.add_argument("--source", default="", help="where that was published")
    runs.add_argument("--note", default="", help="what a reader must know")
    runs.add_argument(
        "--separate", action="store_true", help="runs of different data: no mean of them"
    )
    grid = commands.add_parser("grid", help="many runs of an experiment, in parallel, resumable")
    _grid.add_arguments(grid)
    record = commands.add_parser("grid-record", help="one record of a grid's finished runs")
    record.add_argument("record", help="its name in benchmarks/results")
    record.add_argument("files", nargs="+", type=Path, metavar="RUNS.jsonl")
    record.add_argument("--experiment", help="whose GRID gives the order of rows and columns")
    record.add_argument("--rows", required=True, metavar="FIELD")
    record.add_argument("--columns", metavar="FIELD")
    record.add_argument("--by", metavar="FIELD", help="a table for each of its values")
    record.add_argument("--metric", action="append", required=True, help="may be repeated")
    record.add_argument(
        "--also", action="append", default=[], metavar="NAME=METRIC,METRIC", help="more tables"
    )
    record.add_argument("--interval", action="store_true", help="each metric with its interval")
    record.add_argument(
        "--error", action="store_true", help="standard errors in place of standard deviations"
    )
    record.add_argument("--only", action="append", default=[], metavar="FIELD=VALUE")
    record.add_argument("--published", action="append", default=[], metavar="TABLE=VALUE")
    record.add_argument("--source", default="", help="where that was published")
    record.add_argument("--note", default="", help="what a reader must know")
    accelerator = commands.add_parser("accelerator", help="all that is missing of one GPU")
    _accelerator.add_arguments(accelerator)
    mutations = commands.add_parser("mutations", help="commands on files changed at random")
    _mutations.add_arguments(mutations)
    soak = commands.add_parser("soak", help="work struck at random moments and started again")
    _soak.add_arguments(soak)
    for name in WORKERS:
        commands.add_parser(name).add_argument("settings")
    sharded = commands.add_parser("sharded", help="memory a device, parameters shared out")
    sharded.add_argument("--record", action="store_true", help="write it to benchmarks/results")
    scale = commands.add_parser("scale", help="what a large cohort would cost, from the records")
    scale.add_argument("--record", action="store_true", help="write it to benchmarks/results")
    memory = commands.add_parser("_memory")
    for name in ("suite", "case", "side"):
        memory.add_argument(name)
    _common(memory)
    given = parser.parse_args(arguments)
    if given.command == "tables":
        return _run_tables(given.write)
    if given.command == "runs":
        return _gather_runs(given)
    if given.command == "grid-record":
        return _gather_grid(given)
    if given.command == "sharded":
        from benchmarks._sharded import measure

        return _kept("sharded-cpu", measure(), given.record)
    if given.command == "scale":
        from benchmarks._scale import scaled

        return _kept("scale", scaled(), given.record)
    if given.command == "grid":
        return _grid.run(given)
    if given.command == "accelerator":
        return _accelerator.run(given)
    if given.command == "mutations":
        return _mutations.run(given)
    if given.command == "soak":
        return _soak.run(given)
    if given.command in WORKERS:
        return WORKERS[given.command](given.settings)
    limit_threads(given.threads)
    # Torch shares the accelerator: neither may claim all of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if given.command == "_memory":
        options = Options(quick=given.quick, threads=given.threads)
        measure_side(given.suite, given.case, given.side, options)
        return 0
    return _run_suite(given)


def _kept(name: str, record: dict[str, Any], wanted: bool) -> int:
    """Print a record's tables, and write it if that is wanted."""
    for table in record["tables"].values():
        for row in (table["head"], *table["rows"]):
            print(" | ".join(row))
        print()
    if wanted:
        save(RESULTS / f"{name}.json", record)
    return 0


def _gather_runs(given: argparse.Namespace) -> int:
    published = dict(pair.split("=", 1) for pair in given.published)
    record = gather(
        given.folders,
        given.metric,
        published={name: float(value) for name, value in published.items()},
        source=given.source,
        note=given.note,
        separate=given.separate,
    )
    save(RESULTS / f"{given.record}.json", record)
    return 0


def _gather_grid(given: argparse.Namespace) -> int:
    only = dict(pair.split("=", 1) for pair in given.only)
    runs = [
        run
        for run in read_runs(given.files)
        if all(str(run["config"].get(name)) == value for name, value in only.items())
    ]
    if not runs:
        raise SystemExit(f"no run has {only}")
    order = {}
    if given.experiment:
        from jaxmed.cli.runs import _experiment

        order = getattr(_experiment.load(given.experiment).module, "GRID", {})
    record = gather_grid(
        runs,
        rows=given.rows,
        columns=given.columns,
        by=given.by,
        metrics=given.metric,
        order=order,
        also={k: v.split(",") for k, v in (pair.split("=", 1) for pair in given.also)},
        published={k: float(v) for k, v in (pair.split("=", 1) for pair in given.published)},
        source=given.source,
        note=given.note,
        error=given.error,
        interval=given.interval,
    )
    save(RESULTS / f"{given.record}.json", record)
    return 0


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="tiny shapes: does it all run?")
    parser.add_argument(
        "--threads", type=int, default=cores(), help="threads of every side (default: cores)"
    )


def _run_suite(given: argparse.Namespace) -> int:
    if given.repeats < 1:
        raise SystemExit("--repeats must be at least 1")
    options = Options(quick=given.quick, threads=given.threads, only=given.only)
    cases = cases_of(given.command, options)
    wanted = sides_of(given.command, cases, given.against)
    record, failed = run_suite(
        given.command, cases, wanted, options,
        repeats=given.repeats, memory=given.memory, budget=given.budget,
    )  # fmt: skip
    for group, means in record.get("geometric_means", {}).items():
        print(f"geometric mean, {group}:", ", ".join(f"{p} {v:.2f}x" for p, v in means.items()))
    path = record_path(record) if given.record else given.json
    if path and record["cases"]:
        save(path, record)
        print(f"record: {path}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _run_tables(write: bool) -> int:
    changed = _tables.write() if write else _tables.stale()
    for page in changed:
        print(("written: " if write else "stale: ") + str(page.relative_to(_tables.ROOT)))
    return 1 if changed and not write else 0


if __name__ == "__main__":
    sys.exit(main())
