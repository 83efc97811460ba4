"""A grid of runs of one experiment: several processes, resumable, one record a finished run.

    python -m benchmarks grid paradigms --over row --over dataset --over labels=0.05,0.1,0.2
        --within labels --with steps=600 --workers 8 --out runs/grid

`--over FIELD=a,b,c` spans the grid; without values they are the experiment's own, `GRID[FIELD]`;
one `--over` is one value of a field that holds several (`--over patch=40,56,40 --over
patch=32,48,32`). Settings are read as `jaxmed train` reads them, all before the first run.
Runs that differ in the fields named by `--within` alone follow each other in one process, and
share what is compiled. A finished run is a line of `OUT/runs.jsonl`; the same command goes on with
what is missing. An experiment may have a function `in_grid(config, folder)` that makes a run use
the results of others, where `folder(config)` is the folder of a run.

`--executor slurm` (local, dask, ray) makes the groups in jobs of an engine, which share OUT.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import _lines
from jaxmed._files import append_line, owning_in_turn
from jaxmed.cli import run_experiment
from jaxmed.cli._executors import Executor, add_executor, executor_of
from jaxmed.cli.runs import _experiment
from jaxmed.cli.runs._experiment import Experiment
from jaxmed.cli.runs._runner import folder_name, settings_of
from jaxmed.cli.runs._settings import several
from jaxmed.data._optional import MissingPackage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="its name, as `jaxmed list` shows it")
    parser.add_argument(
        "--over", action="append", default=[], metavar="FIELD[=A,B]", help="span the grid"
    )
    parser.add_argument(
        "--with", action="append", default=[], dest="given", metavar="FIELD=VALUE",
        help="the same for all runs",
    )  # fmt: skip
    parser.add_argument(
        "--within", action="append", default=[], metavar="FIELD", help="not in parallel"
    )
    add_executor(parser)
    parser.add_argument("--minutes", type=float, default=None, help="stop after so many")
    parser.add_argument("--out", type=Path, default=Path("runs/grid"))
    parser.add_argument("--list", action="store_true", help="name the runs, and make none")


def run(given: argparse.Namespace) -> int:
    """Make the runs of the grid that are missing."""
    experiment = _experiment.load(given.experiment)
    try:
        groups = _groups(experiment, given)
        asked = given.executor is not None or given.resources
        executor = executor_of(given) if asked else None  # else processes of its own
    except (ValueError, MissingPackage) as error:
        raise SystemExit(str(error)) from None
    done = finished(given.out)

    def name(fields: dict[str, Any]) -> str:
        return folder_name(experiment, settings_of(experiment, fields))

    missing = [[fields for fields in group if name(fields) not in done] for group in groups]
    missing = [group for group in missing if group]
    total = sum(map(len, groups))
    print(f"{total - sum(map(len, missing))} of {total} runs are finished", flush=True)
    if given.list:
        for fields in itertools.chain(*missing):
            print(name(fields))
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    return _work(given, missing) if executor is None else _share(executor, given, missing)


def finished(out: Path) -> dict[str, dict[str, Any]]:
    """Records of finished runs by name; a line that was cut short counts as missing."""
    return _lines.finished(out / "runs.jsonl", "name")


def worker(settings: str) -> int:
    """Make the runs of one group, one after the other."""
    given = json.loads(settings)
    import jax

    from jaxmed import report

    jax.config.update("jax_compilation_cache_dir", str(Path(given["out"]).resolve() / "compiled"))
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    experiment = _experiment.load(given["experiment"])
    root = Path(given["out"])

    def folder(config: Any) -> Path:
        return root / folder_name(experiment, config)

    failed = 0
    for fields in given["configs"]:
        out = folder(settings_of(experiment, fields))
        with owning_in_turn(out):  # a run that is compared with this one waits for it
            if out.name in finished(root):
                continue  # made by a process that outlived the grid it was begun by
            try:
                results = run_experiment(experiment, fields, out, folder_of=folder)
            except Exception as error:
                failed += 1
                told = {"name": out.name, "error": f"{error!r}"[:2000]}
                append_line(root / "failed.jsonl", json.dumps(told))
                continue
            record = report.metrics_record(results)
            for name, estimate in results.metrics.items():
                if "runs" in estimate.details:
                    record["metrics"][name]["runs"] = list(estimate.details["runs"])
            line = report.to_json({"name": out.name, **record}, indent=None)
            append_line(root / "runs.jsonl", line)
    return 1 if failed else 0


def _groups(experiment: Experiment, given: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """The settings of all runs, in groups that one process makes.

    Raises:
        ValueError: a setting that the experiment does not have, or a value of another type.
    """
    fixed = dict(_pair("--with", pair) for pair in given.given)
    known = getattr(experiment.module, "GRID", {})
    axes: dict[str, list[Any]] = {}
    for axis in given.over:
        field, _, text = axis.partition("=")
        if not text and field not in known:
            raise ValueError(f"--over {axis}: {experiment.name} has no values of its own for it")
        values = several(experiment.config, field, text) if text else known[field]
        axes.setdefault(field, []).extend(values)
    if stray := sorted(set(given.within) - set(axes)):
        raise ValueError(f"--within {stray[0]}: --over names no such field")
    outer = {name: values for name, values in axes.items() if name not in given.within}
    inner = {name: values for name, values in axes.items() if name in given.within}
    groups = [
        [{**fixed, **dict(chosen), **dict(other)} for other in _product(inner)]
        for chosen in _product(outer)
    ]
    for fields in itertools.chain(*groups):
        settings_of(experiment, fields)
    return groups


def _pair(option: str, text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{option} {text}: write FIELD=VALUE")
    return field, value


def _product(axes: dict[str, Sequence[Any]]) -> Iterator[list[tuple[str, Any]]]:
    for values in itertools.product(*axes.values()):
        yield list(zip(axes, values, strict=True))


def _settings(given: argparse.Namespace, configs: list[dict[str, Any]]) -> str:
    """What a process is told that makes a group."""
    told = {"experiment": given.experiment, "out": str(given.out.resolve()), "configs": configs}
    return json.dumps(told)


def _share(executor: Executor, given: argparse.Namespace, groups: list[list[dict]]) -> int:
    """Have an executor's processes make the groups, and tell what is finished."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    started = time.monotonic()
    tasks = {f"group {i}": _settings(given, group) for i, group in enumerate(groups)}
    failed = ended = 0
    with contextlib.closing(executor.map(worker, tasks, folder=given.out / "jobs")) as codes:
        for _, code in codes:
            failed, ended = failed + code, ended + 1
            left = time.monotonic() - started
            runs = len(finished(given.out))
            print(
                f"{left:6.0f} s: {runs} runs in runs.jsonl, {ended} of {len(tasks)} groups",
                flush=True,
            )
            if given.minutes is not None and left > 60 * given.minutes:
                print("out of time: what is under way is given up", flush=True)
                break
    if failed:
        print(f"{failed} groups had failures: {given.out / 'failed.jsonl'}")
    return 1 if failed or ended < len(tasks) else 0


