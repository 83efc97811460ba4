"""What is raised when a loss is not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxmed.core import LearnerState


class NonFiniteLossError(FloatingPointError):
    """A step gave a loss, or parameters, that are not finite.

    Attributes:
        step: the step, counted from 0; ``batches[step]`` is its batch.
        cases: the batch's case ids, or positions in the source.
        state: the state before that step.
        folder: where the state is saved, or ``None``.
    """

    def __init__(
        self,
        step: int,
        metrics: dict[str, float],
        cases: tuple[Any, ...],
        state: LearnerState,
        folder: Path | None,
    ) -> None:
        self.step, self.cases, self.state, self.folder = step, cases, state, folder
        loss = metrics["loss"]
        what = f"the loss is {loss}"
        if loss == loss and abs(loss) != float("inf"):
            what = f"the loss is {loss:.6g}, but the parameters would no longer be finite"
        shown = ", ".join(map(str, cases[:16])) + (", ..." if len(cases) > 16 else "")
        super().__init__(
            f"at step {step} {what}; the batch's cases: {shown or 'unknown'}; the state before "
            f"this step is " + (f"saved in {folder}" if folder else "in this error's .state")
        )


def cases_of(batches: Any, step: int) -> tuple[Any, ...]:
    """Names of the batch's real examples, or their positions in the source."""
    if hasattr(batches, "case_ids"):
        return tuple(batches.case_ids(step))
    batch = batches[step]
    if "index" not in batch:
        return ()
    weight = batch.get("weight", [1] * len(batch["index"]))
    positions = [int(i) for i, w in zip(batch["index"], weight, strict=True) if w > 0]
    names = getattr(getattr(batches, "source", None), "case_ids", None)
    return tuple(positions if names is None else (names[i] for i in positions))
