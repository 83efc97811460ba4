"""Checkpoints: a tree of arrays and a JSON note beside it, complete or not there at all.

All that knows of Orbax is in this file, behind :func:`save` and :func:`restore`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from jaxmed._files import is_full, write_whole
from jaxmed.core import PyTree

_FORMAT = "jaxmed 1"
_LIST = "files.json"
_NOTHING = "nothing"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message names its folder."""


class CheckpointMismatchError(CheckpointError):
    """A sound checkpoint of another run: other shapes, another seed, other data."""


class CheckpointWarning(UserWarning):
    """A checkpoint was passed over for an older one; the message names its folder."""


class Checkpoint(NamedTuple):
    """What :func:`restore` returns.

    Attributes:
        step: under which it was saved.
        state: the tree of arrays.
        note: what else was saved, as JSON keeps it.
        folder: where it was found.
    """

    step: int
    state: PyTree
    note: dict[str, Any]
    folder: Path


def save(
    folder: str | Path, step: int, state: PyTree, note: dict[str, Any], *, keep: int | None = 2
) -> Path:
    """Save a tree of arrays as ``folder/step``, then delete all but the ``keep`` latest.

    A process killed at any moment leaves either the whole checkpoint or none: it is written under
    a temporary name, and renamed when complete. In a run of several processes, all must call.

    Args:
        folder: holds one folder per checkpoint.
        step: its name; an existing one of that name is replaced.
        state: any tree of arrays: typed PRNG keys and empty arrays too.
        note: what JSON can hold, floats to the bit (infinities and NaN too).
        keep: how many to keep; ``None`` keeps all.

    Returns:
        The checkpoint's folder.

    Raises:
        OSError: the disk is full: earlier checkpoints are as they were, and nothing of this one is
            left.
    """
    folder = Path(folder).absolute()
    leaves, stored = _leaves(state), {}
    description = []
    for key, (name, leaf) in zip(_keys(leaves), leaves, strict=True):
        description.append([name, list(leaf.shape), str(leaf.dtype)])
        if leaf.size:
            stored[key] = leaf
    # Orbax writes no tree without arrays.
    stored = stored or {_NOTHING: jnp.zeros(1)}
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _room(folder, step, sum(leaf.nbytes for leaf in stored.values())),
        _quiet(),
        _checkpointer() as checkpointer,
    ):
        checkpointer.save(
            folder / str(step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(stored),
                note=ocp.args.JsonSave(
                    {"format": _FORMAT, "step": step, "leaves": description, "note": note}
                ),
            ),
            force=True,
        )
    if jax.process_index() == 0:
        _write_list(folder / str(step))
    if keep is not None and jax.process_index() == 0:
        for old in [found for found in _steps(folder) if found <= step][:-keep]:
            shutil.rmtree(folder / str(old), ignore_errors=True)
    return folder / str(step)


def latest(folder: str | Path) -> int | None:
    """The last step of which the folder has a checkpoint, sound or not; ``None`` without any.

    >>> latest("/no/such/folder") is None
    True
    """
    return max(_steps(Path(folder)), default=None)


def restore(folder: str | Path, like: PyTree, *, step: int | None = None) -> Checkpoint:
    """Restore the latest sound checkpoint of a folder.

    A checkpoint that is cut short, damaged (every file has a checksum) or somebody else's is
    passed over, with a :class:`CheckpointWarning` that says why.

    Args:
        folder: as given to :func:`save`.
        like: a tree of arrays or of their shapes, as ``jax.eval_shape`` gives; shardings in it
            are where the arrays go, so that a run may resume on other devices.
        step: which checkpoint, and no other; the latest sound one by default.

    Returns:
        The checkpoint.

    Raises:
        CheckpointMismatchError: if the latest sound one holds other arrays than ``like``; names the
            first that differs.
        CheckpointError: if there is none, or none is sound.
    """
    folder = Path(folder).absolute()
    steps = sorted(_steps(folder), reverse=True) if step is None else [step]
    if not steps:
        raise CheckpointError(f"there is no checkpoint in {folder}")
    faults = []
    for candidate in steps:
        at = folder / str(candidate)
        try:
            return _restore(at, like)
        except CheckpointMismatchError:
            raise
        except CheckpointError as error:
            faults.append(str(error))
            if len(steps) > 1:
                warnings.warn(f"{error}; looking for an older one", CheckpointWarning, stacklevel=2)
    raise CheckpointError("no checkpoint can be used: " + "; ".join(faults))


