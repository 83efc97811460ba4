"""fit: the training loop."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxmed.core import Key, Learner, LearnerState
from jaxmed.train import _checkpoint
from jaxmed.train._checkpoint import CheckpointMismatchError
from jaxmed.train._devices import data_mesh, place_batch
from jaxmed.train._loggers import Logger, jsonl, tensorboard
from jaxmed.train._nonfinite import NonFiniteLossError, cases_of
from jaxmed.train._program import Report, abstract, program
from jaxmed.train._progress import Mode, Progress, close_epoch, judge, observe
from jaxmed.train._runners import scanned, stepwise

_LAG = 8  # Steps by which the host's look at the metrics trails the device.
_PAUSE = 60.0  # Seconds between checkpoints, unless checkpoint_every says otherwise.


class FitResult(NamedTuple):
    """What :func:`fit` returns.

    Attributes:
        state: after the last step.
        best_state: at the best evaluation by ``monitor``; ``state`` without any.
        history: one record an epoch: ``epoch``, ``step``, ``seconds``, ``train/...`` and the
            names that ``evaluate`` gave.
        best: the record of the best evaluation, or ``None``.
        step: steps made.
        stopped: ``"end"`` or ``"patience"``.
        seconds: of training and evaluation, all runs together.
    """

    state: LearnerState
    best_state: LearnerState
    history: tuple[dict[str, Any], ...]
    best: dict[str, Any] | None
    step: int
    stopped: str
    seconds: float


def fit(
    learner: Learner,
    batches: Any,
    *,
    key: Key | None = None,
    seed: int = 0,
    epochs: int | None = None,
    steps: int | None = None,
    state: LearnerState | None = None,
    evaluate: Callable[[LearnerState], dict[str, Any]] | None = None,
    evaluate_every: int = 1,
    monitor: str = "auc",
    mode: Mode = "max",
    patience: int | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    checkpoint_every: int | None = None,
    keep: int = 2,
    devices: int | Sequence[jax.Device] | None = None,
    mesh: Mesh | None = None,
    shard_parameters: bool = False,
    compile_epochs: bool = False,
    progress: bool = True,
    loggers: Sequence[Logger] | None = None,
    log_every: int | None = None,
) -> FitResult:
    """Train a learner; stop early, keep the best, resume exactly.

    Args:
        learner: any learner.
        batches: as :func:`jaxmed.data.batches` makes them, or any object with ``len(b)`` (steps an
            epoch), ``b[step]`` (the batch of a step, a pure function of it) and ``b.iterate(start)``.
        key: of the run; ``jax.random.key(seed)`` by default.
        seed: see ``key``.
        epochs: how long to train; this or ``steps``.
        steps: how long to train; this or ``epochs``.
        state: to begin with instead of ``learner.init(key, batches[0])``. It is copied.
        evaluate: ``(state) -> {name: number}``, run every ``evaluate_every`` epochs and at the end.
            It must not keep the state, whose arrays the next step overwrites.
        evaluate_every: epochs.
        monitor: the name, of those that ``evaluate`` returns or of ``train/...``, that is watched
            for the best state and for ``patience``. Without ``evaluate`` only if it is
            ``train/...``.
        mode: whether the best is the greatest (``"max"``) or the least (``"min"``).
        patience: stop after so many evaluations without a better one.
        out: the folder for checkpoints and logs; without it nothing is written.
        resume: whether to go on from the checkpoints in ``out``, if there are. If not, they are
            deleted.
        checkpoint_every: steps; by default at the first end of an epoch a minute after the last
            one, and at the end.
        keep: how many checkpoints to keep, beside the best one.
        devices: how many, or which, to share each batch among; the default device alone by default,
            all of them in a run of several processes.
        mesh: as :func:`data_mesh` makes it, instead of ``devices``.
        shard_parameters: whether large parameters are shared out over the devices too.
        compile_epochs: whether to keep the data on the device and make each epoch one program.
            Same numbers, without the host's share of the time. For data that fit, and batches
            that are cut from arrays without a transform on the host.
        progress: whether to show a bar, with rate and time to go, where there is a terminal.
        loggers: where records go; by default ``out/metrics.jsonl`` and ``out/tensorboard``.
        log_every: steps between records of single steps; by default only epochs are logged.

    Returns:
        The result.

    Raises:
        NonFiniteLossError: if a step's loss or parameters are not finite. It carries the state as
            it was before that step, which is saved in ``out/halted``.
        CheckpointError: if there are checkpoints to resume from, and none can be used; or if they
            are of another configuration, seed or data.
        ValueError: if the arguments contradict each other, a batch does not divide over the
            devices, or batches change shape.

    References:
        Bitwise resumption holds on CPU; on GPU with ``--xla_gpu_deterministic_ops=true``.
    """
    per_epoch = len(batches)
    total = _total(epochs, steps, per_epoch)
    _check_monitor(monitor, mode, patience, evaluate)
    key = jax.random.key(seed) if key is None else key
    mesh = _mesh(mesh, devices)
    local = mesh is not None and getattr(batches, "shard", (0, 1))[1] > 1
    folder = None if out is None else Path(out)
    begun = time.monotonic()

    first = place_batch(batches[0], mesh, local=local)
    compiled = program(learner, key, first, mesh=mesh, shard_parameters=shard_parameters)
    identity = {"steps_per_epoch": per_epoch, "key": np.asarray(jax.random.key_data(key)).tolist()}
    at, best_state = Progress(), None
    if folder is not None and not resume:
        _clear(folder)
    if folder is not None and _checkpoint.latest(folder / "checkpoints") is not None:
        like = abstract(jax.eval_shape(learner.init, key, first), compiled.shardings)
        found = _checkpoint.restore(folder / "checkpoints", like)
        at = _same_run(found, identity)
        state = found.state
        if at.best is not None:
            best = _checkpoint.restore(folder / "best", like, step=at.best["step"])
            best_state = compiled.copy(best.state)
    elif state is None:
        state = compiled.init(key, first)
    carry = compiled.begin(state)
    del state
    earlier, saved = at.seconds, time.monotonic()

    def seconds() -> float:
        return round(earlier + time.monotonic() - begun, 3)

    def save(name: str, state: LearnerState, keep: int) -> Path | None:
        if folder is None:
            return None
        note = {"progress": at._replace(seconds=seconds())._asdict(), **identity}
        return _checkpoint.save(folder / name, at.step, state, note, keep=keep)

    def read(steps: int, report: Report) -> None:
        """Take in what the device reported of some steps."""
        nonlocal at
        report = jax.device_get(report)
        if steps == 1 and np.ndim(report.halted) == 0:
            report = jax.tree.map(lambda x: x[None], report)
        for i in range(steps):
            metrics = {name: float(value[i]) for name, value in report.metrics.items()}
            if report.halted[i]:
                kept = save("halted", carry.state, keep=1)
                cases = cases_of(batches, at.step)
                raise NonFiniteLossError(at.step, metrics, cases, carry.state, kept)
            at = observe(at._replace(step=at.step + 1), metrics, float(report.count[i]))
            if log_every and at.step % log_every == 0:
                write({"step": at.step, **{f"step/{name}": x for name, x in metrics.items()}})

    def write(record: dict[str, Any]) -> None:
        for logger in loggers:
            logger.write(record)

    if loggers is None:
        loggers = []
        if folder is not None:
            loggers = [jsonl(folder / "metrics.jsonl"), tensorboard(folder / "tensorboard")]
    if jax.process_index() != 0:
        loggers = []

    with contextlib.ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
            logger.start(at.step)
        bar = stack.enter_context(
            tqdm(total=total, initial=at.step, unit="step", disable=None if progress else True)
        )
        runner = scanned if compile_epochs else stepwise
        run = stack.enter_context(runner(compiled, batches, at.step, mesh, local=local))
        while at.step < total and at.stopped is None:
            epoch = at.step // per_epoch + 1
            stop = min(total, epoch * per_epoch)
            if checkpoint_every:
                stop = min(stop, (at.step // checkpoint_every + 1) * checkpoint_every)
            pending: deque[tuple[int, Report]] = deque()
            for carry, made, report in run(carry, at.step, stop):
                pending.append((made, report))
                bar.update(made)
                if len(pending) > _LAG:
                    read(*pending.popleft())
            while pending:
                read(*pending.popleft())
            ended = at.step == total
            if ended or at.step % per_epoch == 0:
                evaluated = {}
                if evaluate is not None and (ended or epoch % evaluate_every == 0):
                    evaluated = _numbers(evaluate(carry.state))
                at = close_epoch(at, epoch, seconds(), evaluated)
                record = at.history[-1]
                if evaluated or monitor.startswith("train/"):
                    _has(record, monitor)
                    at, improved = judge(at, monitor, mode)
                    if improved:
                        best_state = compiled.copy(carry.state)
                        save("best", carry.state, keep=2)
                write(record)
                bar.set_postfix(_shown(record, monitor))
            if patience is not None and at.waited >= patience:
                at = at._replace(stopped="patience")
            due = time.monotonic() - saved > _PAUSE and at.step % per_epoch == 0
            if checkpoint_every:
                due = at.step % checkpoint_every == 0
            if due or ended or at.stopped:
                save("checkpoints", carry.state, keep=keep)
                saved = time.monotonic()
    return FitResult(
        state=carry.state,
        best_state=carry.state if best_state is None else best_state,
        history=at.history,
        best=at.best,
        step=at.step,
        stopped=at.stopped or "end",
        seconds=seconds(),
    )


def _total(epochs: int | None, steps: int | None, per_epoch: int) -> int:
    if (epochs is None) == (steps is None):
        raise ValueError("fit needs either epochs or steps")
    total = epochs * per_epoch if steps is None else steps
    if total < 1:
        raise ValueError(f"fit needs at least one step, got epochs={epochs}, steps={steps}")
    return total


def _check_monitor(monitor: str, mode: str, patience: int | None, evaluate: Any) -> None:
    if mode not in ("max", "min"):
        raise ValueError(f"mode must be 'max' or 'min', got {mode!r}")
    if patience is not None and evaluate is None and not monitor.startswith("train/"):
        raise ValueError(
            f"patience needs evaluate= to give {monitor!r}, or a monitor such as 'train/loss'"
        )


def _has(record: dict[str, Any], monitor: str) -> None:
    if monitor not in record:
        names = sorted(set(record) - {"epoch", "step", "seconds"})
        raise ValueError(f"there is no metric monitor={monitor!r} to judge by; there are {names}")


def _mesh(mesh: Mesh | None, devices: int | Sequence[jax.Device] | None) -> Mesh | None:
    if mesh is not None and devices is not None:
        raise ValueError("fit takes a mesh or devices, not both")
    if devices is not None:
        if isinstance(devices, int):
            return data_mesh(devices)
        return data_mesh(devices=devices)
    if mesh is None and jax.process_count() > 1:
        return data_mesh()
    return mesh


def _clear(folder: Path) -> None:
    if jax.process_index() == 0:
        for name in ("checkpoints", "best", "halted", "tensorboard"):
            shutil.rmtree(folder / name, ignore_errors=True)


def _same_run(found: _checkpoint.Checkpoint, identity: dict[str, Any]) -> Progress:
    """The progress noted in a checkpoint, if it is one of this run."""
    for name, wanted in identity.items():
        if found.note.get(name) != wanted:
            raise CheckpointMismatchError(
                f"the checkpoint {found.folder} is of another run: {name} was "
                f"{found.note.get(name)} and is {wanted}. Run in another folder, or start afresh "
                f"(resume=False)"
            )
    at = Progress.from_json(found.note["progress"])
    return at


def _numbers(evaluated: dict[str, Any]) -> dict[str, float]:
    """Named numbers as floats; an estimate with an interval counts by its value."""
    return {name: float(getattr(value, "value", value)) for name, value in evaluated.items()}


def _shown(record: dict[str, Any], monitor: str) -> dict[str, Any]:
    names = ("epoch", "train/loss", monitor)
    return {name: record[name] for name in names if name in record}
