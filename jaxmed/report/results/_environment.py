"""Provenance of results: software, hardware, command line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jaxmed

_PACKAGES = (
    "jaxmed", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "nibabel",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Describe software and hardware, for the report and `metrics.json`.

    Returns:
        `python`, `platform`, `cpu`, `cores` (that this process may use), `memory_gb`, `packages`,
        `devices` (if JAX has started), `commit` (of a checkout; with `+` if it has changes).

    Examples:
        >>> "numpy" in environment()["packages"]
        True
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": _cores(),
        "memory_gb": _memory_gb(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name)) is not None},
        "devices": _devices(),
        "commit": _commit(),
    }


def command_line() -> str:
    """Return the command that started this process, as typed in a shell."""
    import shlex

    program, *rest = sys.argv
    name = Path(program).name
    if name in ("jaxmed", "__main__.py", "cli"):
        name = "jaxmed"
    elif name.endswith(".py"):
        name = f"python {program}"
    return shlex.join([*name.split(" ", 1), *rest])


def _version(name: str) -> str | None:
    if name == "jaxmed":
        import jaxmed

        return jaxmed.__version__
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gb() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(total / 2**30, 1)


def _devices() -> list[str]:
    jax = sys.modules.get("jax")
    if jax is None:
        return []
    kinds = [f"{d.platform} ({d.device_kind})" for d in jax.devices()]
    return [f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)]


def _commit() -> str | None:
    """Return the checkout's commit; None from an installed wheel or without git."""
    root = Path(jaxmed.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "jaxmed")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True, text=True, timeout=10, check=True,
    )  # fmt: skip
    return done.stdout.strip()
