"""Options of a study beside arms, splits and seeds: training, and reading of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from scipy import special

from jaxmed.core import Inputs
from jaxmed.data import take
from jaxmed.protocols.studies._replicates import Strategy

Summary = str | Callable[[Any, Mapping[str, np.ndarray]], Any]


class TrainingPlan(NamedTuple):
    """Duration and batch size of each training of a study, and how trainings run together.

    Attributes:
        epochs: passes over each training part; this or `steps`.
        steps: steps of each training.
        size: batch size.
        strategy: `sequential` or `vmap`, see the design page; `auto` depends on the platform.
        width: trainings per program, for `vmap`.
    """

    epochs: int | None = None
    steps: int | None = None
    size: int = 32
    strategy: Strategy = "auto"
    width: int = 8


class Reading(NamedTuple):
    """Names of the arrays that a study reads, and what it stores of a prediction.

    Attributes:
        inputs: the array that the network takes, or several (:func:`jaxmed.core.pick`).
        label: the array of the truth.
        outputs: the predicted endpoint.
        summary: transformation of the stored endpoint: `softmax`, `sigmoid` or `none`,
            or `(endpoint (cases, ...), examples) -> (cases, ...)`, such as the Dice of each case.
        groups: (cases,) patients; by default the source's. A split that divides a patient is an
            error.
    """

    inputs: Inputs = "image"
    label: str = "label"
    outputs: str = "logits"
    summary: Summary = "softmax"
    groups: Sequence[Any] | None = None


class Flat(TypedDict, total=False):
    """The fields of `TrainingPlan` and `Reading`, which `study` also takes by their own names."""

    epochs: int | None
    steps: int | None
    size: int
    strategy: Strategy
    width: int
    inputs: Inputs
    label: str
    outputs: str
    summary: Summary
    groups: Sequence[Any] | None


def merged(
    training: TrainingPlan | None,
    reading: Reading | None,
    flat: Mapping[str, Any],
    *,
    learners: bool = True,
) -> tuple[TrainingPlan, Reading]:
    """Insert options given by name into the plan and the reading.

    Raises:
        TypeError: for a name that neither has.
        ValueError: for both or none of epochs and steps, where there are learners to train.
    """
    unknown = [name for name in flat if name not in Flat.__annotations__]
    if unknown:
        raise TypeError(
            f"study takes no {unknown[0]!r}; beside seeds, out, resume and progress it takes "
            f"{', '.join(Flat.__annotations__)}"
        )
    own = {name: value for name, value in flat.items() if name in TrainingPlan._fields}
    training = (training or TrainingPlan())._replace(**own)
    reading = (reading or Reading())._replace(
        **{name: flat[name] for name in flat if name not in own}
    )
    epochs, steps = training.epochs, training.steps
    if learners and (epochs is None) == (steps is None):
        raise ValueError(f"a study needs either epochs or steps, got {epochs=}, {steps=}")
    return training, reading


def summarised(summary: Summary, raw: Any, part: Any) -> np.ndarray:
    """Return the stored summary of an endpoint, one entry per case."""
    if summary == "none":
        return np.asarray(raw)
    if summary == "softmax":
        return special.softmax(np.asarray(raw, np.float32), axis=-1)
    if summary == "sigmoid":
        return special.expit(np.asarray(raw, np.float32))
    if isinstance(summary, str):
        raise ValueError(f"summary is softmax, sigmoid, none or a function, got {summary!r}")
    kept = np.asarray(summary(raw, take(part, np.arange(len(part)))))
    if kept.ndim < 1 or len(kept) != len(part):
        raise ValueError(f"summary gave the shape {kept.shape} for {len(part)} cases")
    return kept
