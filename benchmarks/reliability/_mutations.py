"""``python -m benchmarks mutations``: commands on files that were changed at random.

Each case changes one file, of images, tables, masks, archives, data sets, or of a model that comes
from a stranger, and runs one command on it, by a seed and the number of the case. It has to end in
an answer or in an error that names the file: with no traceback, within a time and a memory, and
with nothing read or written outside. A case is a line of `OUT/cases.jsonl`; the same command goes
on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks._lines import finished
from benchmarks._record import RESULTS, environment, now, save
from benchmarks._watched import Watched
from benchmarks.reliability._bait import make
from benchmarks.reliability._trial import ENDINGS, SOUND, changed, check_sound, serve
from jaxmed._files import append_line

_LOADING = 900.0
_SECONDS = 60.0  # Within which a command on files of a few kilobytes ends; compiling is in it.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--only", type=int, nargs="+", help="these cases alone, and anew")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="limit of each")
    parser.add_argument("--minutes", type=float, default=None, help="begin no case after so many")
    parser.add_argument("--out", type=Path, default=Path("runs/mutations"))
    parser.add_argument("--record", action="store_true", help="write it to benchmarks/results")


def run(given: argparse.Namespace) -> int:
    """Run the cases that are missing; the exit code is 1 if one of all ended otherwise."""
    folder = given.out.resolve() / f"seed-{given.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "cases.jsonl"
    done = finished(lines, "case")
    wanted = given.only or range(given.cases)
    missing = [case for case in wanted if given.only or case not in done]
    if not (folder / "bait" / "made").exists():
        with _started(["make", str(folder)]) as process:
            if process.code():
                raise SystemExit(f"the sound files in {folder / 'bait'} could not be made")
    until = time.monotonic() + 60 * (given.minutes or float("inf"))
    while missing and time.monotonic() < until:
        for record in _served(folder, given.seed, missing, given.seconds, until):
            append_line(lines, json.dumps(record))
            missing.remove(record["case"])
            if record["ending"] not in SOUND or given.only:
                print(json.dumps(record, indent=1), flush=True)
    found = [r for case, r in sorted(finished(lines, "case").items()) if case in wanted]
    counts = Counter(record["ending"] for record in found)
    print(f"{len(found)} cases:", ", ".join(f"{n} {name}" for name, n in counts.most_common()))
    if given.record:
        save(RESULTS / "mutations.json", _record(found, given.seed))
    return 0 if all(name in SOUND for name in counts) and not missing else 1


def worker(settings: str) -> int:
    """What the processes do that this command starts."""
    given = json.loads(settings)
    if given[0] == "make":
        make(Path(given[1]) / "bait")
        check_sound(Path(given[1]))
        (Path(given[1]) / "bait" / "made").touch()
        return 0
    serve(Path(given[1]), given[2], given[3])
    return 0


def _started(settings: list[Any]) -> Watched:
    command = [sys.executable, "-m", "benchmarks", "_mutations", json.dumps(settings)]
    # Programs that run once are compiled as quickly as may be, and kept.
    environ = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": f"{settings[1]}/compiled",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    return Watched(command, env={**os.environ, **environ})


def _served(folder: Path, seed: int, cases: list[int], seconds: float, until: float) -> Any:
    """Records of cases from one process, until it hangs, dies or is done."""
    begun: int | None = None
    with _started(["serve", str(folder), seed, cases[:100]]) as process:
        while time.monotonic() < until:
            try:
                # Before the first case begins, the process loads what all of them need.
                line = process.line(_LOADING if begun is None else seconds)
            except TimeoutError:
                if begun is None:
                    raise SystemExit(f"no case was begun within {_LOADING:g} s") from None
                yield {"case": begun, "ending": "hang", **changed(folder, seed, begun)}
                return
            if not line:
                if begun is not None:
                    ending = {"case": begun, "ending": "died", "code": process.code()}
                    yield {**ending, **changed(folder, seed, begun)}
                return
            found = json.loads(line)
            if "begun" in found:
                begun = found["begun"]
            else:
                begun = None
                yield found


def _record(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """The record of all cases, with a table by command and one by change."""

    def table(name: str, of: Any) -> dict[str, Any]:
        groups: dict[str, Counter] = {}
        for record in found:
            groups.setdefault(of(record), Counter())[record["ending"]] += 1
        rows = [
            [key, sum(counts.values()), *(counts.get(ending, 0) for ending in ENDINGS)]
            for key, counts in sorted(groups.items())
        ]
        total = Counter(record["ending"] for record in found)
        rows.append(["all", len(found), *(total.get(ending, 0) for ending in ENDINGS)])
        return {"head": [name, "cases", *ENDINGS], "rows": rows}

    return {
        "created": now(),
        "environment": environment(1),
        "seed": seed,
        "cases": [{k: r[k] for k in ("case", "bait", "file", "change", "ending")} for r in found],
        "largest": {
            "seconds": max(r.get("seconds", 0) for r in found),
            "megabytes": max(r.get("megabytes", 0) for r in found),
        },
        "endings": ENDINGS,
        "tables": {"inputs": table("input", lambda r: r["bait"])},
    }
