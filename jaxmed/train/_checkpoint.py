"""Checkpoints: a tree of arrays and a JSON note beside it, complete or not there at all.

All that knows of Orbax is in this file, behind :func:`save` and :func:`restore`.
"""

from __future__ import annotations

import logging
import shutil
import warnings
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxmed.core import PyTree

_FORMAT = "jaxmed 1"


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
        folder: holds one folder a checkpoint.
        step: its name; an existing one of that name is replaced.
        state: any tree of arrays: typed PRNG keys and empty arrays too.
        note: what JSON can hold, floats to the bit (infinities and NaN too).
        keep: how many to keep; ``None`` keeps all.

    Returns:
        The checkpoint's folder.
    """
    folder = Path(folder).absolute()
    leaves, stored = _leaves(state), {}
    description = []
    for key, (name, leaf) in zip(_keys(leaves), leaves, strict=True):
        description.append([name, list(leaf.shape), str(leaf.dtype), _digest(leaf)])
        if leaf.size:
            stored[key] = leaf
    folder.mkdir(parents=True, exist_ok=True)
    with _quiet(), _checkpointer() as checkpointer:
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

    A checkpoint that is cut short, damaged (every array has a checksum) or somebody else's is
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
    try:
        with _quiet(), _checkpointer() as checkpointer:
            found = checkpointer.restore(at, args=ocp.args.Composite(note=ocp.args.JsonRestore()))
        written = found["note"]
        ours = isinstance(written, dict) and written["format"] == _FORMAT
        described, note, step = written["leaves"], written["note"], written["step"]
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint {at} is incomplete, or is not one of jaxmed's ({_brief(error)})"
        ) from error
    if not ours:
        raise CheckpointError(f"the checkpoint {at} has the format {written['format']!r}")
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
    try:
        with _quiet(), _checkpointer() as checkpointer:
            arrays = checkpointer.restore(
                at, args=ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
            )["state"]
    except Exception as error:
        raise CheckpointError(f"the checkpoint {at} cannot be read ({_brief(error)})") from error
    leaves = []
    for key, (name, leaf), (_, _, _, digest) in zip(keys, wanted, described, strict=True):
        array = arrays[key] if leaf.size else jnp.zeros(leaf.shape, leaf.dtype)
        if digest is not None and _digest(array) not in (digest, None):
            raise CheckpointError(f"the checkpoint {at} is damaged: wrong checksum of {name}")
        leaves.append(array)
    state = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return Checkpoint(step, state, note, at)


def _compare(at: Path, described: list, wanted: list) -> None:
    """Refuse a checkpoint of other arrays, naming the first that differs."""
    saved = {name: (tuple(shape), dtype) for name, shape, dtype, _ in described}
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


def _digest(leaf: Any) -> int | None:
    """The CRC-32 of an array's bytes; ``None`` where this process has not all of them."""
    if isinstance(leaf, jax.Array):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if leaf.is_fully_replicated:
            leaf = leaf.addressable_data(0)
        if not leaf.is_fully_addressable:
            return None
    return zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


class _quiet:
    """Without Orbax's own log lines, some of which are warnings about its defaults."""

    def __enter__(self) -> None:
        self._level = logging.getLogger("absl").level
        logging.getLogger("absl").setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        logging.getLogger("absl").setLevel(self._level)
