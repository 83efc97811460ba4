"""Shared fixtures: eight virtual CPU devices, and the folder of real data where there is one."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import platform
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

# Before JAX starts: tests spend their time in compiling small programs that run once, so nothing is
# optimised, and where XLA may still build loops without MLIR it does, in half the time. Studies run
# for longer than they compile: `make test-slow` sets a level first, and their programs are those
# that users run.
_flags = os.environ.get("XLA_FLAGS", "")
if "--xla_backend_optimization_level" not in _flags:
    _flags += " --xla_backend_optimization_level=0"
    if version("jaxlib").startswith("0.10."):  # later ones end at a flag that they do not know
        _flags += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = _flags.strip()
# Which line made an operation is written into every program, at a sixth of what tracing and
# lowering take; errors show their own traceback.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")


def _processor() -> str:
    """A name of this machine's kind of processor: its instruction sets, where Linux lists them."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return hashlib.sha256(line.encode()).hexdigest()[:12]
    return platform.processor() or platform.machine()


def _keep_programs() -> None:
    """Keep compiled programs between runs, for the workers and the processes that tests start.

    JAX finds a program again by its text, its compiler with all flags, and the devices, but not
    by the instruction sets of a CPU, so each kind of processor has a folder of its own. A program
    compiled a month ago goes, so that the folder does not grow for ever. A folder that the
    environment names is used as it is.
    """
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "jaxmed" / f"test-programs-{_processor()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        month = time.time() - 30 * 24 * 3600
        for file in folder.iterdir():
            if file.stat().st_mtime < month:
                file.unlink(missing_ok=True)
    except (OSError, RuntimeError):
        return  # no home folder, or none that may be written: every program is compiled anew
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)


_keep_programs()

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# The first example of a property compiles; how long that takes says nothing.
settings.register_profile("jaxmed", deadline=None)
settings.load_profile("jaxmed")

# Before any computation: sharding laws are tested on eight virtual devices.
jax.config.update("jax_num_cpu_devices", 8)


def _keep_compiler() -> None:
    """Lower many programs in one MLIR context, where JAX makes one for each.

    Loading its dialects takes longer than all else of a small program, and tests have ten thousand
    of those. A context keeps the constants it has met, so a new one is made now and then.
    """
    from jax._src.interpreters import mlir

    make = getattr(mlir, "make_ir_context", None)
    if make is None:
        return
    contexts = threading.local()

    def partitioned() -> bool:
        """Whether XLA is at work on a program, and asks how to cut one of its operations."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_globals.get("__name__") == "jax._src.custom_partitioning":
                return True
            frame = frame.f_back
        return False

    def kept():
        if partitioned():  # the context of that program is in use
            return make()
        if getattr(contexts, "used", 0) % 200 == 0:
            contexts.used, contexts.current = 0, make()
        contexts.used += 1
        return contexts.current

    mlir.make_ir_context = kept


_keep_compiler()


def pytest_report_header() -> str:
    """Say which form of the convolution runs: most tests on a CPU go through it."""
    if jax.default_backend() != "cpu":
        return f"convolution: XLA's own on {jax.default_backend()}"
    from jaxmed.ops import build
    from jaxmed.ops.convolution import _native

    library = _native.library()
    if isinstance(library, str):
        return f"convolution: the pure form ({library.splitlines()[0]})"
    types = [dtype for dtype in ("float32", "bfloat16") if build.available(dtype)]
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA")
    held = f", held to {isa}" if isa else ""
    return f"convolution: oneDNN ({', '.join(types) or 'no fast type'}{held})"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that ``JAXMED_DATA`` names, or a skip that says so."""
    folder = os.environ.get("JAXMED_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("JAXMED_DATA names no folder of real data")
    return Path(folder)


def pytest_collection_finish() -> None:
    """Leave what is loaded by now out of garbage collection: all modules, till the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)  # compiling makes many objects that live a moment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``devices(n)`` where JAX has fewer, as on a machine with one GPU."""
    for item in items:
        needed = max((mark.args[0] for mark in item.iter_markers("devices")), default=1)
        if needed > 1 and jax.device_count() < needed:
            reason = f"needs {needed} devices, {jax.default_backend()} has {jax.device_count()}"
            item.add_marker(pytest.mark.skip(reason))
