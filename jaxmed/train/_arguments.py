"""The rules that the arguments of fit must keep."""

from __future__ import annotations

from typing import Any


def total_steps(epochs: int | None, steps: int | None, per_epoch: int) -> int:
    """The steps of the whole run, from whichever of the two was given."""
    if epochs is not None and steps is None:
        total = epochs * per_epoch
    elif steps is not None and epochs is None:
        total = steps
    else:
        raise ValueError(f"fit needs either epochs or steps, got epochs={epochs}, steps={steps}")
    if total < 1:
        raise ValueError(f"fit needs at least one step, got epochs={epochs}, steps={steps}")
    return total


def check_options(
    *,
    monitor: str,
    mode: str,
    patience: int | None,
    evaluate: Any,
    at_least_one: dict[str, int | None],
) -> None:
    """Refuse options that contradict each other, before anything is compiled."""
    if mode not in ("max", "min"):
        raise ValueError(f"mode must be 'max' or 'min', got {mode!r}")
    for name, value in {**at_least_one, "patience": patience}.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if patience is not None and evaluate is None and not monitor.startswith("train/"):
        raise ValueError(
            f"patience needs evaluate= to give {monitor!r}, or a monitor such as 'train/loss'"
        )


def has_metric(record: dict[str, Any], monitor: str) -> None:
    """Refuse a monitor that no metric bears the name of."""
    if monitor not in record:
        names = sorted(set(record) - {"epoch", "step", "seconds"})
        raise ValueError(f"there is no metric monitor={monitor!r} to judge by; there are {names}")
