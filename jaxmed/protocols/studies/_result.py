"""Result of a study: predictions, failures, choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxmed.protocols.studies._splits import Split


class Failure(NamedTuple):
    """A training without predictions, and the reason."""

    arm: str
    repeat: int
    fold: int
    seed: int
    why: str


class Choice(NamedTuple):
    """The choice of a tuned arm in one training part, and the candidates' inner scores."""

    arm: str
    repeat: int
    fold: int
    seed: int
    chosen: str
    scores: dict[str, list[float]]


@dataclasses.dataclass(frozen=True, repr=False)
class Study:
    """Result of `study`.

    Attributes:
        arms: names.
        splits: as given.
        seeds: as given.
        outputs: `(arm, split index, seed)` to (test cases, ...) predictions, without failed ones.
        labels: (cases, ...) truth; NaN where the data have none.
        cases: (cases,) names.
        groups: (cases,) patients, or None.
        failures: trainings without predictions.
        choices: candidate settings of tuned arms.
        trials: arm to the number of configurations tried; 1 for a plain arm.
        settings: steps or epochs, batch size, strategy.
        seconds: duration of training and prediction, those of resumed records included.
        missing: names of the trainings without a record, of a study made in part (`only=`). Those
            of a tuned arm's choices have no name before its inner trainings are there.
    """

    arms: tuple[str, ...]
    splits: tuple[Split, ...]
    seeds: tuple[int, ...]
    outputs: Mapping[tuple[str, int, int], np.ndarray]
    labels: np.ndarray
    cases: tuple[str, ...]
    groups: tuple[Any, ...] | None
    failures: tuple[Failure, ...] = ()
    choices: tuple[Choice, ...] = ()
    trials: Mapping[str, int] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    missing: tuple[str, ...] = ()

    def check_whole(self) -> None:
        """Refuse a study of which trainings are missing.

        Raises:
            ValueError: names the first of them.
        """
        if self.missing:
            raise ValueError(
                f"{len(self.missing)} trainings of the study are missing, such as "
                f"{self.missing[0]}: make them (study(only=)) before it is looked at"
            )

    def __repr__(self) -> str:
        counts = {
            "arms": len(self.arms), "splits": len(self.splits), "seeds": len(self.seeds),
            "trainings": len(self.outputs), "failures": len(self.failures),
        }  # fmt: skip
        contents = ", ".join(f"{n} {name}" for name, n in counts.items())
        return f"Study of {', '.join(self.arms)} ({contents}; {len(self.cases)} cases)"