def _work(given: argparse.Namespace, groups: list[list[dict[str, Any]]]) -> int:
    """Hand the groups to processes, and tell what is finished."""
    started = time.monotonic()
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    waiting, running, failed = list(groups), [], 0
    left = lambda: (  # noqa: E731
        float("inf") if given.minutes is None else 60 * given.minutes - time.monotonic() + started
    )
    try:
        while waiting or running:
            if left() <= 0:
                print("out of time: what is under way is given up", flush=True)
                break
            while waiting and len(running) < (given.workers or 1):
                settings = _settings(given, waiting.pop(0))
                command = [sys.executable, "-m", "benchmarks", "_grid", settings]
                with open(given.out / "log.txt", "ab") as log:
                    running.append(
                        subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                    )
            time.sleep(0.2)
            for process in [p for p in running if p.poll() is not None]:
                running.remove(process)
                failed += process.returncode != 0
                print(
                    f"{time.monotonic() - started:6.0f} s: {len(finished(given.out))} runs in "
                    f"runs.jsonl, {len(running)} processes, {len(waiting)} groups waiting",
                    flush=True,
                )
    finally:
        for process in running:
            process.kill()
    if failed:
        print(f"{failed} groups had failures: {given.out / 'failed.jsonl'}")
    return 1 if failed or waiting else 0
