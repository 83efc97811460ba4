"""Predictions kept on disk, for runs that are compared with them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed._files import replacing
from jaxmed.report import to_json

WAIT = 600  # Seconds: a grid's baseline is under way while its rows train.


def store(out: Path, config: Any, fields: Sequence[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays, with the settings that decide them."""
    out.mkdir(parents=True, exist_ok=True)
    made_by = to_json({name: getattr(config, name) for name in fields}, indent=None)
    with replacing(out / "scores.npz") as partial:
        np.savez(partial, made_by=np.array(made_by), **arrays)


def stored(folder: Path, config: Any, fields: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of a finished run; one that is still under way is waited for.

    Raises:
        ValueError: if there are none, or they were made with other settings.
    """
    path = folder / "scores.npz"
    for _ in range(WAIT if folder.exists() else 0):
        if path.is_file():
            break
        time.sleep(1)
    if not path.is_file():
        raise ValueError(f"{folder} holds no finished run of the baseline: no {path.name}")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    made_by = json.loads(str(arrays.pop("made_by")))
    wanted = json.loads(to_json({name: getattr(config, name) for name in fields}))
    if made_by != wanted:
        differ = {k: (made_by.get(k), wanted[k]) for k in wanted if made_by.get(k) != wanted[k]}
        raise ValueError(f"the baseline in {folder} was made with other settings: {differ}")
    return arrays
