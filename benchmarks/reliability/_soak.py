"""``python -m benchmarks soak``: work that is struck at random moments and started again.

Each case is one kind of work in a folder of its own, struck once to three times, and then left in
peace. At its end the folder has to hold what it holds after work that nothing struck: the same
files, and in them the same bytes but for times. Everything random is drawn by a seed and the number
of the case; the moments are counted in accesses to files, or in time, which no seed can fix. A case
is a line of `OUT/cases.jsonl`; the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._lines import finished
from benchmarks._record import RESULTS, environment, now, save
from benchmarks.reliability import _blows
from benchmarks.reliability._forked import forked
from benchmarks.reliability._work import WORKS, end, make
from jaxmed._files import append_line

_STARTS = 4  # Of a command that refuses once it was struck: what it says is done meanwhile.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--only", type=int, nargs="+", help="these cases alone, and anew")
    parser.add_argument("--work", action="append", choices=sorted(WORKS), help="may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=None, help="begin no case after so many")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--record", action="store_true", help="write it to benchmarks/results")


def run(given: argparse.Namespace) -> int:
    """Run the cases that are missing; the exit code is 1 if one did not end as it should."""
    if not hasattr(os, "fork"):
        raise SystemExit("the soak forks processes, which this system cannot")
    folder = given.out.resolve() / f"seed-{given.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    lines, base = folder / "cases.jsonl", folder / "base"
    _load(folder)
    turns = [name for i in range(3) for name in WORKS if i < WORKS[name].share]
    if not (base / "made").exists():
        forked(lambda: make(base), folder / "make.log")
        (base / "made").touch()
    whole: dict[str, dict[str, Any]] = {}
    done = finished(lines, "case")
    wanted = [
        case
        for case in given.only or range(given.cases)
        if not given.work or turns[case % len(turns)] in given.work
    ]
    until = time.monotonic() + 60 * (given.minutes or float("inf"))
    for case in wanted:
        if (case in done and not given.only) or time.monotonic() > until:
            continue
        name = turns[case % len(turns)]
        whole[name] = whole.get(name) or _undisturbed(folder, base, name)
        record = _case(folder, base, name, whole[name], given.seed, case)
        append_line(lines, json.dumps(record))
        told = "as if nothing had happened" if record["equal"] else "NOT THE SAME"
        print(f"case {case}, {name}: {', '.join(record['blows'])}: {told}", flush=True)
        if not record["equal"]:
            print(json.dumps(record, indent=1), flush=True)
    found = [r for case, r in sorted(finished(lines, "case").items()) if case in wanted]
    same = sum(record["equal"] for record in found)
    print(f"{same} of {len(found)} cases ended as if nothing had happened")
    if given.record:
        save(RESULTS / "soak.json", _record(found, given.seed))
    return 0 if same == len(wanted) else 1


def _load(folder: Path) -> None:
    """Import what all works need, so that each fork has it, and name where programs are kept.

    JAX is not started: its threads no fork has.
    """
    import matplotlib.pyplot  # noqa: F401
    import orbax.checkpoint  # noqa: F401
    import tensorboardX  # noqa: F401

    import jaxmed.cli.predict._command
    import jaxmed.cli.runs._train
    import jaxmed.protocols
    import jaxmed.report
    import jaxmed.train

    jaxmed.train.enable_compilation_cache(folder / "compiled")


def _undisturbed(folder: Path, base: Path, name: str) -> dict[str, Any]:
    """How work that nothing strikes ends: what it leaves, in what time and with how many accesses.

    It is done twice: the first compiles, and both have to leave the same.
    """
    path = folder / "whole" / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    path.parent.mkdir(exist_ok=True)
    out = folder / "whole" / "out"
    found = [_once(base, out, name, path.with_name(f"{name}-{i}.log")) for i in (1, 2)]
    first, second = found
    if first["end"] != second["end"]:
        differ = [key for key in first["end"] if first["end"][key] != second["end"].get(key)]
        raise SystemExit(f"{name} ends otherwise each time: {differ[:5]}")
    path.write_text(json.dumps(second))
    return second


def _once(base: Path, out: Path, name: str, log: Path) -> dict[str, Any]:
    """What work leaves in a new folder, and how long and how busy it was.

    Raises:
        SystemExit: it fails by itself.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    told = log.with_suffix(".json")

    def work() -> int:
        touches = _blows.Touches(out)
        began = time.monotonic()
        code = WORKS[name].start(base, out)
        took = time.monotonic() - began
        size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
        about = {"seconds": took, "touches": touches.count, "bytes": size, "end": end(out)}
        told.write_text(json.dumps(about))
        return code

    if forked(work, log):
        raise SystemExit(f"{name} fails by itself: see {log}")
    return json.loads(told.read_text())


