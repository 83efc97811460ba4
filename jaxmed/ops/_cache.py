"""The folder of compiled kernels: private to the user, since what lies there is loaded and run."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

_LOCK_TIMEOUT = 330.0  # s; somewhat longer than a compiler is given
_LOCK_INTERVAL = 0.1
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class BuildError(RuntimeError):
    """Raised when the native convolution cannot be built or loaded; the message says why."""


class NotOffered(BuildError):
    """Raised where nobody expects native kernels: another system, or wheels not installed."""


def cache_folder() -> Path:
    """Return the folder of compiled kernels, made if it does not exist and private either way.

    It is ``jaxmed/native`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, created with mode 0700.

    Raises:
      BuildError: If there is no home folder, the folder cannot be made, or somebody else owns it
        or may write to it, who could then run code as this user.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification: relative paths are ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:
            raise BuildError(f"no home folder to keep compiled kernels in: {error}") from error
    outer = Path(base) / "jaxmed"
    inner = outer / "native"
    try:
        Path(base).mkdir(parents=True, exist_ok=True)
        for folder in (outer, inner):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        # Who may write to the outer folder could exchange the inner one. Others of our caches are
        # made there by the user's mask, which on many systems lets the group write.
        mode = outer.lstat().st_mode
        if mode & _OTHERS and outer.lstat().st_uid == os.geteuid():
            outer.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    except OSError as error:
        raise BuildError(f"cannot make {inner}: {error}") from error
    check_private(outer)
    check_private(inner)
    return inner


def check_private(path: Path) -> None:
    """Refuse a folder or file that somebody else owns or may write to.

    Raises:
      BuildError: If the owner is neither this user nor root, or others have the right to write.
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise BuildError(f"cannot read {path}: {error}") from error
    if stat.S_ISLNK(found.st_mode):
        raise BuildError(f"{path} is a symbolic link; remove it, or set XDG_CACHE_HOME")
    if found.st_uid not in (0, os.geteuid()):
        raise BuildError(f"{path} belongs to user {found.st_uid}; set XDG_CACHE_HOME to your own")
    if found.st_mode & _OTHERS:
        raise BuildError(
            f"others may write to {path} (mode {stat.S_IMODE(found.st_mode):o}); remove it, or run "
            f"chmod go-w {path} if you trust what is in it"
        )


@contextlib.contextmanager
def lock(path: Path, *, timeout: float | None = None) -> Iterator[None]:
    """Hold a file's lock, or give up after some seconds.

    Raises:
      BuildError: If another process holds the lock for all that time, as one that was stopped
        would for ever.
    """
    import fcntl  # not on Windows, where nothing is built

    limit = _LOCK_TIMEOUT if timeout is None else timeout
    end = time.monotonic() + limit
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise BuildError(
                        f"another process has held {path} for {limit:.0f} s; end it, or remove "
                        "the file"
                    ) from None
                time.sleep(_LOCK_INTERVAL)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
