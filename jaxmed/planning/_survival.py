"""The plan of a network of times to an event, each choice with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jaxmed.planning import _check as check

_SIDE = 64  # Of the longer side of an image.
_LEAST = 8


@dataclass(frozen=True)
class SurvivalPlan:
    """How times to an event are learned; `plan_survival` makes it, and people may edit it.

    Attributes:
        channels: names of the image's channels; none where records alone are learned from.
        shape: spatial size to which images are brought.
        records: names of the record's columns.
        categories: the values of each column of words; () of numbers.
        scales: mean and deviation of each column of numbers; 0 and 1 of words.
        loss: hazards of intervals, or Cox's partial likelihood.
        times: ends of the intervals, at which survival is predicted.
        network: of the images.
        hidden: widths of the layers on records.
        drop: how often image or record is hidden in training.
        batch: cases of a step, at most.
        epochs: passes over the training cases.
        ended: epochs at which a finished training ended, which then went on: there the learning
            rate begins anew.
        learning_rate: of AdamW at the start; it falls to 0 along a cosine.
        weight_decay: of kernels.
        why: the reason for each choice.
    """

    channels: tuple[str, ...]
    shape: tuple[int, ...]
    records: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    scales: tuple[tuple[float, float], ...]
    loss: Literal["discrete", "cox"]
    times: tuple[float, ...]
    network: Literal["resnet8", "resnet18"] = "resnet8"
    hidden: tuple[int, ...] = (32,)
    drop: float = 0.1
    batch: int = 64
    epochs: int = 40
    ended: tuple[int, ...] = ()
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    why: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no training can follow.

        Raises:
            ValueError: names the field.
        """
        if bool(self.channels) != bool(self.shape):
            raise ValueError("channels and shape are of images: give both or none")
        if not self.channels and not self.records:
            raise ValueError("give the channels of images, records, or both: there is nothing else")
        if self.shape:
            check.between("the length of shape", len(self.shape), 2, 3)
        for side in self.shape:
            check.at_least("a side of shape", side, _LEAST)
        if self.records:
            check.names("records", self.records, 1)
        check.length("categories", self.categories, len(self.records), "records")
        check.length("scales", self.scales, len(self.records), "records")
        for _, deviation in self.scales:
            check.above("a deviation of scales", deviation)
        check.some("times", tuple(map(str, self.times)), 1)
        if [*self.times] != sorted({*self.times}) or self.times[0] <= 0:
            raise ValueError(f"times rises from above 0 on, got {list(self.times)}")
        if not self.hidden:
            raise ValueError("hidden is a width or more")
        for width in self.hidden:
            check.at_least("a width of hidden", width, 1)
        check.between("drop", self.drop, 0, 1, below=True)
        check.at_least("batch", self.batch, 1)
        check.at_least("epochs", self.epochs, 1)
        check.ends("ended", self.ended, self.epochs)
        check.above("learning_rate", self.learning_rate)
        check.at_least("weight_decay", self.weight_decay, 0)


def plan_survival(
    time: np.typing.ArrayLike,
    event: np.typing.ArrayLike,
    *,
    channels: Sequence[str] = (),
    spatial: Sequence[int] = (),
    records: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    scales: Sequence[tuple[float, float]] = (),
    loss: Literal["discrete", "cox"] = "discrete",
    intervals: int = 8,
    size: int = _SIDE,
    **options: Any,
) -> SurvivalPlan:
    """Plan a network of times to an event.

    Args:
        time: (cases,) of the cases that are learned from.
        event: (cases,) whether it was the event.
        channels: names of the image's channels; none without images.
        spatial: size of the images as they are.
        records: names of the record's columns.
        categories: as of the plan.
        scales: as of the plan.
        loss: as of the plan.
        intervals: how many, with about equally many events each; fewer where times repeat.
        size: longer side of the images.
        **options: further fields of the plan, as they are given.

    Returns:
        The plan.

    Raises:
        ValueError: no event after time 0, or a field that cannot be.

    Examples:
        >>> plan = plan_survival(
        ...     [1, 2, 3, 4, 5], [1, 0, 1, 1, 1], records=["age"], categories=[()],
        ...     scales=[(60.0, 9.0)], intervals=2,
        ... )
        >>> plan.times, plan.why["times"]
        ((3.5, 5.0), '2 intervals with about 2 of the 4 events each')
    """
    check.at_least("intervals", intervals, 1)
    time, event = np.asarray(time, float), np.asarray(event) > 0
    times = event_times(time, event, intervals)
    why = dict.fromkeys(options, "given")
    known = int((event & (time > 0)).sum())
    why["times"] = (
        f"{len(times)} intervals with about {max(1, known // len(times))} of the {known} events "
        "each"
    )
    shape: tuple[int, ...] = ()
    if channels:
        check.at_least("size", size, _LEAST)
        shape = tuple(max(_LEAST, round(n * size / max(spatial))) for n in spatial)
        told = "usual" if size == _SIDE else "given"
        why["shape"] = f"of the longer side {size} is {told}; the first image has {max(spatial)}"
    if any(categories):
        words = [name for name, values in zip(records, categories, strict=True) if values]
        why["categories"] = f"{', '.join(words)}: words that the cases learned from have"
    why["loss"] = (
        "hazards need not be proportional, and batches change nothing" if loss == "discrete"
        else "one log hazard a case; the baseline is made of the cases learned from"
    )  # fmt: skip
    return SurvivalPlan(
        channels=tuple(channels), shape=shape, records=tuple(records),
        categories=tuple(map(tuple, categories)), scales=tuple(scales), loss=loss, times=times,
        why=why, **options,
    )  # fmt: skip


def event_times(
    time: np.typing.ArrayLike, event: np.typing.ArrayLike, intervals: int
) -> tuple[float, ...]:
    """Ends of intervals with about equally many events each; fewer where times repeat.

    Args:
        time: (cases,).
        event: (cases,) whether it was the event.
        intervals: how many.

    Raises:
        ValueError: no event after time 0.

    >>> event_times([1, 2, 3, 4], [1, 1, 0, 1], 2)
    (2.0, 4.0)
    """
    time, event = np.asarray(time, float), np.asarray(event) > 0
    known = time[event & (time > 0)]
    if not len(known):
        raise ValueError("no case of the training part has the event after time 0")
    return tuple(np.unique(np.quantile(known, np.linspace(0, 1, intervals + 1)[1:])).tolist())
