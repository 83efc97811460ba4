"""Peak memory of one side of one case, each in a process of its own."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks._case import Case, Options, UnavailableError

_STATUS = Path("/proc/self/status")
_marked: list[int] = []


def measure_in_processes(suite: str, case: Case, wanted: list[str], options: Options) -> dict:
    """Peak bytes of every side; empty where the system cannot tell."""
    peaks = {}
    ours = next(iter(case.sides))
    for side in case.sides:
        if side != ours and side not in wanted:
            continue
        command = [sys.executable, "-m", "benchmarks", "_memory", suite, case.name, side]
        command += ["--threads", str(options.threads)] + ["--quick"] * options.quick
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{case.name}, {side}: {done.stderr.strip()[-2000:]}")
        peak = json.loads(done.stdout.strip().splitlines()[-1])
        if peak is not None:
            peaks[side] = peak
    return peaks


def mark() -> None:
    """Imports are done and nothing of a side exists yet: what is resident now is not its own."""
    if _STATUS.exists():
        ctypes.CDLL(None).malloc_trim(0)
        _marked.append(_status("VmRSS"))


def measure_here(case: Case, side: str) -> int | None:
    """Bytes that a side needs at its worst in steady state, over what is resident at its `mark`.

    Compilation and warm-up are over and freed memory is given back before the peak is reset, so
    this is the working set of a call, all arrays that live between calls included. On an
    accelerator it is the allocator's own peak.
    """
    _marked.clear()
    mark()
    try:
        run = case.sides[side]()
        for _ in range(3):
            run.call()
    except UnavailableError:
        return None
    accelerator = _accelerator_peak(side, run)
    if accelerator is not None:
        return accelerator
    if not _STATUS.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(3):
        run.call()
    return _status("VmHWM") - _marked[-1]


def _accelerator_peak(side: str, run: Any) -> int | None:
    if side.startswith(("torch", "monai")):
        import torch

        if not torch.cuda.is_available():
            return None
        torch.cuda.reset_peak_memory_stats()
        run.call()
        return int(torch.cuda.max_memory_allocated())
    import jax

    if jax.default_backend() == "cpu":
        return None
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")


def _status(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {field}")
