"""Peak memory of one side of one case; on a CPU each in its own process."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks._case import Case, Options, Run, UnavailableError

_STATUS = Path("/proc/self/status")
_marked: list[int] = []
# Duration of a call above which one is enough.
_LONG = 5.0


def measure_in_processes(suite: str, case: Case, wanted: list[str], options: Options) -> dict:
    """Measure peak bytes of every side; empty if the system does not report them."""
    peaks = {}
    ours = next(iter(case.sides))
    for side in case.sides:
        if side != ours and side not in wanted:
            continue
        command = [sys.executable, "-m", "benchmarks", "_memory", suite, case.name, side]
        command += ["--threads", str(options.threads)] + ["--quick"] * options.quick
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            error = (done.stderr.strip() or "no message").splitlines()[-1]
            if side == ours:
                raise RuntimeError(f"memory of {case.name}, {side}: {error}")
            print(f"   memory of {side}: {error[:200]}")
            continue
        peak = json.loads(done.stdout.strip().splitlines()[-1])
        if peak is not None:
            peaks[side] = peak
    return peaks


def mark() -> None:
    """Mark the baseline: imports are done and no array of the side exists yet."""
    if _STATUS.exists():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        _marked.append(_status("VmRSS"))


def measure_here(case: Case, side: str) -> int | None:
    """Measure peak bytes of a side in steady state, above the baseline set by `mark`.

    A side marks where its packages are loaded and its program is compiled, before the first of
    its arrays exists. Warm-up is over and freed memory is given back before the peak is reset, so
    this is the working set of a call, all arrays that live between calls included.
    """
    import jax

    jax.jit(lambda x: x + 1)(
        0.0
    ).block_until_ready()  # the backend exists, whichever side is measured
    _marked.clear()
    mark()
    try:
        run = case.sides[side]()
        start = time.perf_counter()
        run.call()
        calls = 3 if time.perf_counter() - start < _LONG else 1
        for _ in range(calls - 1):
            run.call()
            run.finish()
    except UnavailableError:
        return None
    if not _STATUS.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(calls):
        run.call()
    return _status("VmHWM") - _marked[-1]


def torch_allocated() -> int:
    """Return the bytes of torch's tensors currently on the GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda.memory_allocated() if torch and torch.cuda.is_available() else 0


def accelerator_peak(run: Run, held: int) -> int | None:
    """Measure peak bytes of a side on the accelerator.

    Args:
        run: run of the side; ours reports what its compiled program needs.
        held: bytes that torch's side has kept since it was made.
    """
    if run.memory is not None:
        return run.memory
    if not held:
        return None
    cuda = sys.modules["torch"].cuda
    before = cuda.memory_allocated()
    cuda.reset_peak_memory_stats()
    run.call()
    run.finish()
    return held + cuda.max_memory_allocated() - before


def _status(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {field}")
