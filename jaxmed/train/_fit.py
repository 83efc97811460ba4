"""fit: the training loop."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxmed._files import owning, write_whole
from jaxmed.core import Batches, Key, Learner, LearnerState
from jaxmed.train._checkpoint import CheckpointWarning
from jaxmed.train._devices import Device, choose_mesh, place_batch
from jaxmed.train._hosts import agreed, check_alike, own, shared_out, wait
from jaxmed.train._identity import identity
from jaxmed.train._loggers import Logger, jsonl, tensorboard
from jaxmed.train._nonfinite import NonFiniteLossError, cases_of
from jaxmed.train._program import Report, program
from jaxmed.train._progress import Mode, Progress, close_epoch, judge, judged_anew, observe
from jaxmed.train._resume import clear, load, saver
from jaxmed.train._runners import scanned, stepwise
from jaxmed.train._settings import (
    Evaluate,
    Evaluation,
    Output,
    Placement,
    gather,
    total_steps,
)

_log = logging.getLogger("jaxmed.train")
_LAG = 8  # Steps by which the host's look at the metrics trails the device.
_FIRST_REACH = 16  # Steps before the first look at the clock.
_LINES = 1.0  # Seconds between two lines about epochs, where there is no terminal.
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

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        loss = f", train/loss {last['train/loss']:.4g}" if "train/loss" in last else ""
        best = "" if self.best is None else f", best at step {self.best['step']}"
        return f"FitResult: {self.step} steps, stopped by {self.stopped}{loss}{best}"


def fit(
    learner: Learner,
    batches: Batches,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    key: Key | None = None,
    seed: int = 0,
    state: LearnerState | None = None,
    evaluate: Evaluate | Evaluation | None = None,
    monitor: str | None = None,
    mode: Mode | None = None,
    patience: int | None = None,
    out: str | Path | Output | None = None,
    resume: bool = True,
    devices: int | Sequence[Device] | Placement | None = None,
    progress: bool = True,
    **old: Any,
) -> FitResult:
    """Train a learner; stop early, keep the best, resume exactly.

    Args:
        learner: any learner.
        batches: as :func:`jaxmed.data.batches` makes them, or any
            :class:`~jaxmed.core.Batches`.
        epochs: how long to train; this or ``steps``.
        steps: how long to train; this or ``epochs``.
        key: of the run; ``jax.random.key(seed)`` by default.
        seed: see ``key``.
        state: to begin with instead of ``learner.init(key, batches[0])``. It is copied.
        evaluate: ``(state) -> {name: number}``, run after each epoch; an :class:`Evaluation` says
            how often besides. It must not keep the state, whose arrays the next step overwrites.
        monitor: the name, of those that ``evaluate`` returns or of ``train/...``, by which the best
            state is kept and ``patience`` counted. By default no best state is kept, and
            ``patience`` counts by the one number that ``evaluate`` returns.
        mode: whether the best is the greatest (``"max"``, the default) or the least (``"min"``).
        patience: stop after so many evaluations without a better one.
        out: the folder for checkpoints and logs, without which nothing is written; an
            :class:`Output` says how often, and which logs. Of several processes it is process 0's
            folder, which all must reach.
        resume: whether to go on from the checkpoints in ``out``, if there are. If not, they are
            deleted.
        devices: how many, or which, to share each batch among; the default device alone by default.
            In a run of several processes (:func:`hosts`) it is all devices of all by default, each
            process reads its own rows of the batches, and ``evaluate`` and the result have a copy
            of the state that is the process's own. A :class:`Placement` says more.
        progress: whether to show a bar, with rate and time to go, on a terminal, and a line for
            each epoch (each second, of shorter ones) on any other standard error.
        **old: former keywords, now fields of those three; they warn.

    Returns:
        The result.

    A run that goes on may have more epochs, more patience, another ``evaluate``, other devices.
    With another ``monitor`` or ``mode`` the best state is chosen anew from there on, which a
    :class:`CheckpointWarning` says. If an error ends the run, its traceback is left in
    ``out/error.txt``.

    Raises:
        NonFiniteLossError: if a step's loss or parameters are not finite. It carries the state as
            it was before that step, which is saved in ``out/halted``.
        CheckpointError: if there are checkpoints to resume from, and none can be used; or if they
            are of a run of another configuration, seed, data, order of data, or of a learner
            whose step was another, its learning rate included. Says what differs.
        ValueError: if the arguments contradict each other, a batch does not divide over the
            devices, or batches change shape.
        OSError: another process is writing to ``out``, or it cannot be written to.

    References:
        Bitwise resumption holds on CPU; on GPU with ``--xla_gpu_deterministic_ops=true``.
    """
    short = {"monitor": monitor, "mode": mode, "patience": patience}
    given = {"evaluate": evaluate, "out": out, "devices": devices}
    evaluation, output, placement = gather(given, short, old)
    total = total_steps(epochs, steps, len(batches))
    key = jax.random.key(seed) if key is None else key
    run = _Run(learner, batches, key, evaluation, output, placement)
    writes = run.folder is not None and jax.process_index() == 0
    with owning(run.folder) if run.folder is not None and writes else contextlib.nullcontext():
        run.start(state, resume=resume)
        try:
            run.train(total, progress=progress)
        except Exception:
            if run.folder is not None and writes:
                with contextlib.suppress(OSError):  # on a full disk
                    write_whole(run.folder / "error.txt", traceback.format_exc())
            raise
        if run.folder is not None and writes:
            (run.folder / "error.txt").unlink(missing_ok=True)
    return run.result()


class _Run:
    """A run under way: what is set, and where it is (``at``, ``carry``, ``best_state``)."""

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        key: Key,
        evaluation: Evaluation,
        output: Output,
        placement: Placement,
    ) -> None:
        self.key, self.learner = key, learner
        self.evaluation, self.output, self.placement = evaluation, output, placement
        place = agreed(None if output.folder is None else str(Path(output.folder).absolute()))
        self.folder = None if place is None else Path(place)
        self.given = batches
        self.batches = batches if placement.compile_epochs else shared_out(batches)
        self.per_epoch = len(batches)
        self.begun = time.monotonic()
        self.mesh = choose_mesh(placement.mesh, placement.devices)
        self.local = self.mesh is not None and getattr(self.batches, "shard", (0, 1))[1] > 1
        self.first = place_batch(self.batches[0], self.mesh, local=self.local)
        # Without a word about devices every process has the whole state, and may do with its copy
        # what it would do alone.
        given = placement.mesh, placement.devices, placement.shard_parameters
        self.alone = jax.process_count() > 1 and given == (None, None, False)
        self.compiled = program(
            learner, key, self.first, mesh=self.mesh, shard_parameters=placement.shard_parameters
        )
        self.at = Progress()
        self.best_state: LearnerState | None = None

    def start(self, state: LearnerState | None, *, resume: bool) -> None:
        """Go on from the folder's checkpoints, from a state given, or begin."""
        shared: dict[str, Any] = {}
        if self.folder is not None or jax.process_count() > 1:
            shared = identity(self.learner, self.compiled, self.given, self.first, self.key)
            check_alike(shared)
        if self.folder is not None and not resume:
            clear(self.folder)
            wait("cleared")
        self.save = saver(self.folder, shared)
        found = load(self.folder, shared, self.learner, self.compiled, self.key, self.first)
        if found is not None:
            state, self.best_state, self.at = found
            self._take_up_evaluation()
        elif state is None:
            state = self.compiled.init(self.key, self.first)
        self.carry = self.compiled.begin(state)
        self.earlier = self.at.seconds
        self.saved_best = None if self.at.best is None else self.at.best["step"]

    def _take_up_evaluation(self) -> None:
        """Take up the patience, and the monitor, that this call gives."""
        if self.evaluation.monitor is not None:
            self._judge_by(self.evaluation.monitor)
        patience = self.evaluation.patience
        waited = patience is not None and self.at.waited >= patience
        self.at = self.at._replace(stopped="patience" if waited else None)

    def _judge_by(self, monitor: str) -> None:
        rule, best = self.at.judged_by, self.at.best
        self.at = judged_anew(self.at, monitor, self.evaluation.mode)
        if best is not None and self.at.best is None:
            self.best_state = None
            was = "another metric" if rule is None else f"{rule[0]!r} ({rule[1]})"
            warnings.warn(
                f"the best state so far was chosen by {was}; from step {self.at.step} on it is "
                f"chosen anew, by {monitor!r} ({self.evaluation.mode})",
                CheckpointWarning,
                stacklevel=4,
            )

    def seconds(self) -> float:
        """Of training and evaluation, earlier runs' included."""
        return round(self.earlier + time.monotonic() - self.begun, 3)

    def save_best(self) -> None:
        """Save the best state, if it is not: before the checkpoint that speaks of it.

        Only then, so that each of the checkpoints kept finds the one it speaks of.
        """
        best, state = self.at.best, self.best_state
        if best is not None and state is not None and best["step"] != self.saved_best:
            self.saved_best = best["step"]
            self.save("best", best["step"], state, self.at, self.output.keep + 1)

    def take_in(self, report: Report, write: Callable[[dict[str, Any]], None]) -> None:
        """Take what the device reports of some steps into the progress."""
        log_every = self.output.log_every
        for metrics, count, halted in _rows(report):
            if halted:
                # The carry may be of a later step: since the bad one it has not changed.
                self.save_best()
                kept = self.save("halted", self.at.step, self.carry.state, self.at, 1)
                cases = cases_of(self.batches, self.at.step)
                raise NonFiniteLossError(self.at.step, metrics, cases, self.carry.state, kept)
            self.at = observe(self.at._replace(step=self.at.step + 1), metrics, count)
            if log_every and self.at.step % log_every == 0:
                steps = {f"step/{name}": x for name, x in metrics.items()}
                write({"step": self.at.step, **steps})

    def close(self, epoch: int, *, ended: bool) -> dict[str, Any]:
        """Evaluate where it is due, add the epoch's record, keep the best; returns the record."""
        evaluation, evaluated = self.evaluation, {}
        if evaluation.function is not None and (ended or epoch % evaluation.every == 0):
            state = own(self.carry.state) if self.alone else self.carry.state
            # One number decides in all processes, though they may round otherwise.
            evaluated = agreed(_numbers(evaluation.function(state)))
        self.at = close_epoch(self.at, epoch, self.seconds(), evaluated)
        record = self.at.history[-1]
        monitor = evaluation.watched(record, evaluated)
        if monitor is not None:
            self._judge_by(monitor)
            self.at, improved = judge(self.at, monitor, evaluation.mode)
            if improved:
                self.best_state = self.compiled.copy(self.carry.state)
            if evaluation.patience is not None and self.at.waited >= evaluation.patience:
                self.at = self.at._replace(stopped="patience")
        return record

    def loggers(self, total: int) -> Sequence[Logger]:
        """Where records go; nowhere in a run that has ended."""
        if jax.process_index() != 0 or self.at.step >= total or self.at.stopped is not None:
            return ()
        if self.output.loggers is not None:
            return self.output.loggers
        if self.folder is None:
            return ()
        return jsonl(self.folder / "metrics.jsonl"), tensorboard(self.folder / "tensorboard")

    def train(self, total: int, *, progress: bool) -> None:
        """Make the steps up to ``total``, or until patience ends."""
        loggers = self.loggers(total)
        checkpoint_every = self.output.checkpoint_every

        def write(record: dict[str, Any]) -> None:
            for logger in loggers:
                logger.write(record)

        with contextlib.ExitStack() as stack:
            for logger in loggers:
                stack.callback(logger.close)
                logger.start(self.at.step)
            hidden = None if progress and jax.process_index() == 0 else True
            bar = stack.enter_context(
                tqdm(total=total, initial=self.at.step, unit="step", disable=hidden)
            )
            runner = scanned if self.placement.compile_epochs else stepwise
            run = stack.enter_context(
                runner(self.compiled, self.batches, self.at.step, self.mesh, local=self.local)
            )
            saved = told = time.monotonic()
            reach = _FIRST_REACH
            while self.at.step < total and self.at.stopped is None:
                epoch = self.at.step // self.per_epoch + 1
                stop = min(total, epoch * self.per_epoch)
                if checkpoint_every:
                    stop = min(stop, (self.at.step // checkpoint_every + 1) * checkpoint_every)
                elif not self.placement.compile_epochs:
                    stop = min(stop, self.at.step + reach)
                begun, first = time.monotonic(), self.at.step
                pending: deque[Report] = deque()
                for new, made, report in run(self.carry, self.at.step, stop):
                    self.carry = new
                    pending.append(report)
                    bar.update(made)
                    if len(pending) > _LAG:
                        self.take_in(pending.popleft(), write)
                while pending:
                    self.take_in(pending.popleft(), write)
                # As many steps as a part of the pause takes: long epochs are saved within them.
                took = agreed(max(time.monotonic() - begun, 1e-3))
                reach = max(1, int((self.at.step - first) / took * _PAUSE / 4))
                ended = self.at.step == total
                closed = ended or self.at.step % self.per_epoch == 0
                if closed:
                    record = self.close(epoch, ended=ended)
                    write(record)
                    _log.info("%s", record)
                    bar.set_postfix(_shown(record, self.at))
                    plain = progress and bar.disable and jax.process_index() == 0
                    if plain and (ended or time.monotonic() - told >= _LINES):
                        told = time.monotonic()
                        print(_line(record, total), file=sys.stderr, flush=True)
                if checkpoint_every:
                    due = self.at.step % checkpoint_every == 0
                else:
                    due = agreed(time.monotonic() - saved > _PAUSE)
                if due or ended or self.at.stopped is not None:
                    self.save_best()
                    now = self.at._replace(seconds=self.seconds())
                    self.save("checkpoints", self.at.step, self.carry.state, now, self.output.keep)
                    saved = time.monotonic()

    def result(self) -> FitResult:
        """What :func:`fit` returns."""
        state, best = self.carry.state, self.best_state
        if self.alone:
            state, best = own(state), None if best is None else own(best)
        return FitResult(
            state=state,
            best_state=state if best is None else best,
            history=self.at.history,
            best=self.at.best,
            step=self.at.step,
            stopped=self.at.stopped or "end",
            seconds=self.seconds(),
        )


def _rows(report: Report) -> Iterator[tuple[dict[str, float], float, bool]]:
    """The metrics, count and flag of each step that a report is about."""
    report = jax.tree.map(np.atleast_1d, jax.device_get(report))
    for i in range(len(report.halted)):
        metrics = {name: float(value[i]) for name, value in report.metrics.items()}
        yield metrics, float(report.count[i]), bool(report.halted[i])


def _numbers(evaluated: Mapping[str, Any]) -> dict[str, float]:
    """Named numbers as floats; an estimate with an interval counts by its value."""
    return {name: float(getattr(value, "value", value)) for name, value in evaluated.items()}


def _line(record: Mapping[str, Any], total: int) -> str:
    """An epoch in a line, for a log that is read later."""
    numbers = ", ".join(
        f"{name.removeprefix('train/')} {value:.4g}"
        for name, value in record.items()
        if isinstance(value, float) and name not in ("seconds", "train/gradient_norm")
    )
    return (
        f"epoch {record['epoch']}, step {record['step']} of {total}, {record['seconds']:.0f} s: "
        f"{numbers}"
    )


def _shown(record: dict[str, Any], at: Progress) -> dict[str, Any]:
    watched = () if at.judged_by is None else at.judged_by[:1]
    return {name: record[name] for name in ("epoch", "train/loss", *watched) if name in record}
