"""Training of a pyramid of registration networks, level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jaxmed as jm
from jaxmed import registration as reg
from jaxmed.train import FitResult

_SHARES = (0.5, 1.0, 2.0)  # Of the steps, coarse to fine; finer levels have as many as the last.


def steps_of(levels: int, steps: int) -> list[int]:
    """How many of the steps each level has, coarse to fine; all have one at least.

    >>> steps_of(3, 700)
    [100, 200, 400]
    """
    shares = [_SHARES[min(i, len(_SHARES) - 1)] for i in range(levels)]
    found = [max(1, round(steps * share / sum(shares))) for share in shares[:-1]]
    return [*found, max(1, steps - sum(found))]


def by_level(
    levels: int,
    steps: int,
    fit: Callable[[int, jm.Network, int, Path], tuple[FitResult, Any]],
    out: Path,
    **options: Any,
) -> tuple[FitResult, Any]:
    """Train the stages of :func:`jaxmed.registration.lapirn_stages`, each begun with the last one.

    Args:
        levels: of the pyramid.
        steps: of all stages together.
        fit: `(stage, network, steps, folder) -> (result, what predicts)` of one stage.
        out: the run's folder; the last stage's checkpoints lie in it, the others' in folders there.
        **options: of the pyramid.

    Returns:
        The last stage's result, with the records of all, and what predicts.
    """
    history: list[dict[str, Any]] = []
    result, found, seconds, done = None, None, 0.0, 0
    lengths = steps_of(levels, steps)
    for stage, network in enumerate(reg.lapirn_stages(levels, **options)):
        if found is not None:
            network = jm.paradigms.pretrained(network, found.params, found.state)
        folder = out if stage == levels - 1 else out / f"level_{stage}"
        result, found = fit(stage, network, lengths[stage], folder)
        history += _later(result.history, done, seconds, len(history))
        done, seconds = done + result.step, seconds + result.seconds
    assert result is not None  # there is a level
    return result._replace(history=tuple(history), step=done, seconds=seconds), found


def scales_of(stage: int, levels: int) -> Sequence[int]:
    """The scales that a stage sees: how often an image is made half as fine.

    >>> scales_of(0, 3), scales_of(2, 3)
    ((2,), (0, 1, 2))
    """
    return tuple(range(levels - 1 - stage, levels))


def _later(
    history: Sequence[dict[str, Any]], steps: int, seconds: float, epochs: int
) -> list[dict[str, Any]]:
    return [
        {
            **record,
            "epoch": record["epoch"] + epochs,
            "step": record["step"] + steps,
            "seconds": record["seconds"] + seconds,
        }
        for record in history
    ]
