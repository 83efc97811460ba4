"""Forks that are struck and a disk that is full; run by test_soak.py with a folder."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks.reliability import _blows
from benchmarks.reliability._forked import forked

folder = Path(sys.argv[1])
log, place, out = folder / "logs" / "log.txt", folder / "place", folder / "out"
for new in (log.parent, place, out):
    new.mkdir()
found = {}


def write(strike=None):
    if strike is not None:
        _blows.Touches(place, 3, strike)
    for i in range(5):
        (place / f"{i}.txt").write_text("a")
        (folder / f"elsewhere{i}").write_text("a")
    print("all written")
    return 7


found["struck"] = forked(lambda: write(lambda: os.kill(os.getpid(), signal.SIGTERM)), log)
found["left"] = sorted(path.name for path in place.iterdir())
found["whole"] = forked(write, log)
found["late"] = forked(lambda: time.sleep(60), log, after=(0.01, signal.SIGKILL))
found["failed"] = forked(lambda: sys.exit("a fault"), log)

(out / "earlier").write_bytes(bytes(5000))


def fill():
    try:
        (out / "more").write_bytes(bytes(200_000))
    except OSError:
        (out / "more").unlink()
        return 1
    return 0


def on_disk():
    codes = _blows.on_small_disk(out, 50_000, fill, fill)
    return 99 if codes is None else 10 * codes[0] + codes[1]


found["disk"] = forked(on_disk, log)
if found["disk"] != 99:
    store = out.with_name("out.store")
    found["store"] = {path.name: path.stat().st_size for path in store.iterdir()}
found["out"] = sorted(path.name for path in out.iterdir())
found["log"] = log.read_text()
print(json.dumps(found))
