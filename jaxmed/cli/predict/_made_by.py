"""Which model made the results in a folder, so that `--resume` never mixes those of two."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmed._files import write_whole
from jaxmed.inference import ImageModel, Segmenter, describe

_FILE = ".made_by.json"


class MadeBy:
    """The results in a folder that this model, asked in this way, has made.

    The folder's note is written before the first result, and anew for another model: what is older
    than the note was made by another, also where a later call was cut.
    """

    def __init__(
        self, folder: Path, model: Segmenter | ImageModel, *asked: Any, resume: bool
    ) -> None:
        """Read the folder's note, and write this model's in its place unless it is the same.

        Args:
            folder: of the results.
            model: that makes them.
            *asked: what else decides them.
            resume: whether results that are there may stay.
        """
        self._note = folder / _FILE
        digest = _digest(model, asked)
        try:
            same = json.loads(self._note.read_text(encoding="utf-8"))["model"] == digest
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        self._resume, self._tell = resume and same, resume
        if not self._resume:
            write_whole(self._note, json.dumps({"model": digest}) + "\n")

    def has(self, result: Path) -> bool:
        """Whether a result is there and may stay."""
        if not result.exists():
            return False
        ours = self._resume and result.stat().st_mtime_ns >= self._note.stat().st_mtime_ns
        if self._tell and not ours:
            print(f"note: {result} was not made by this model with these options: such results are "
                  "made anew")  # fmt: skip
            self._tell = False
        return ours


def _digest(model: Segmenter | ImageModel, asked: tuple[Any, ...]) -> str:
    found = hashlib.sha256(repr(asked).encode())
    one: Segmenter | ImageModel | None = model
    while one is not None:
        found.update(json.dumps(describe(one.recipe), sort_keys=True).encode())
        leaves, _ = jax.tree.flatten_with_path((one.params, one.state))
        for path, leaf in leaves:
            found.update(jax.tree_util.keystr(path).encode())
            found.update(np.ascontiguousarray(leaf).tobytes())
        one = one.before if isinstance(one, Segmenter) else None
    return found.hexdigest()[:32]
