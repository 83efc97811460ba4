"""Suites, by name, and the record of one: its cases measured one after the other."""

from __future__ import annotations

import importlib
import json
import math
import os
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._case import Case, Options
from benchmarks._record import RESULTS, cores, environment, now, save

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
    "sampling": "images drawn by a diffusion model, all steps in one program and one by one",
    "sliding_window": "inference over a large volume",
    "stats": "bootstrap, DeLong, permutations and reader studies, against SciPy",
    "train_step": "ResNet-18 at 28x28 and a 3D U-Net, against the same networks in torch",
    "unsupervised": "k-means, density, components and t-SNE, against scikit-learn",
    "warp": "images moved by fields and back, against torch's grid_sample",
}


def cases_of(suite: str, options: Options) -> list[Case]:
    """The cases of a suite whose names hold what `options.only` says.

    Raises:
        SystemExit: there is none.
    """
    module = importlib.import_module(f"benchmarks.suite_{suite}")
    found = [case for case in module.cases(options) if options.only in case.name]
    if not found:
        raise SystemExit(f"no case of {suite} has {options.only!r} in its name")
    return found


def limit_threads(threads: int) -> None:
    """Limit XLA to as many cores as the peers have threads: it sizes its pool by affinity."""
    if not 1 <= threads <= cores():
        raise SystemExit(f"--threads {threads}: this machine has {cores()} cores to give")
    if threads < cores():
        if not hasattr(os, "sched_setaffinity"):
            raise SystemExit(f"--threads {threads}: only Linux can hold a process to some cores")
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def sides_of(suite: str, cases: Sequence[Case], against: Sequence[str] | None) -> list[str]:
    """The peers that are wanted, of all that the cases have.

    Raises:
        SystemExit: one that no case has.
    """
    known = list(dict.fromkeys(s for c in cases for s in list(c.sides)[1:]))
    wanted = against or known
    if unknown := [w for w in wanted if not any(s.split("-")[0] == w or s == w for s in known)]:
        raise SystemExit(f"{suite} has no side {', '.join(unknown)}: {', '.join(known)}")
    return [s for s in known if s in wanted or s.split("-")[0] in wanted]


def run_suite(
    suite: str,
    cases: Iterable[Case],
    wanted: Sequence[str],
    options: Options,
    *,
    repeats: int = 7,
    memory: bool = False,
    budget: float = math.inf,
    path: Path | None = None,
    before: Sequence[dict[str, Any]] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Measure cases, and write their record anew after each.

    Args:
        suite: its name.
        cases: of it.
        wanted: sides that ours are compared with.
        options: that the cases were made with.
        repeats: rounds of each.
        memory: also the peak memory of each side.
        budget: seconds after which no case is begun.
        path: of the record, if it is written.
        before: entries of other cases, which the record has too.

    Returns:
        The record, and the names of the cases that failed.
    """
    import jax

    from benchmarks._measure import geometric_means, measure

    on_cpu = jax.default_backend() == "cpu"
    record: dict[str, Any] = {
        "suite": suite,
        "created": now(),
        "environment": environment(options.threads),
        "settings": {"repeats": repeats, "quick": options.quick},
        "cases": [*before],
    }
    failed: list[str] = []
    start = time.monotonic()
    for case in cases:
        if time.monotonic() - start > budget:
            print(f"{case.name}: not begun, {budget:g} s are over")
            continue
        try:
            entry = measure(case, wanted, repeats=repeats, memory=memory and not on_cpu)
        except Exception:  # the other cases are still worth running
            traceback.print_exc()
            failed.append(case.name)
            continue
        if memory and on_cpu:
            from benchmarks._memory import measure_in_processes

            entry["memory"] = measure_in_processes(suite, case, [*wanted], options)
        if memory:
            print("   peak MiB:", {s: round(b / 2**20) for s, b in entry["memory"].items()})
        record["cases"].append(entry)
        record["geometric_means"] = geometric_means(record["cases"])
        if path is not None:
            save(path, _with_peaks(record))
    return _with_peaks(record), failed


def _with_peaks(record: dict[str, Any]) -> dict[str, Any]:
    """The record with what the device can do at most, where work was counted."""
    from benchmarks._jax import peak_flops

    precisions = {entry["precision"] for entry in record["cases"] if "flops" in entry}
    peaks = record["environment"].setdefault("peak_flops", {}) if precisions else {}
    for precision in sorted(precisions - {*peaks}):
        peaks[precision] = float(f"{peak_flops(precision):.3g}")
    return record


def record_path(record: dict[str, Any]) -> Path:
    """Where the committed record of a suite on this kind of device stands."""
    return RESULTS / f"{record['suite']}-{record['environment']['backend']}.json"


def measure_side(suite: str, name: str, side: str, options: Options) -> None:
    """Print the peak memory of one side of a case, for the process that asks for it."""
    from benchmarks._memory import measure_here

    case = next(c for c in cases_of(suite, options) if c.name == name)
    print(json.dumps(measure_here(case, side)))
