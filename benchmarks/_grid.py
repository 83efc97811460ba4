"""A grid of runs of one experiment: several processes, resumable, one record a finished run.

    python -m benchmarks grid paradigms --over row --over dataset --over labels=0.05,0.1,0.2
        --within labels --with steps=600 --workers 8 --out runs/grid

`--over FIELD=a,b,c` spans the grid; without values they are the experiment's own, `GRID[FIELD]`.
Runs that differ in the fields named by `--within` alone follow each other in one process, and
share what is compiled. A finished run is a line of `OUT/runs.jsonl`; the same command goes on with
what is missing. An experiment may have a function `in_grid(config, folder)` that makes a run use
the results of others, where `folder(config)` is the folder of a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxmed.cli import _experiment
from jaxmed.cli._train import folder_name


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
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so many")
    parser.add_argument("--out", type=Path, default=Path("runs/grid"))
    parser.add_argument("--list", action="store_true", help="name the runs, and make none")


def run(given: argparse.Namespace) -> int:
    """Make the runs of the grid that are missing."""
    experiment = _experiment.load(given.experiment)
    groups = _groups(experiment, given)
    done = finished(given.out)
    missing = [[c for c in group if _name(experiment, c) not in done] for group in groups]
    missing = [group for group in missing if group]
    total = sum(map(len, groups))
    print(f"{total - sum(map(len, missing))} of {total} runs are finished", flush=True)
    if given.list:
        for config in itertools.chain(*missing):
            print(_name(experiment, config))
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    return _work(given, missing)


def finished(out: Path) -> dict[str, dict[str, Any]]:
    """Records of finished runs by name; a line that was cut short counts as missing."""
    found = {}
    path = out / "runs.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found[record["name"]] = record
    return found


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
        return root / _name(experiment, config)

    failed = 0
    for fields in given["configs"]:
        config = _config(experiment, fields)
        out = folder(config)
        out.mkdir(parents=True, exist_ok=True)  # a run that is compared with this one waits for it
        options = [part for k, v in fields.items() for part in (f"--{k.replace('_', '-')}", str(v))]
        try:
            here = experiment.module
            linked = here.in_grid(config, folder) if hasattr(here, "in_grid") else config
            results = experiment.run(linked, out).replace(
                config=json.loads(report.to_json(dataclasses.asdict(config))),
                command=shlex.join(["jaxmed", "train", experiment.name, *options]),
                environment=report.environment(),
                seed=getattr(config, "seed", None),
            )
        except Exception as error:
            failed += 1
            _append(root / "failed.jsonl", {"name": out.name, "error": f"{error!r}"[:2000]})
            continue
        record = report.metrics_record(results)
        for name, estimate in results.metrics.items():
            if "runs" in estimate.details:
                record["metrics"][name]["runs"] = list(estimate.details["runs"])
        (out / "metrics.json").write_text(report.to_json(record) + "\n")
        _append(root / "runs.jsonl", json.loads(report.to_json({"name": out.name, **record})))
    return 1 if failed else 0


def _append(path: Path, record: dict[str, Any]) -> None:
    """Add a line in one write, so that processes do not cut into each other's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(record) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def _groups(experiment: Any, given: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """The settings of all runs, in groups that one process makes."""
    fixed = dict(pair.split("=", 1) for pair in given.given)
    known = getattr(experiment.module, "GRID", {})
    axes: dict[str, Sequence[Any]] = {}
    for axis in given.over:
        field, _, values = axis.partition("=")
        if not values and field not in known:
            raise SystemExit(f"--over {axis}: {experiment.name} has no values of its own for it")
        axes[field] = values.split(",") if values else known[field]
    outer = {name: values for name, values in axes.items() if name not in given.within}
    inner = {name: values for name, values in axes.items() if name in given.within}
    return [
        [{**fixed, **dict(chosen), **dict(other)} for other in _product(inner)]
        for chosen in _product(outer)
    ]


def _product(axes: dict[str, Sequence[Any]]) -> Iterator[list[tuple[str, Any]]]:
    for values in itertools.product(*axes.values()):
        yield list(zip(axes, values, strict=True))


def _config(experiment: Any, fields: dict[str, Any]) -> Any:
    """The experiment's settings, each read as its default's type."""
    defaults = {f.name: f.default for f in dataclasses.fields(experiment.config)}
    if unknown := sorted(set(fields) - set(defaults)):
        raise SystemExit(f"{experiment.name} has no fields {unknown}: {sorted(defaults)}")

    def read(name: str, value: Any) -> Any:
        default = defaults[name]
        if isinstance(default, bool):
            return str(value).lower() in ("true", "1", "yes")
        return Path(value) if default is None else type(default)(value)

    return experiment.config(**{name: read(name, value) for name, value in fields.items()})


def _name(experiment: Any, config: Any) -> str:
    config = _config(experiment, config) if isinstance(config, dict) else config
    return folder_name(experiment, config)


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
            while waiting and len(running) < given.workers:
                settings = {
                    "experiment": given.experiment, "out": str(given.out), "configs": waiting.pop(0)
                }  # fmt: skip
                command = [sys.executable, "-m", "benchmarks", "_grid", json.dumps(settings)]
                log = open(given.out / "log.txt", "ab")  # noqa: SIM115
                running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
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
