"""The folder that a command writes to: its own while it runs, and no training's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from jaxmed._files import owning

# What a training and a saved model leave: pages and tables beside them are theirs.
_OF_A_RUN = ("config.json", "model.json", "generator.json", "network.json")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Keep a folder to this process while the block writes pages and tables to it.

    Raises:
        ValueError: it is the folder of a training or of a model, whose own would be replaced.
        OSError: another process owns it, or it cannot be made.
    """
    refuse_run(folder)
    with owning(folder):
        yield


def refuse_run(folder: Path) -> None:
    """Refuse the folder of a training or of a model.

    Raises:
        ValueError: says by which file it is known.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> refuse_run(folder)
    >>> (folder / "model.json").touch()
    >>> refuse_run(folder)
    Traceback (most recent call last):
    ValueError: ... is the folder of a training or a model (it has model.json), ...
    """
    for name in _OF_A_RUN:
        if (folder / name).exists():
            raise ValueError(
                f"{folder} is the folder of a training or a model (it has {name}), whose own "
                "pages and tables would be replaced: name another folder"
            )
