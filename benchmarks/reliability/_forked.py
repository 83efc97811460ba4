"""Work in a fork of this process, which has imported all that it needs and started nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PATIENCE = 300.0  # Seconds after which work that does not end counts as hanging.


def forked(
    work: Callable[[], Any],
    log: Path,
    *,
    after: tuple[float, int] | None = None,
    meanwhile: Callable[[int], None] | None = None,
) -> int:
    """Do something in a fork of this process; its exit code, or the signal that ended it below 0.

    Args:
        work: what is done.
        log: file to which what it prints is added.
        after: seconds after which it is sent this signal.
        meanwhile: called with its number.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _begin(log)
            code = int(work() or 0)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if meanwhile is not None:
        meanwhile(child)
    began = time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        took = time.monotonic() - began
        if after is not None and took > after[0]:
            os.kill(child, after[1])
            after = None
        if took > _PATIENCE:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _begin(log: Path) -> None:
    """What a fork does first: print to the log."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
