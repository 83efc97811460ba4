"""Records of measurements and their environment, as committed JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "torch", "monai", "torchio",
    "onednn-cpu-gomp", "surface-distance",
)  # fmt: skip


def environment(threads: int) -> dict[str, Any]:
    """Describe machine, versions and thread counts, without names of persons or places."""
    import jax

    device = jax.devices()[0]
    return {
        "backend": jax.default_backend(),
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "cores": cores(),
        "threads": threads,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "revision": _revision(),
        "load": round(os.getloadavg()[0], 2),
    }


def cores() -> int:
    """The cores this process may use: those it is held to, where the system says."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def save(path: Path, record: dict[str, Any]) -> None:
    """Write a record, sorted and indented, so that a new run gives a readable diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def load(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """Load the committed record of that name.

    Raises:
        FileNotFoundError: if there is none; the message lists the existing ones.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no record {name!r} in benchmarks/results; there are: {known}")
    return json.loads(path.read_text())


def now() -> str:
    """Return the date and minute, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "cpu"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "cpu"


def _revision() -> str:
    """Return the commit, with a plus sign if the library itself has been changed since."""
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    revision = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", "jaxmed", "benchmarks/*.py")
    return revision + ("+" if changed else "")
