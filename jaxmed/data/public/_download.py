"""Data folders, and resumable, checked, atomic downloads."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from jaxmed._files import replacing
from jaxmed.data._error import DataError, fault

_CHUNK = 1 << 20


def cache_root() -> Path:
    """Return the user's cache folder, where downloads are stored."""
    if sys.platform == "win32":  # pragma: no cover
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":  # pragma: no cover
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jaxmed"


def data_root() -> Path:
    """Return the folder data are read from: ``JAXMED_DATA``, or else the user's cache folder."""
    named = os.environ.get("JAXMED_DATA")
    return Path(named).expanduser() if named else cache_root()


def md5sum(path: str | os.PathLike) -> str:
    """Compute the MD5 of a file as hexadecimal digits, cached while the file does not change."""
    status = os.stat(path)
    return _md5sum(os.fspath(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _md5sum(path: str, size: int, changed: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(
    url: str,
    path: str | os.PathLike,
    *,
    md5: str | None = None,
    retries: int = 4,
    wait: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Download a file unless it exists, resuming an interrupted transfer.

    Partial data are kept as ``path.part``, so that the next attempt, or the next process, requests
    only the rest (HTTP ``Range``). The file is renamed when it is complete and its MD5 matches.

    Args:
        url: what to download.
        path: where to put it.
        md5: expected MD5 in hexadecimal digits.
        retries: number of retries of a failed transfer.
        wait: seconds before the first retry; doubled each time.
        timeout: seconds of silence after which a connection counts as cut.

    Returns:
        ``path``.

    Raises:
        DataError: the content has another MD5, twice; nothing is left behind then.
        OSError: the transfer failed every time; what arrived is kept for the next call.
    """
    path = Path(path)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    with _locked(lock):
        if path.exists():  # another process finished while this one waited
            return path
        # Twice: a wrong sum may come from a stale beginning that an earlier process left.
        with contextlib.suppress(DataError):
            _whole(url, path, md5, retries=retries, wait=wait, timeout=timeout)
        if not path.exists():
            _whole(url, path, md5, retries=retries, wait=wait, timeout=timeout)
        lock.unlink(missing_ok=True)
    return path


def _whole(url: str, path: Path, md5: str | None, **options: Any) -> None:
    """Download a file, which appears when it is complete and its sum is right.

    Raises:
        DataError: the content has another MD5; it is deleted.
    """
    with replacing(path, resumable=True) as part:
        _transfer(url, part, **options)
        got = md5sum(part) if md5 else None
        if got != md5:
            part.unlink()
            raise fault(path, "checksum", f"{url} gave a file with MD5 {got}, expected {md5}")


def _transfer(url: str, part: Path, *, retries: int, wait: float, timeout: float) -> None:
    for attempt in range(retries + 1):
        have = part.stat().st_size if part.exists() else 0
        headers = {"User-Agent": "jaxmed", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=timeout) as response:
                _receive(response, part, have)
            return
        except urllib.error.HTTPError as error:
            with error:  # a response with a body, to be closed
                if error.code == 416:  # nothing after what we have: it is whole, or not that file
                    if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                        return
                    part.unlink()
                elif error.code < 500 and error.code not in (408, 429):
                    raise OSError(
                        f"{url}: the server answered {error.code} {error.reason}"
                    ) from None
                failure: Exception = OSError(f"{url}: HTTP {error.code} {error.reason}")
        except (OSError, HTTPException) as error:
            failure = error
        if attempt == retries:
            raise OSError(f"{url}: {failure} (after {retries + 1} tries)") from failure
        time.sleep(wait * 2**attempt)


def _receive(response: HTTPResponse, part: Path, have: int) -> None:
    resumed = response.status == 206
    length = response.headers.get("Content-Length")
    expected = None if length is None else int(length) + (have if resumed else 0)
    with open(part, "ab" if resumed else "wb") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
        size = file.tell()
    if expected is not None and size < expected:
        raise OSError(f"the connection was cut after {size} of {expected} bytes")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time download a file, unlocked on systems without flock."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield
