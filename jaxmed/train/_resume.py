"""What a run finds in its folder, and what it leaves there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxmed.core import Batch, Key, Learner, LearnerState
from jaxmed.train import _checkpoint
from jaxmed.train._checkpoint import Checkpoint, CheckpointError, CheckpointMismatchError
from jaxmed.train._identity import differences
from jaxmed.train._program import Program, abstract
from jaxmed.train._progress import Progress

Save = Callable[[str, int, LearnerState, Progress, int], Path | None]
"""``(name, step, state, progress, keep)`` saves in ``folder/name/step``."""


def saver(folder: Path | None, shared: dict[str, Any]) -> Save:
    """The function that saves a run's state; it does nothing without a folder."""

    def save(name: str, step: int, state: LearnerState, at: Progress, keep: int) -> Path | None:
        if folder is None:
            return None
        note = {"progress": at._asdict(), **shared}
        return _checkpoint.save(folder / name, step, state, note, keep=keep)

    return save


def clear(folder: Path) -> None:
    """Delete what an earlier run left, for one that starts afresh."""
    if jax.process_index() == 0:
        for name in ("checkpoints", "best", "halted", "tensorboard"):
            shutil.rmtree(folder / name, ignore_errors=True)


def load(
    folder: Path | None,
    shared: dict[str, Any],
    learner: Learner,
    compiled: Program,
    key: Key,
    batch: Batch,
) -> tuple[LearnerState, LearnerState | None, Progress] | None:
    """The state, the best state and the progress to go on from, if there are checkpoints."""
    if folder is None or _checkpoint.latest(folder / "checkpoints") is None:
        return None
    like = abstract(jax.eval_shape(learner.init, key, batch), compiled.shardings)
    try:
        found = _checkpoint.restore(folder / "checkpoints", like)
    except CheckpointMismatchError:
        raise
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. To begin anew, delete {folder / 'checkpoints'} or give resume=False"
        ) from error
    _check_shared(found, shared)
    at = Progress.from_json(found.note["progress"])
    # What a killed run saved as its best after this checkpoint comes again.
    _forget(folder / "best", after=-1 if at.best is None else at.best["step"])
    if at.best is None:
        return found.state, None, at
    try:
        best = _checkpoint.restore(folder / "best", like, step=at.best["step"])
    except CheckpointMismatchError:
        raise
    except CheckpointError as error:
        raise CheckpointError(
            f"the run in {found.folder} can go on, but its best state is lost: {error}. To go on "
            f"without it, give the state that jaxmed.train.restore reads to fit(state=)"
        ) from error
    return found.state, best.state, at


def _forget(folder: Path, *, after: int) -> None:
    if jax.process_index() == 0 and folder.is_dir():
        for path in folder.iterdir():
            if path.name.isdecimal() and int(path.name) > after:
                shutil.rmtree(path)


def _check_shared(found: Checkpoint, shared: dict[str, Any]) -> None:
    if changed := differences(found.note, shared):
        raise CheckpointMismatchError(
            f"the checkpoint {found.folder} is of another run: {'; '.join(changed)}. Run in "
            f"another folder, or start afresh (resume=False)"
        )