def _restore(at: Path, like: PyTree) -> Checkpoint:
    """Restore one checkpoint; any way in which it can be unsound is a CheckpointError."""
    _check_list(at)
    written, reason = _read(at, "note", ocp.args.JsonRestore())
    if reason is None and not (
        isinstance(written, dict) and {"format", "step", "leaves", "note"} <= set(written)
    ):
        reason = "no note of what it holds"
    if reason is not None:
        raise CheckpointError(
            f"the checkpoint {at} is incomplete, or is not one of jaxmed's ({reason})"
        )
    if written["format"] != _FORMAT:
        raise CheckpointError(
            f"the checkpoint {at} has the format {written['format']!r}, not {_FORMAT!r}"
        )
    described = written["leaves"]
    wanted = _leaves(like)
    _compare(at, described, wanted)
    # Without a sharding Orbax puts arrays where they were saved, devices that may be absent now.
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    keys = _keys(wanted)
    shapes = {
        key: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or here
        )
        for key, (_, leaf) in zip(keys, wanted, strict=True)
        if leaf.size
    }
    shapes = shapes or {_NOTHING: jax.ShapeDtypeStruct((1,), jnp.float32, sharding=here)}
    arrays, reason = _read(at, "state", ocp.args.StandardRestore(shapes))
    if reason is not None:
        raise CheckpointError(f"the checkpoint {at} cannot be read ({reason})")
    leaves = [
        arrays[key] if leaf.size else jnp.zeros(leaf.shape, leaf.dtype)
        for key, (_, leaf) in zip(keys, wanted, strict=True)
    ]
    state = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return Checkpoint(written["step"], state, written["note"], at)


@contextlib.contextmanager
def _room(folder: Path, step: int, size: int) -> Iterator[None]:
    """Tell of a full disk as the system does, and free what was written in vain.

    What cannot fit is not begun, for Orbax's threads are loud when they fail.
    """
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    if jax.process_count() == 1 and shutil.disk_usage(folder).free < size:
        raise full
    try:
        yield
    except Exception as error:
        for left in folder.glob(f"{step}.orbax-checkpoint-tmp*"):
            shutil.rmtree(left, ignore_errors=True)
        if not is_full(error):
            raise
        # Writes of the same checkpoint that failed too are told at any later time.
        logging.getLogger("asyncio").addFilter(_of_other_than_a_full_disk)
        raise full from None


def _of_other_than_a_full_disk(record: logging.LogRecord) -> bool:
    return not (record.exc_info and record.exc_info[1] and is_full(record.exc_info[1]))


def _read(at: Path, item: str, args: Any) -> tuple[Any, str | None]:
    """An item of a checkpoint, or why it cannot be read."""
    with _quiet(), _checkpointer() as checkpointer, warnings.catch_warnings():
        # On an error Orbax leaves reads that were under way to the garbage collector, which then
        # complains.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        try:
            return checkpointer.restore(at, args=ocp.args.Composite(**{item: args}))[item], None
        except Exception as error:  # Orbax and TensorStore raise all sorts.
            first = (str(error).splitlines() or [""])[0]
            reason = f"{type(error).__name__}: {first[:200]}"
        gc.collect()
    return None, reason


def _compare(at: Path, described: list, wanted: list) -> None:
    """Refuse a checkpoint of other arrays, naming the first that differs."""
    saved = {name: (tuple(shape), dtype) for name, shape, dtype in described}
    asked = {name: (tuple(leaf.shape), str(leaf.dtype)) for name, leaf in wanted}
    for name in [*asked, *saved]:
        old, new = saved.get(name), asked.get(name)
        if old != new:
            describe = lambda x: "absent" if x is None else f"{x[1]} {x[0]}"  # noqa: E731
            raise CheckpointMismatchError(
                f"the checkpoint {at} is of another configuration: {name} is {describe(old)} in it "
                f"and {describe(new)} in this run. Run in another folder, or start afresh "
                f"(resume=False)"
            )


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.CompositeCheckpointHandler())


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def _leaves(tree: PyTree) -> list[tuple[str, Any]]:
    """Arrays, or their shapes, by path."""
    return [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree.flatten_with_path(tree)[0]
    ]


def _keys(leaves: list[tuple[str, Any]]) -> list[str]:
    """A flat name of each: Orbax refuses some structures, and takes "/" for nesting."""
    return [f"{i:05d}.{name.replace('/', '.')}" for i, (name, _) in enumerate(leaves)]


def _write_list(at: Path) -> None:
    """Note the size and checksum of each file of a checkpoint.

    A process killed before this leaves a sound checkpoint without the list.
    """
    files = {str(path.relative_to(at)): _checksum(path) for path in at.rglob("*") if path.is_file()}
    write_whole(at / _LIST, json.dumps(files))


def _check_list(at: Path) -> None:
    """Refuse a checkpoint whose files are not those that were written.

    Orbax, given files that are cut short, fails in its own threads too, with noise.
    """
    if not (at / _LIST).exists():
        return
    try:
        files = dict(json.loads((at / _LIST).read_text()))
    except ValueError:
        files = {_LIST: None}
    for name, written in files.items():
        if not (at / name).exists():
            raise CheckpointError(f"the checkpoint {at} is incomplete: its file {name} is missing")
        if _checksum(at / name) != written:
            raise CheckpointError(f"the checkpoint {at} is damaged: its file {name} has changed")


def _checksum(path: Path) -> list[int]:
    checksum = size = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            checksum, size = zlib.crc32(block, checksum), size + len(block)
    return [size, checksum]


class _quiet:
    """Without Orbax's own log lines: warnings about its defaults, and errors that it raises too."""

    def __enter__(self) -> None:
        self._level = logging.getLogger("absl").level
        logging.getLogger("absl").setLevel(logging.CRITICAL)

    def __exit__(self, *error: object) -> None:
        logging.getLogger("absl").setLevel(self._level)
