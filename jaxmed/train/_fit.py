"""fit: the training loop."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Device
from jax.sharding import Mesh
from tqdm import tqdm

from jaxmed.core import Key, Learner, LearnerState
from jaxmed.train._arguments import check_options, has_metric, total_steps
from jaxmed.train._devices import choose_mesh, place_batch
from jaxmed.train._loggers import Logger, jsonl, tensorboard
from jaxmed.train._nonfinite import NonFiniteLossError, cases_of
from jaxmed.train._program import Carry, Report, program
from jaxmed.train._progress import Mode, Progress, close_epoch, judge, observe
from jaxmed.train._resume import clear, identity, load, saver
from jaxmed.train._runners import scanned, stepwise

_log = logging.getLogger("jaxmed.train")
_LAG = 8  # Steps by which the host's look at the metrics trails the device.
_PAUSE = 60.0  # Seconds between checkpoints, unless checkpoint_every says otherwise.


class FitResult(NamedTuple):
    """What :func:`fit` returns.

    Attributes:
        state: after the last step.
        best_state: at the best evaluation by ``monitor``; ``state`` without any.
        history: one record per epoch: ``epoch``, ``step``, ``seconds``, ``train/...`` and the
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
    devices: int | Sequence[Device] | None = None,
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
        batches: as :func:`jaxmed.data.batches` makes them, or any object with ``len(b)``, the steps
            of an epoch, ``b[step]``, the batch of a step and a pure function of it, and
            ``b.iterate(start)``.
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
    total = total_steps(epochs, steps, per_epoch)
    check_options(
        monitor=monitor,
        mode=mode,
        patience=patience,
        evaluate=evaluate,
        at_least_one={
            "evaluate_every": evaluate_every,
            "keep": keep,
            "checkpoint_every": checkpoint_every,
            "log_every": log_every,
        },
    )
    key = jax.random.key(seed) if key is None else key
    mesh = choose_mesh(mesh, devices)
    local = mesh is not None and getattr(batches, "shard", (0, 1))[1] > 1
    folder = None if out is None else Path(out)
    begun = time.monotonic()

    first = place_batch(batches[0], mesh, local=local)
    compiled = program(learner, key, first, mesh=mesh, shard_parameters=shard_parameters)
    shared = identity(key, per_epoch)
    save = saver(folder, shared)
    if folder is not None and not resume:
        clear(folder)
    at, best_state = Progress(), None
    found = load(folder, shared, learner, compiled, key, first)
    if found is not None:
        state, best_state, at = found
    elif state is None:
        state = compiled.init(key, first)
    carry = compiled.begin(state)
    del state, found
    earlier = at.seconds
    saved_best = None if at.best is None else at.best["step"]

    def seconds() -> float:
        return round(earlier + time.monotonic() - begun, 3)

    if loggers is None:
        loggers = []
        if folder is not None:
            loggers = [jsonl(folder / "metrics.jsonl"), tensorboard(folder / "tensorboard")]
    if jax.process_index() != 0 or at.step >= total or at.stopped is not None:
        loggers = []

    def write(record: dict[str, Any]) -> None:
        for logger in loggers:
            logger.write(record)

    def save_best() -> None:
        """Save the best state, if it is not: before the checkpoint that speaks of it.

        Only then, so that each of the checkpoints kept finds the one it speaks of.
        """
        nonlocal saved_best
        if at.best is not None and at.best["step"] != saved_best:
            saved_best = at.best["step"]
            save("best", saved_best, best_state, at, keep + 1)

    def take_in(report: Report, carry: Carry, at: Progress) -> Progress:
        """What the device reports of some steps, taken into the progress."""
        for metrics, count, halted in _rows(report):
            if halted:
                # The carry may be of a later step: since the bad one it has not changed.
                save_best()
                kept = save("halted", at.step, carry.state, at, 1)
                cases = cases_of(batches, at.step)
                raise NonFiniteLossError(at.step, metrics, cases, carry.state, kept)
            at = observe(at._replace(step=at.step + 1), metrics, count)
            if log_every and at.step % log_every == 0:
                write({"step": at.step, **{f"step/{name}": x for name, x in metrics.items()}})
        return at

    with contextlib.ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
            logger.start(at.step)
        bar = stack.enter_context(
            tqdm(total=total, initial=at.step, unit="step", disable=None if progress else True)
        )
        runner = scanned if compile_epochs else stepwise
        run = stack.enter_context(runner(compiled, batches, at.step, mesh, local=local))
        saved = time.monotonic()
        while at.step < total and at.stopped is None:
            epoch = at.step // per_epoch + 1
            stop = min(total, epoch * per_epoch)
            if checkpoint_every:
                stop = min(stop, (at.step // checkpoint_every + 1) * checkpoint_every)
            pending: deque[Report] = deque()
            for new, made, report in run(carry, at.step, stop):
                carry = new
                pending.append(report)
                bar.update(made)
                if len(pending) > _LAG:
                    at = take_in(pending.popleft(), carry, at)
            while pending:
                at = take_in(pending.popleft(), carry, at)

            ended = at.step == total
            closed = ended or at.step % per_epoch == 0
            if closed:
                evaluated = {}
                if evaluate is not None and (ended or epoch % evaluate_every == 0):
                    evaluated = _numbers(evaluate(carry.state))
                at = close_epoch(at, epoch, seconds(), evaluated)
                record = at.history[-1]
                if evaluated or monitor.startswith("train/"):
                    has_metric(record, monitor)
                    at, improved = judge(at, monitor, mode)
                    if improved:
                        best_state = compiled.copy(carry.state)
                    if patience is not None and at.waited >= patience:
                        at = at._replace(stopped="patience")
                write(record)
                _log.info("%s", record)
                bar.set_postfix(_shown(record, monitor))
            if checkpoint_every:
                due = at.step % checkpoint_every == 0
            else:
                due = closed and time.monotonic() - saved > _PAUSE
            if due or ended or at.stopped is not None:
                save_best()
                save("checkpoints", at.step, carry.state, at._replace(seconds=seconds()), keep)
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


def _rows(report: Report) -> Iterator[tuple[dict[str, float], float, bool]]:
    """The metrics, count and flag of each step that a report is about."""
    report = jax.tree.map(np.atleast_1d, jax.device_get(report))
    for i in range(len(report.halted)):
        metrics = {name: float(value[i]) for name, value in report.metrics.items()}
        yield metrics, float(report.count[i]), bool(report.halted[i])


def _numbers(evaluated: dict[str, Any]) -> dict[str, float]:
    """Named numbers as floats; an estimate with an interval counts by its value."""
    return {name: float(getattr(value, "value", value)) for name, value in evaluated.items()}


def _shown(record: dict[str, Any], monitor: str) -> dict[str, Any]:
    names = ("epoch", "train/loss", monitor)
    return {name: record[name] for name in names if name in record}
