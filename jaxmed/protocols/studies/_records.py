"""Files of a study: its identity, and one record per completed training."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed._files import drop_partial, write_whole
from jaxmed.data import DataError, Fault


def open_folder(folder: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Create a new folder, or resume in one of the same study.

    What the folder does not know yet is not compared but noted: the settings of learners, where
    there were procedures alone, or what earlier versions did not record.

    Raises:
        ValueError: if the folder belongs to another study.
        DataError: if `study.json` cannot be read.
    """
    path = folder / "study.json"
    if path.exists() and resume:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise DataError.of([Fault(str(path), "readable", "it is no JSON")]) from None
        if not isinstance(found, dict):
            raise DataError.of([Fault(str(path), "readable", "it is no record of a study")])
        differ = [name for name in identity if name in found and found[name] != identity[name]]
        if differ:
            name = differ[0]
            raise ValueError(
                f"{folder} holds another study: {name} was {_short(found[name])} and is "
                f"{_short(identity[name])} now. Give another folder, or resume=False"
            )
        if identity.keys() - found:
            write_whole(path, (json.dumps({**found, **identity}, indent=2) + "\n").encode())
        return
    for record in (folder / "replicates").glob("*.npz"):
        record.unlink()
    shutil.rmtree(folder / "running", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(identity, indent=2) + "\n").encode())


def read_record(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the record of a training, if it has ended.

    Raises:
        DataError: if the record cannot be read.
    """
    path = _path(folder, name)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return {**json.loads(str(file["note"])), "outputs": file["outputs"]}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError.of(
            [Fault(str(path), "readable", f"{error}; delete it to train anew")]
        ) from None


def write_record(folder: Path, name: str, record: dict[str, Any]) -> None:
    """Write the record of a completed training atomically."""
    buffer = io.BytesIO()
    note = {key: value for key, value in record.items() if key != "outputs"}
    np.savez_compressed(buffer, outputs=record["outputs"], note=json.dumps(note))
    path = _path(folder, name)
    path.parent.mkdir(exist_ok=True)
    drop_partial(path)  # One process at a time makes a training.
    write_whole(path, buffer.getvalue())


def running(folder: Path, name: str) -> Path:
    """Return the folder of a training that has not ended."""
    return folder / "running" / _plain(name)


def claim(folder: Path, name: str) -> Path:
    """Return the folder that the process owns which makes a training, of several in one study."""
    return folder / "claims" / _plain(name)


def _path(folder: Path, name: str) -> Path:
    return folder / "replicates" / f"{_plain(name)}.npz"


def _plain(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    if plain != name:  # two names may be sanitised to the same one
        plain += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return plain


def digest(*values: Any) -> str:
    """Compute a short digest of arrays and plain values, the same in every process."""
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray) and value.dtype.kind != "O":
            found.update(str((value.shape, value.dtype.str)).encode())
            found.update(np.ascontiguousarray(value).tobytes())
        else:
            found.update(repr(value).encode())
    return found.hexdigest()[:16]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."
