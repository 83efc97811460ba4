"""Training that goes on where it had ended: the rounds of a run that was given more time.

A finished training has brought its learning rate to 0. To go on, the rate begins anew and falls to
0 over the steps that are added (a warm restart), from the parameters and the optimizer's moments of
the end; so 10 epochs and 10 more are not 20 at once, and the report says so. Every round has its
own checkpoints, so that each resumes to the bit.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import optax

import jaxmed as jm
from jaxmed._files import write_whole
from jaxmed.train import FitResult

_FILE = "rounds.json"


class Round(NamedTuple):
    """One stretch of a training, from a full learning rate to 0.

    Attributes:
        number: from 0.
        length: epochs, or steps, as the plan counts.
    """

    number: int
    length: int

    def seed(self, seed: int) -> int:
        """The seed of the order of its batches; the run's own of the first."""
        if self.number == 0:
            return seed
        return int(np.random.SeedSequence([seed, self.number]).generate_state(1)[0])

    def folder(self, out: Path) -> Path:
        """Where its checkpoints lie."""
        return out if self.number == 0 else out / f"round_{self.number}"


def rounds(total: int, ended: Sequence[int]) -> list[Round]:
    """The rounds of a plan of so many epochs or steps, which had ended at those before.

    >>> rounds(30, (10,))
    [Round(number=0, length=10), Round(number=1, length=20)]
    """
    ends = [0, *ended, total]
    return [Round(i, b - a) for i, (a, b) in enumerate(itertools.pairwise(ends))]


def ends(given: Sequence[Round]) -> tuple[int, ...]:
    """Where each round but the last ended.

    >>> ends(rounds(30, (10, 15)))
    (10, 15)
    """
    return tuple(itertools.accumulate(one.length for one in given))[:-1]


def kept_rounds(out: Path, total: int) -> list[Round]:
    """The rounds of a run without a plan, which its folder keeps, `total` epochs at their end.

    A run that has ended, and is asked for more than it had, gets another round.
    """
    path = out / _FILE
    kept = {"ended": [], "total": total}
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
    elif (out / "metrics.json").exists():  # made before rounds were kept
        record = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        kept["total"] = record["config"]["epochs"]
    if total > kept["total"] and (out / "metrics.json").exists():
        kept = {"ended": [*kept["ended"], kept["total"]], "total": total}
    write_whole(path, json.dumps(kept) + "\n")
    return rounds(kept["total"], kept["ended"])


def rate(
    name: Literal["cosine", "poly"], learning_rate: float, steps: int, first: int
) -> dict[str, Any]:
    """The learning rate of a round, as arguments of `train.optimizer`.

    Args:
        name: of the schedule.
        learning_rate: at the start of the round.
        steps: of the round.
        first: steps made before it, which the optimizer has counted.
    """
    if first == 0:
        return {"learning_rate": learning_rate, "schedule": name, "steps": steps}
    falls: optax.Schedule = jm.train.schedule(name, learning_rate, steps)
    return {"learning_rate": lambda count: falls(count - first)}


def in_rounds(
    train: Callable[[Round, int, Any], FitResult], given: Sequence[Round], mode: str = "max"
) -> FitResult:
    """Train round by round, each from the state in which the one before it ended.

    Args:
        train: `(round, steps before it, state to begin with) -> result` of one.
        given: the rounds.
        mode: whether the best epoch, where one is chosen, has the greatest or the least score.

    Returns:
        The last result, with the records and the best state of all.
    """
    whole: FitResult | None = None
    for one in given:
        before = 0 if whole is None else whole.step
        found = train(one, before, None if whole is None else whole.state)
        whole = found if whole is None else _joined(whole, found, mode)
    assert whole is not None
    return whole


def _joined(first: FitResult, then: FitResult, mode: str) -> FitResult:
    epochs = first.history[-1]["epoch"] if first.history else 0

    def moved(record: dict[str, Any]) -> dict[str, Any]:
        return {
            **record,
            "epoch": record["epoch"] + epochs,
            "step": record["step"] + first.step,
            "seconds": record["seconds"] + first.seconds,
        }

    best, best_state = first.best, first.best_state
    chosen = ("held out/", "val/")
    if then.best is None or first.best is None:
        best, best_state = None, then.state
    else:
        name = next(key for key in then.best if key.startswith(chosen))
        sign = 1 if mode == "max" else -1
        if sign * then.best[name] > sign * first.best[name]:
            best, best_state = moved(then.best), then.best_state
    return then._replace(
        history=(*first.history, *map(moved, then.history)),
        best=best,
        best_state=best_state,
        step=first.step + then.step,
        seconds=first.seconds + then.seconds,
    )


def may_differ(before: Mapping[str, Any], after: Mapping[str, Any], out: Path, field: str) -> bool:
    """Whether a finished run in a folder goes on by settings that ask for more of one field.

    Args:
        before: the settings of the run.
        after: those that are given now.
        out: its folder.
        field: `epochs` or `steps`.

    Raises:
        ValueError: only the field differs, but the run has not ended, or has no less.
    """
    differ = {
        name for name in {*before, *after} - {"places"} if before.get(name) != after.get(name)
    }
    wanted = after.get(field)
    if not differ <= {field, "plan"} or wanted is None or after.get("plan") is not None:
        return False
    planned, kept = out / "plan.json", out / _FILE
    if planned.exists():
        has = json.loads(planned.read_text(encoding="utf-8"))[field]
    elif before.get(field) is not None:
        # The settings are those of a start that may have been cut before it kept its rounds.
        has = (
            json.loads(kept.read_text(encoding="utf-8"))["total"]
            if kept.exists()
            else before[field]
        )
    else:
        return False
    if not (out / "metrics.json").exists():
        raise ValueError(
            f"{out} holds a run of {has} {field} that has not ended: let the same command end it, "
            f"then --{field} {wanted} goes on from there"
        )
    if wanted <= has:
        raise ValueError(
            f"{out} holds a run of {has} {field}, which cannot become one of {wanted}: give more, "
            "or choose another --out"
        )
    return True


def told(ended: Sequence[int], total: int, unit: str, *, test: bool) -> tuple[str, ...]:
    """What a reader should know of a training that went on, a note."""
    if not ended:
        return ()
    begun = ", ".join(map(str, ended))
    text = (
        f"The training had ended at {begun} {unit} and went on to {total}: the learning rate began "
        "anew there and fell to 0 again, so it is not one training of that length."
    )
    if test:
        text += " The test set was read at each end."
    return (text,)
