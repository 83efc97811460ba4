"""Whole files: written so that a reader finds the old one or the new one, never a half.

Pure Python: every subpackage may use it, those that stand without JAX too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


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
        yield part
        os.replace(part, path)
        return
    suffixes = "".join(path.suffixes[-2:])  # Writers such as nibabel's go by .nii.gz.
    partial = path.with_name(f".{path.name.removesuffix(suffixes)}.{os.getpid()}{suffixes}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a text, as UTF-8, or bytes in the place of a file, all at once."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
