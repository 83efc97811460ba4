"""Folders of models that others made: what is in them is data, and nothing outside is read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


class ModelError(ValueError):
    """Raised for a folder without a model, or a model that cannot be saved; says why."""


# What a traceback shows is the name a user can import.
ModelError.__module__ = "jaxmed.inference"


def check_links(folder: str | os.PathLike, *names: str) -> None:
    """Refuse links that lead out of a model's folder, or in circles.

    Whoever made the folder would otherwise choose which file of this computer is read. The folder
    itself may be a link.

    Args:
        folder: of the model.
        *names: the files and folders in it that are read.

    Raises:
        ModelError: names the first such link.
    """
    root = Path(folder).resolve()
    for name in names:
        top = root / name
        below = sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else []
        for path in (top, *below):
            if not path.is_symlink():
                continue
            try:
                inside = path.resolve(strict=True).is_relative_to(root)
            except (OSError, RuntimeError):  # of nothing, or a circle
                inside = False
            if not inside:
                raise ModelError(
                    f"{Path(folder) / path.relative_to(root)} is a link out of the model's folder: "
                    "put what it leads to in its place, if it is to be trusted"
                )


@contextlib.contextmanager
def describing(path: Path, what: str) -> Iterator[None]:
    """Convert any exception of reading a description into a model error that names its file.

    Any exception means that it describes nothing: numbers and names at random have raised all
    kinds, from ``OverflowError`` to ``RecursionError``.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        told = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ModelError(f"{path} does not describe {what}: {told}") from error
