"""What a run is told beside its learner and its data: when it is judged, what it writes, where it
runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from jaxmed.core import LearnerState
from jaxmed.train._devices import Device
from jaxmed.train._loggers import Logger
from jaxmed.train._progress import Mode

Evaluate = Callable[[LearnerState], Mapping[str, Any]]
"""``(state) -> {name: number}``. It must not keep the state: the next step overwrites it."""


@dataclass(frozen=True)
class Evaluation:
    """How a run is judged: what is measured, how often, and which number decides.

    Attributes:
        function: ``(state) -> {name: number}``. It must not keep the state, whose arrays the next
            step overwrites. ``None`` where only training's own metrics are watched.
        every: epochs between two evaluations; the last epoch has one too.
        monitor: the name, of those that ``function`` returns or of ``train/...``, by which the best
            state is kept and ``patience`` counted. ``None`` keeps no best state; with ``patience``
            it is the one number that ``function`` returns, if it returns but one.
        mode: whether the best is the greatest (``"max"``) or the least (``"min"``).
        patience: stop after so many evaluations without a better one.

    Raises:
        ValueError: if a value is out of its range, or ``patience`` has nothing to count by.
    """

    function: Evaluate | None = None
    every: int = 1
    monitor: str | None = None
    mode: Mode = "max"
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', got {self.mode!r}")
        _at_least_one({"evaluate_every": self.every, "patience": self.patience})
        trained = self.monitor is not None and self.monitor.startswith("train/")
        if self.patience is not None and self.function is None and not trained:
            raise ValueError(
                f"patience needs evaluate= to give {self.monitor or 'a number'!r}, or a monitor "
                "such as 'train/loss'"
            )

    def watched(self, record: Mapping[str, Any], evaluated: Mapping[str, float]) -> str | None:
        """The metric by which an epoch's record is judged, if it is.

        Raises:
            ValueError: if the record has no such metric, or it is not clear which is meant.
        """
        monitor = self.monitor
        if monitor is None and self.patience is not None and evaluated:
            if len(evaluated) > 1:
                raise ValueError(
                    f"patience= goes by one metric, and evaluate= gives {sorted(evaluated)}: name "
                    "one by monitor="
                )
            return next(iter(evaluated))
        if monitor is None or not (evaluated or monitor.startswith("train/")):
            return None
        if monitor not in record:
            names = sorted(set(record) - {"epoch", "step", "seconds"})
            raise ValueError(
                f"there is no metric monitor={monitor!r} to judge by; there are {names}"
            )
        return monitor


@dataclass(frozen=True)
class Output:
    """Where a run writes, and what.

    Attributes:
        folder: for checkpoints and logs; without one nothing is written.
        checkpoint_every: steps; by default at the first end of an epoch a minute after the last
            one, and at the end.
        keep: how many checkpoints to keep, beside the best one.
        loggers: where records go; by default ``folder/metrics.jsonl`` and ``folder/tensorboard``.
        log_every: steps between records of single steps; by default only epochs are logged.

    Raises:
        ValueError: if a number is below 1.
    """

    folder: str | Path | None = None
    checkpoint_every: int | None = None
    keep: int = 2
    loggers: Sequence[Logger] | None = None
    log_every: int | None = None

    def __post_init__(self) -> None:
        _at_least_one(
            {
                "checkpoint_every": self.checkpoint_every,
                "keep": self.keep,
                "log_every": self.log_every,
            }
        )


@dataclass(frozen=True)
class Placement:
    """Where a run's steps are computed, and as how many programs.

    Attributes:
        devices: how many, or which, to share each batch among; the default device alone by default,
            all of them in a run of several processes.
        mesh: as :func:`data_mesh` makes it, instead of ``devices``.
        shard_parameters: whether large parameters are shared out over the devices too.
        compile_epochs: whether to keep the data on the device and make each epoch one program.
            Same numbers, without the host's share of the time. For data that fit, and batches
            that are cut from arrays without a transform on the host.
    """

    devices: int | Sequence[Device] | None = None
    mesh: Mesh | None = None
    shard_parameters: bool = False
    compile_epochs: bool = False


# The argument of fit that takes each group, and the field for the plain value that it takes too.
_GROUPS: dict[str, tuple[type, str]] = {
    "evaluate": (Evaluation, "function"),
    "out": (Output, "folder"),
    "devices": (Placement, "devices"),
}
_OLD = {
    "evaluate_every": ("evaluate", "every"),
    **{name: ("out", name) for name in ("checkpoint_every", "keep", "loggers", "log_every")},
    **{name: ("devices", name) for name in ("mesh", "shard_parameters", "compile_epochs")},
}


def gather(
    given: Mapping[str, Any], short: Mapping[str, Any], old: Mapping[str, Any]
) -> tuple[Evaluation, Output, Placement]:
    """The three groups of settings, of what was given to :func:`fit`.

    Args:
        given: by argument, a group, or the plain value that stands for one.
        short: settings of ``Evaluation`` that have a keyword of their own; ``None`` if not given.
        old: keywords of former versions.

    Raises:
        TypeError: for a keyword that there is not.
        ValueError: if a setting is given twice, or a value is out of its range.
    """
    made: dict[str, dict[str, Any]] = {}
    for argument, (kind, field) in _GROUPS.items():
        value = given[argument]
        if isinstance(value, kind):
            made[argument] = {f.name: getattr(value, f.name) for f in fields(value)}
        else:
            made[argument] = {field: value}
    extra: dict[str, dict[str, Any]] = {argument: {} for argument in _GROUPS}
    extra["evaluate"] |= {name: value for name, value in short.items() if value is not None}
    for name, value in old.items():
        if name not in _OLD:
            raise TypeError(f"fit() got an unexpected keyword argument {name!r}")
        argument, field = _OLD[name]
        kind = _GROUPS[argument][0].__name__
        warnings.warn(
            f"fit({name}=) is now {argument}={kind}(..., {field}=); the old keyword will be "
            "removed in a later release",
            DeprecationWarning,
            stacklevel=3,
        )
        extra[argument][field] = value
    for argument, (kind, _) in _GROUPS.items():
        if isinstance(given[argument], kind):
            default = kind()
            twice = [
                name
                for name in extra[argument]
                if made[argument][name] != getattr(default, name)
                and made[argument][name] != extra[argument][name]
            ]
            if twice:
                raise ValueError(f"{twice[0]!r} is in {argument}= and beside it: give it once")
    evaluation, output, placement = (
        kind(**{**made[argument], **extra[argument]}) for argument, (kind, _) in _GROUPS.items()
    )
    if output.folder is not None:
        output = replace(output, folder=Path(output.folder))
    return evaluation, output, placement


def total_steps(epochs: int | None, steps: int | None, per_epoch: int) -> int:
    """The steps of the whole run, from whichever of the two was given."""
    if (epochs is None) == (steps is None):
        raise ValueError(f"fit needs either epochs or steps, got epochs={epochs}, steps={steps}")
    total = steps if steps is not None else (epochs or 0) * per_epoch
    if total < 1:
        raise ValueError(f"fit needs at least one step, got epochs={epochs}, steps={steps}")
    return total


def _at_least_one(numbers: Mapping[str, int | None]) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
