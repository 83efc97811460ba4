"""Blows to a process at random moments, from within it and from without."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {
    "SIGKILL": "killed at a random moment, or in the midst of one of its accesses to files",
    "SIGTERM": "ended politely at such a moment",
    "full disk": "the disk has less room than the work needs, and then room is made",
    "checkpoint cut": "killed, and then a random file of a random checkpoint cut at a random byte",
    "worker lost": "one of the processes that it started is killed",
}
_WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
_NEW_NAMESPACE, _NEW_USER = 0x00020000, 0x10000000


class Touches:
    """Counts how often this process opens a file to write, renames or removes one, in a folder.

    Args:
        folder: what lies elsewhere is not counted.
        at: from this count on...
        then: ...this is called, each time.
    """

    def __init__(self, folder: Path, at: int = 0, then: Callable[[], None] = lambda: None):
        self.count = 0
        self._folder, self._at, self._then = str(folder), at, then
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event not in _WRITES:
            return
        if str(arguments[0]).startswith(self._folder):
            self.count += 1
            if self.count >= self._at > 0:
                self._then()


def lose_worker(parent: int, seconds: float) -> None:
    """Kill one process that another started, after some seconds, once there is one."""

    def kill() -> None:
        time.sleep(seconds)
        while Path(f"/proc/{parent}").exists():
            found = subprocess.run(
                ["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False
            ).stdout.split()
            if found:
                os.kill(int(found[-1]), signal.SIGKILL)
                return
            time.sleep(0.05)

    threading.Thread(target=kill, daemon=True).start()


def checkpoints(out: Path) -> list[Path]:
    """The checkpoints below a folder that have another one beside them, to go on from."""
    steps = [path.parent for path in out.rglob("files.json") if path.parent.name.isdecimal()]
    return [step for step in steps if len([*step.parent.glob("[0-9]*/files.json")]) > 1]


def cut(out: Path, draw: np.random.Generator) -> str:
    """Cut a random file of a random checkpoint below a folder; what was cut, or nothing."""
    inside = (path for step in checkpoints(out) for path in step.rglob("*"))
    files = sorted(path for path in inside if path.is_file() and path.stat().st_size)
    if not files:
        return ""
    path = files[int(draw.integers(len(files)))]
    size = int(draw.integers(path.stat().st_size))
    os.truncate(path, size)
    return f"{path.relative_to(out)} cut at {size}"


def on_small_disk(out: Path, room: int, work: Callable[[], int], again: Callable[[], int]) -> Any:
    """Do work where the disk has so many bytes left, then again where it has enough.

    The disk is a file system in memory that this process alone sees, mounted in the place of the
    folder; what is in it at the end is put back.

    Returns:
        Both exit codes; None where the system lets nobody mount.
    """
    flags = _NEW_NAMESPACE | (0 if os.geteuid() == 0 else _NEW_USER)
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        return None
    store = out.with_name(out.name + ".store")
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(out, store)

    def mount(*options: str) -> bool:
        told = subprocess.run(["mount", *options, str(out)], capture_output=True, check=False)
        return told.returncode == 0

    # Mounts of this process are not to be seen by others.
    subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)
    if not mount("-t", "tmpfs", "-o", "size=512m", "tmpfs"):
        return None
    shutil.copytree(store, out, dirs_exist_ok=True)
    used = shutil.disk_usage(out).used
    page = os.sysconf("SC_PAGE_SIZE")
    mount("-o", f"remount,size={-(-(used + room) // page) * page}")
    first = work()
    mount("-o", "remount,size=512m")
    second = again()
    shutil.rmtree(store)
    shutil.copytree(out, store)
    return first, second