def _case(
    folder: Path, base: Path, name: str, whole: dict[str, Any], seed: int, case: int
) -> dict[str, Any]:
    """Strike one work, start it again till it ends, and compare its end."""
    draw = np.random.default_rng([seed, case])
    work, out, log = WORKS[name], folder / "cases" / str(case), folder / "cases" / f"{case}.log"
    for old in (out, out.with_name(out.name + ".store")):
        shutil.rmtree(old, ignore_errors=True)
    out.mkdir(parents=True)
    log.unlink(missing_ok=True)
    told: list[str] = []
    blows = [work.blows[int(draw.integers(len(work.blows)))] for _ in range(draw.integers(1, 4))]
    for blow in blows:
        told.append(_strike(blow, work.start, base, out, whole, draw, log))
    last = out.with_name(f"{case}.json")
    last.unlink(missing_ok=True)

    def again() -> int:
        code = work.start(base, out)
        last.write_text(json.dumps(end(out)))
        return code

    codes = []
    while len(codes) < _STARTS and (not codes or codes[-1]):
        codes.append(forked(again, log))
    found = json.loads(last.read_text()) if last.exists() else {}
    names = sorted({*found, *whole["end"]})
    differ = [n for n in names if found.get(n) != whole["end"].get(n)]
    equal = codes[-1] == 0 and not differ
    record = {"case": case, "work": name, "blows": blows, "told": told, "ends": codes,
              "equal": equal, "differ": differ[:10]}  # fmt: skip
    if equal:
        shutil.rmtree(out)
        log.unlink(missing_ok=True)
    else:
        record["log"] = log.read_text()[-3000:]
    last.unlink(missing_ok=True)
    return record


def _strike(
    blow: str, start: Any, base: Path, out: Path, whole: dict[str, Any],
    draw: np.random.Generator, log: Path,
) -> str:  # fmt: skip
    """Start work and strike it; what became of it, in words."""
    at, share = int(draw.integers(1, whole["touches"] + 1)), float(draw.random())
    seconds, by_touch = share * whole["seconds"], bool(draw.random() < 0.5)
    if blow == "full disk":
        room = int((0.05 + 0.9 * share) * whole["bytes"])

        def on_disk() -> int:
            inner = lambda: forked(lambda: start(base, out), log)  # noqa: E731
            codes = _blows.on_small_disk(out, room, inner, inner)
            return 99 if codes is None else 10 * bool(codes[0]) + bool(codes[1])

        code = forked(on_disk, log)
        store = out.with_name(out.name + ".store")
        if store.exists() and code != 99:
            shutil.rmtree(out)
            store.rename(out)
        shutil.rmtree(store, ignore_errors=True)
        words = {99: "not permitted here", 0: "there was room", 10: "full, then finished"}
        return f"{room} bytes left: {words.get(code, f'ends {code}')}"
    number = signal.SIGTERM if blow == "SIGTERM" else signal.SIGKILL
    if blow == "worker lost":
        code = forked(
            lambda: start(base, out), log, meanwhile=lambda pid: _blows.lose_worker(pid, seconds)
        )
        return f"after {seconds:.2f} s: ends {code}"

    by_touch |= blow == "checkpoint cut"

    def strike() -> None:
        if blow != "checkpoint cut" or _blows.checkpoints(out):
            os.kill(os.getpid(), number)

    def struck() -> int:
        if by_touch:
            _blows.Touches(out, at, strike)
        return start(base, out)

    code = forked(struck, log, after=None if by_touch else (seconds, number))
    when = f"at access {at}" if by_touch else f"after {seconds:.2f} s"
    if blow == "checkpoint cut":
        when += f", {_blows.cut(out, draw) or 'nothing to cut'}"
    return f"{when}: ends {code}"


def _record(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """The record of all cases, with a table by work and one by blow."""
    rows = []
    for name in WORKS:
        of = [record for record in found if record["work"] == name]
        blows = Counter(blow for record in of for blow in record["blows"])
        rows.append([name, len(of), *(blows.get(kind, 0) for kind in _blows.KINDS),
                     sum(record["equal"] for record in of)])  # fmt: skip
    rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, len(rows[0])))])
    head = ["work", "cases", *_blows.KINDS, "as if nothing had happened"]
    kept = ("case", "work", "blows", "told", "ends", "equal")
    return {
        "created": now(),
        "environment": environment(1),
        "seed": seed,
        "kinds": _blows.KINDS,
        "cases": [{key: record[key] for key in kept} for record in found],
        "tables": {"works": {"head": head, "rows": rows}},
    }
