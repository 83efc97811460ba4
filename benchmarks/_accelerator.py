"""``python -m benchmarks accelerator``: every record that is missing of one GPU, in eight minutes.

What is most wanted comes first, and a record is written anew after each of its cases, so that what
was measured is kept however the time ends. The jobs are the suites of this folder and the laws of
the paradigms on the device; each runs until its own limit, in a process that is replaced where it
hangs. ``--quick`` rehearses all of it at tiny shapes on whatever device there is.

A bare machine needs the packages of `NEEDED`; those that it lacks are told before anything runs,
and installed from a folder of wheels where `--wheels` names one. Peers that are not there are
missing sides, not failures.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._record import RESULTS, environment, now, save
from benchmarks._watched import Watched

# What is imported by the jobs, by the names that modules and packages have.
NEEDED = {
    "jax": "jax[cuda13]", "flax": "flax", "optax": "optax", "orbax.checkpoint": "orbax-checkpoint",
    "chex": "chex", "numpy": "numpy", "scipy": "scipy", "nibabel": "nibabel", "PIL": "pillow",
    "matplotlib": "matplotlib", "jinja2": "jinja2", "tensorboardX": "tensorboardX", "tqdm": "tqdm",
    "tyro": "tyro", "numpyro": "numpyro",
}  # fmt: skip
PEERS = {"torch": "torch", "monai": "monai", "sklearn": "scikit-learn", "captum": "captum"}


class Job(NamedTuple):
    """Cases of a suite.

    Attributes:
        suite: its name, or `laws`.
        only: what their names hold.
        seconds: after which it is ended, whatever it does.
    """

    suite: str
    only: str = ""
    seconds: float = 60.0


# The most wanted first. Limits leave room for compiling; all together they are more than there is.
JOBS = (
    Job("train_step", "U-Net", 90),
    Job("train_step", "ResNet-18", 75),
    Job("sliding_window", "", 60),
    Job("metrics", "components", 30),
    Job("warp", "48 x 64 x 48", 60),
    Job("unsupervised", "Lloyd", 40),
    Job("explain", "x 1, RISE", 40),
    Job("sampling", "", 50),
    Job("ensemble", "", 75),
    Job("laws", "", 90),
    Job("unsupervised", "k-means++", 30),
    Job("warp", "384 x 384", 50),
    Job("metrics", "", 60),
    Job("conv", "", 120),
)
_REPEATS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=8.0, help="all together (default 8)")
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"), help="of the records")
    parser.add_argument("--quick", action="store_true", help="tiny shapes: does it all run?")
    parser.add_argument("--suite", action="append", help="jobs of this suite alone; repeatable")
    parser.add_argument("--wheels", type=Path, help="a folder from which to install what lacks")
    parser.add_argument("--record", action="store_true", help="copy them to benchmarks/results")


def run(given: argparse.Namespace) -> int:
    """Take the records; the exit code is 1 if a job failed or was not begun."""
    until = time.monotonic() + 60 * given.minutes
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    environ = _installed(given.wheels, out)
    jobs = [job for job in JOBS if not given.suite or job.suite in given.suite]
    states: dict[int, str] = {}
    while len(states) < len(jobs) and time.monotonic() < until:
        left = [i for i in range(len(jobs)) if i not in states]
        settings = {
            "jobs": [[i, *jobs[i]] for i in left], "out": str(out), "quick": given.quick
        }  # fmt: skip
        for number, state in _watched(settings, jobs, until, environ):
            states[number] = state
            print(f"{_name(jobs[number])}: {state}", flush=True)
    table = [[_name(job), states.get(i, "not begun")] for i, job in enumerate(jobs)]
    save(out / "jobs.json", {"created": now(), "minutes": given.minutes, "jobs": table})
    for name, state in table:
        if state == "not begun":
            print(f"{name}: not begun, {given.minutes:g} minutes are over")
    if given.record:
        _keep(out)
    return 0 if all(state == "done" for _, state in table) else 1


def worker(settings: str) -> int:
    """Do jobs one after the other; a line before and a line after each."""
    given = json.loads(settings)
    out, quick = Path(given["out"]), given["quick"]
    for number, suite, only, seconds in given["jobs"]:
        print(json.dumps({"begun": number}), flush=True)
        try:
            failed = _laws(out, seconds, quick) if suite == "laws" else _suite(
                suite, only, out, quick
            )  # fmt: skip
        except Exception as error:
            failed = [f"{type(error).__name__}: {str(error)[:200]}"]
        print(json.dumps({"ended": number, "failed": failed}), flush=True)
    return 0


def _suite(suite: str, only: str, out: Path, quick: bool) -> list[str]:
    """Measure cases of a suite and add them to its record; those that failed."""
    import jax

    from benchmarks._case import Options
    from benchmarks._record import cores
    from benchmarks._suites import cases_of, run_suite, sides_of

    # At tiny shapes sizes, which names hold, are others.
    options = Options(quick=quick, threads=cores(), only="" if quick else only)
    path = out / f"{suite}-{jax.default_backend()}.json"
    before = json.loads(path.read_text())["cases"] if path.exists() else []
    measured = [entry["name"] for entry in before]
    cases = [case for case in cases_of(suite, options) if case.name not in measured]
    return run_suite(
        suite, cases, sides_of(suite, cases, None), options, before=before, path=path,
        repeats=1 if quick else _REPEATS, memory=jax.default_backend() != "cpu",
    )[1]  # fmt: skip


def _laws(out: Path, seconds: float, quick: bool) -> list[str]:
    """Hold the paradigms to their laws on this device by their tests, as many as there is time."""
    import jax

    root = Path(__file__).parent.parent
    words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist"]
    words += ["-m", "not slow", "tests/paradigms/test_laws.py"]
    words += ["-k", "networks_with_dropout and supervised"] if quick else []
    process = subprocess.Popen(
        words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "JAX_PLATFORMS": jax.default_backend()},
    )  # fmt: skip
    ends: dict[str, list[str]] = {"PASSED": [], "FAILED": [], "ERROR": [], "SKIPPED": []}
    until = time.monotonic() + 0.9 * seconds
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"(\S+::.*) (PASSED|FAILED|ERROR|SKIPPED)", line):
            ends[found[2]].append(found[1].rpartition("::")[2])
            rows = [[name.lower(), len(tests)] for name, tests in ends.items()]
            record = {
                "created": now(), "environment": environment(1), "ends": ends,
                "tables": {"laws": {"head": ["laws", "tests"], "rows": rows}},
            }  # fmt: skip
            save(out / f"laws-{jax.default_backend()}.json", record)
        if time.monotonic() > until:
            process.kill()
            break
    process.wait()
    if not any(ends.values()):
        return ["no test ran: pip install 'jaxmed[test]'"]
    return [*ends["FAILED"], *ends["ERROR"]]


def _watched(
    settings: dict[str, Any], jobs: list[Job], until: float, environ: dict[str, str]
) -> Iterator[tuple[int, str]]:
    """How jobs ended, from one process, until it hangs, dies or is done."""
    command = [sys.executable, "-m", "benchmarks", "_accelerator", json.dumps(settings)]
    slack = 10 if settings["quick"] else 1  # A rehearsal on a busy CPU is no hanging job.
    begun, deadline = -1, until
    with (
        open(Path(settings["out"]) / "log.txt", "ab") as log,
        Watched(command, stderr=log, env=environ) as process,
    ):
        while True:
            try:
                line = process.line(min(deadline, until) - time.monotonic())
            except TimeoutError:
                if begun >= 0:
                    after = slack * jobs[begun].seconds
                    yield begun, f"ended after {after:g} s: what was written is kept"
                return
            if not line:
                if begun >= 0:
                    yield begun, f"its process ended with {process.code()}: see log.txt"
                return
            if not line.startswith('{"'):
                print(f"   {line.rstrip()}", flush=True)
                continue
            found = json.loads(line)
            if "begun" in found:
                begun = found["begun"]
                deadline = time.monotonic() + slack * jobs[begun].seconds
            else:
                failed, begun, deadline = found["failed"], -1, until
                yield found["ended"], f"failed: {'; '.join(failed)}" if failed else "done"


def _installed(wheels: Path | None, out: Path) -> dict[str, str]:
    """The environment of the jobs, with packages from wheels in it, and what lacks told.

    Raises:
        SystemExit: a package without which nothing runs is not there.
    """
    environ = {
        **os.environ,
        # Torch shares the accelerator, and XLA's timings of kernels are not part of ours.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_COMPILATION_CACHE_DIR": str(out / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    if wheels is not None:
        site = out / "site"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps",
             "--target", str(site), *map(str, sorted(wheels.glob("*.whl")))], check=True,
        )  # fmt: skip
        sys.path.insert(0, str(site))
        environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])

    def lacking(of: dict[str, str]) -> list[str]:
        return [package for name, package in of.items() if not _there(name)]

    if needed := lacking(NEEDED):
        raise SystemExit(
            f"pip install {' '.join(needed)}\nor give a folder of their wheels: --wheels FOLDER"
        )
    if peers := lacking(PEERS):
        print(f"without {', '.join(peers)}: their sides will be missing", flush=True)
    return environ


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _keep(out: Path) -> None:
    """Copy records to the committed ones, but none that lacks cases which that one has."""
    for path in sorted(out.glob("*-*.json")):
        target = RESULTS / path.name
        kept, new = (_case_names(p) for p in (target, path))
        if kept - new:
            print(f"{path.name}: not copied, it lacks {sorted(kept - new)[0]!r}")
        else:
            shutil.copy(path, target)
            print(f"record: {target}")


def _case_names(path: Path) -> set[str]:
    record = json.loads(path.read_text()) if path.exists() else {}
    return {case["name"] for case in record.get("cases", ())}


def _name(job: Job) -> str:
    return f"{job.suite}, {job.only.strip(' ,')}" if job.only else job.suite
