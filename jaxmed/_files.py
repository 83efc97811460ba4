"""Whole files: written so that a reader finds the old one or the new one, never a half.

Pure Python: every subpackage may use it, those that stand without JAX too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: str | Path) -> Iterator[Path]:
    """The files in a folder and the folders below it, in the order of their names.

    Links are followed, but not into a folder that they come from; names that begin with a dot are
    left out.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "a").mkdir()
    >>> (root / "a" / "1.txt").touch()
    >>> (root / "b").mkdir()
    >>> (root / "b" / "linked").symlink_to(root / "a")
    >>> (root / "a" / "round").symlink_to(root / "b")
    >>> [str(path.relative_to(root / "b")) for path in files_below(root / "b")]
    ['linked/1.txt']
    """
    yield from _below(Path(folder), frozenset())


def _below(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    found = folder.stat()
    above |= {(found.st_dev, found.st_ino)}
    folders = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            there = path.stat()
            if (there.st_dev, there.st_ino) not in above:
                folders.append(path)
        elif path.is_file():
            yield path
    for path in folders:
        yield from _below(path, above)


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let an error of the system, such as of a full disk, name the file that it is of.

    >>> with naming("masks/a.nii.gz"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'masks/a.nii.gz'
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or one's share of it, is full.

    >>> is_full(OSError(28, "No space left on device")), is_full(ValueError("a: No space left"))
    (True, False)
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # As TensorStore, beneath Orbax, says it.
    return any(os.strerror(n) in str(error) for n in (errno.ENOSPC, errno.EDQUOT))


@contextlib.contextmanager
def replacing(path: str | Path, *, resumable: bool = False) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` when the block ends well.

    The temporary file stands in the same folder, under a name of this process, with the same
    ending, and is deleted where the block fails. Folders are made.

    Args:
        path: the file.
        resumable: the temporary file is ``path.part`` and stays where the block fails, so that
            another call goes on with it: one process at a time may write it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "notes" / "a.txt"
    >>> with replacing(path) as partial:
    ...     _ = partial.write_text("whole")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('whole', 1)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if resumable:
        part = path.with_name(path.name + ".part")
        with naming(path):
            yield part
            os.replace(part, path)
        return
    partial = path.with_name(_partial_name(path, os.getpid()))
    try:
        with naming(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _partial_name(path: Path, process: int | str) -> str:
    suffixes = "".join(path.suffixes[-2:])  # Writers such as nibabel's go by .nii.gz.
    return f".{path.name.removesuffix(suffixes)}.{process}{suffixes}"


def drop_partial(path: Path) -> None:
    """Delete what processes that were killed had half written of a file that is this one's."""
    before, _, after = _partial_name(path, "*").rpartition("*")
    half = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    for left in [found for found in path.parent.glob(".*") if half.fullmatch(found.name)]:
        left.unlink(missing_ok=True)


class BusyError(OSError):
    """Raised for a folder that another process is writing to."""


_owned: dict[Path, int] = {}
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def owning(folder: str | Path) -> Iterator[None]:
    """Keep a folder to this process while the block runs; what it calls may own it again.

    The lock is the system's own on the file ``.lock``, and goes with the process, however it ends:
    a file that a crash left behind locks nothing. Without ``flock`` (Windows, some network drives)
    there is none.

    Raises:
        BusyError: another process owns the folder.
        OSError: it cannot be made.
    """
    folder = Path(folder).resolve()
    if folder in _owned:
        _owned[folder] += 1
        try:
            yield
        finally:
            _owned[folder] -= 1
        return
    try:
        import fcntl
    except ImportError:  # pragma: no cover
        yield
        return
    there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if folder.is_file() else error.strerror
        raise OSError(f"the folder {folder} cannot be made ({why}): name another") from error
    path = folder / ".lock"
    try:
        opened = open(path, "a")  # noqa: SIM115
    except OSError as error:
        raise OSError(
            f"the folder {folder} cannot be written to ({error.strerror}): name another"
        ) from error
    with opened as file:
        try:
            with _unless_unknown():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed the file since it was opened: then it locks nothing.
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                raise FileNotFoundError
        except OSError:
            raise BusyError(
                f"{folder} is in use by another process that writes to it: wait for it, or choose "
                "another folder"
            ) from None
        _owned[folder] = 1
        _sweep(folder)
        try:
            yield
        finally:
            del _owned[folder]
            path.unlink(missing_ok=True)
            if not there:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # if nothing was written


@contextlib.contextmanager
def owning_in_turn(folder: str | Path, *, pause: float = 0.5) -> Iterator[None]:
    """As :func:`owning`, but wait for another process that owns the folder.

    >>> import tempfile
    >>> with owning_in_turn(Path(tempfile.mkdtemp()) / "a"):
    ...     pass
    """
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(owning(folder))
                break
            except OSError as error:
                # Its owner may have removed the folder just when this process opened the lock.
                gone = isinstance(error.__cause__, FileNotFoundError)
                if not gone and not isinstance(error, BusyError):
                    raise
            time.sleep(pause)
        yield


def _sweep(folder: Path) -> None:
    """Delete what processes that were killed had half written (`replacing`)."""
    for path in folder.glob(".*"):
        found = re.fullmatch(r"\..+\.(\d+)(\.[A-Za-z]+){0,2}", path.name)
        if found and path.is_file():
            try:
                os.kill(int(found[1]), 0)
            except ProcessLookupError:
                path.unlink(missing_ok=True)
            except (OSError, OverflowError):
                continue  # of somebody else's process, or of a number that is none


@contextlib.contextmanager
def _unless_unknown() -> Iterator[None]:
    """Let a lock pass that the file system does not know."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a text, as UTF-8, or bytes in the place of a file, all at once."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def append_line(path: str | Path, line: str) -> None:
    r"""Add a line of UTF-8 to a file of lines, whole or not at all; folders are made.

    One write under a lock, so that processes do not cut into each other's lines, on a network drive
    neither. A line before it that was cut is ended first, so that no other is lost with it.

    Raises:
        OSError: the disk is full: the file is as it was.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
    >>> for text in ("1", "2"):
    ...     append_line(path, text)
    >>> path.read_text()
    '1\n2\n'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = f"{line}\n".encode()
    with naming(path):
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            _lock(file)
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                content = b"\n" + content
            if os.write(file, content) < len(content):  # the disk was full in its midst
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(file)


def _lock(file: int) -> None:
    """Wait for the lock of a file, until it is closed; where the drive knows none there is none."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover
        return
    with _unless_unknown():
        fcntl.flock(file, fcntl.LOCK_EX)
