"""Run a suite, or render the tables: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks import _grid, _tables
from benchmarks._case import Options
from benchmarks._grid_record import gather_grid, read_runs
from benchmarks._record import RESULTS, cores, environment, now, save
from benchmarks._runs import gather

SUITES = {
    "agents": "steps of agents that learn as they go",
    "augment": "3D augmentation, volumes a second",
    "conv": "convolutions of ResNet-18 and U-Nets, pooling, upsampling, loops",
    "environments": "steps of an agent in images, each with what it sees",
    "ensemble": "five members by each strategy",
    "explain": "maps of a network by jaxmed.explain and by Captum",
    "epoch": "an epoch: host loop, compiled, a peer's DataLoader",
    "import": "seconds to import",
    "metrics": "distance transforms, components and surface metrics on 128^3",
    "patches": "patches of volumes on disk, from memory maps and by reading the whole",
    "register": "a pair of brains, affinely and by a field, against SimpleITK and ANTs",
    "recurrent": "training steps of LSTM and GRU on sequences, against torch's",
    "sliding_window": "inference over a large volume",
    "stats": "bootstrap, DeLong, permutations and reader studies, against SciPy",
    "train_step": "ResNet-18 at 28x28 and a 3D U-Net, against the same networks in torch",
    "unsupervised": "k-means, density, components and t-SNE, against scikit-learn",
    "warp": "images moved by fields and back, against torch's grid_sample",
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
    sharded = commands.add_parser("sharded", help="memory a device, parameters shared out")
    sharded.add_argument("--record", action="store_true", help="write it to benchmarks/results")
    scale = commands.add_parser("scale", help="what a large cohort would cost, from the records")
    scale.add_argument("--record", action="store_true", help="write it to benchmarks/results")
    commands.add_parser("_grid").add_argument("settings")
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
    if given.command == "_grid":
        return _grid.worker(given.settings)
    _limit_threads(given.threads)
    # Torch shares the accelerator: neither may claim all of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if given.command == "_memory":
        from benchmarks._memory import measure_here

        options = Options(quick=given.quick, threads=given.threads)
        case = next(c for c in _cases(given.suite, options) if c.name == given.case)
        print(json.dumps(measure_here(case, given.side)))
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


def _limit_threads(threads: int) -> None:
    """Limit XLA to as many cores as the peers have threads: it sizes its pool by affinity."""
    if not 1 <= threads <= cores():
        raise SystemExit(f"--threads {threads}: this machine has {cores()} cores to give")
    if threads < cores():
        if not hasattr(os, "sched_setaffinity"):
            raise SystemExit(f"--threads {threads}: only Linux can hold a process to some cores")
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _cases(suite: str, options: Options) -> list:
    module = importlib.import_module(f"benchmarks.suite_{suite}")
    return [c for c in module.cases(options) if options.only in c.name]


def _run_suite(given: argparse.Namespace) -> int:
    from benchmarks._measure import geometric_means, measure

    if given.repeats < 1:
        raise SystemExit("--repeats must be at least 1")
    options = Options(quick=given.quick, threads=given.threads, only=given.only)
    cases = _cases(given.command, options)
    if not cases:
        raise SystemExit(f"no case of {given.command} has {given.only!r} in its name")
    known = list(dict.fromkeys(s for c in cases for s in list(c.sides)[1:]))
    wanted = given.against or known
    if unknown := [w for w in wanted if not any(s.split("-")[0] == w or s == w for s in known)]:
        raise SystemExit(f"{given.command} has no side {', '.join(unknown)}: {', '.join(known)}")
    wanted = [s for s in known if s in wanted or s.split("-")[0] in wanted]
    import jax

    on_cpu = jax.default_backend() == "cpu"
    entries: list[dict[str, Any]] = []
    failed = []
    start = time.monotonic()
    for case in cases:
        if time.monotonic() - start > given.budget:
            print(f"{case.name}: not begun, {given.budget:g} s are over")
            continue
        try:
            entry = measure(case, wanted, repeats=given.repeats, memory=given.memory and not on_cpu)
        except Exception:  # the other cases are still worth running
            traceback.print_exc()
            failed.append(case.name)
            continue
        if given.memory and on_cpu:
            from benchmarks._memory import measure_in_processes

            entry["memory"] = measure_in_processes(given.command, case, wanted, options)
        if given.memory:
            print("   peak MiB:", {s: round(b / 2**20) for s, b in entry["memory"].items()})
        entries.append(entry)
    record = {
        "suite": given.command,
        "created": now(),
        "environment": environment(given.threads),
        "settings": {"repeats": given.repeats, "quick": given.quick},
        "cases": entries,
        "geometric_means": geometric_means(entries),
    }
    precisions = {entry["precision"] for entry in entries if "flops" in entry}
    if precisions:
        from benchmarks._jax import peak_flops

        peaks = {p: float(f"{peak_flops(p):.3g}") for p in sorted(precisions)}
        record["environment"]["peak_flops"] = peaks
    for group, means in record["geometric_means"].items():
        print(f"geometric mean, {group}:", ", ".join(f"{p} {v:.2f}x" for p, v in means.items()))
    path = given.json
    if given.record:
        path = RESULTS / f"{given.command}-{record['environment']['backend']}.json"
    if path:
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
