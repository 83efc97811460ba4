"""A process whose next line is waited for, for so long and no longer."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Any


class Watched:
    """A process that tells by lines what it does; ended with the block, with all that it started.

    Lines are read by a thread: what the system says is ready does not tell of lines that were read
    together with one before them.
    """

    def __init__(self, command: Sequence[str], **options: Any):
        """Start it; `options` are those of `subprocess.Popen`."""
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True, **options
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def line(self, seconds: float) -> str:
        """The next line; nothing at the end of the process.

        Raises:
            TimeoutError: none came within so many seconds.
        """
        try:
            return self._lines.get(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX)))
        except queue.Empty:
            raise TimeoutError from None

    def code(self) -> int:
        """The exit code of a process that has ended, or is about to."""
        return self._process.wait()

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *error: object) -> None:
        # What it started may hold its output open, and an accelerator.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
