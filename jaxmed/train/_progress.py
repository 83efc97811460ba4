"""Where a run is, on the host: what a checkpoint keeps beside the state."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

Mode = Literal["max", "min"]


class Progress(NamedTuple):
    """The host's side of a run; JSON holds it to the bit.

    Attributes:
        step: steps made, and so the position in the data.
        history: one record per epoch: ``epoch``, ``step``, ``seconds``, ``train/...`` the means of
            the step's metrics, and what ``evaluate`` returned.
        sums: of the metrics over the examples of the epoch under way.
        count: those examples.
        best: the record that is best by the monitored metric, or ``None``.
        waited: evaluations since then.
        stopped: why the run ended (``"end"`` or ``"patience"``), or ``None``.
        seconds: spent in training and evaluation.
        judged_by: the metric by which ``best`` was chosen, and ``"max"`` or ``"min"``.
    """

    step: int = 0
    history: tuple[dict[str, Any], ...] = ()
    sums: dict[str, float] = {}  # noqa: RUF012
    count: float = 0.0
    best: dict[str, Any] | None = None
    waited: int = 0
    stopped: str | None = None
    seconds: float = 0.0
    judged_by: tuple[str, str] | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """What ``_asdict`` gave, back from JSON."""
        rule = values.get("judged_by")
        read = {"history": tuple(values["history"]), "judged_by": rule and tuple(rule)}
        return cls(**{**values, **read})


def observe(progress: Progress, metrics: dict[str, float], count: float) -> Progress:
    """Add the metrics of one step, a mean over ``count`` examples, to the epoch's."""
    sums = {name: progress.sums.get(name, 0.0) + value * count for name, value in metrics.items()}
    return progress._replace(sums=sums, count=progress.count + count)


def close_epoch(
    progress: Progress, epoch: int, seconds: float, evaluated: dict[str, float]
) -> Progress:
    """Add the epoch's record to the history."""
    count = progress.count or 1.0
    record = {
        "epoch": epoch,
        "step": progress.step,
        "seconds": seconds,
        **{f"train/{name}": total / count for name, total in progress.sums.items()},
        **evaluated,
    }
    return progress._replace(
        history=(*progress.history, record), sums={}, count=0.0, seconds=seconds
    )


def judged_anew(progress: Progress, monitor: str, mode: Mode) -> Progress:
    """The progress without its best, if that was chosen by another metric or mode."""
    rule = progress.judged_by
    if rule is None and progress.best is not None and monitor in progress.best:
        rule = (monitor, mode)  # Of a checkpoint that does not say.
    if progress.best is None or rule == (monitor, mode):
        return progress
    return progress._replace(best=None, waited=0, judged_by=None)


def judge(progress: Progress, monitor: str, mode: Mode) -> tuple[Progress, bool]:
    """Compare the last record with the best so far; a metric that is NaN improves nothing."""
    record = progress.history[-1]
    value = record[monitor]
    progress = progress._replace(judged_by=(monitor, mode))
    sign = 1 if mode == "max" else -1
    improved = not math.isnan(value) and (
        progress.best is None or sign * value > sign * progress.best[monitor]
    )
    if improved:
        return progress._replace(best=record, waited=0), True
    return progress._replace(waited=progress.waited + 1), False
