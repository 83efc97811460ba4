"""How well images are still told as they get worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxmed.stats import Estimate


class Robustness(NamedTuple):
    """A metric on corrupted images: a section of a report.

    Attributes:
        metric: its name.
        clean: of the images as they are.
        corrupted: of each corruption its estimates, from the weakest strength, 1, to the strongest.
    """

    metric: str
    clean: Estimate
    corrupted: Mapping[str, Sequence[Estimate]]


def check_robustness(found: Robustness) -> None:
    """Check that there are corruptions, of as many strengths each.

    Raises:
        ValueError: says which has none, or another number.
    """
    counts = {name: len(rows) for name, rows in found.corrupted.items()}
    if not counts or min(counts.values()) < 1 or len(set(counts.values())) > 1:
        raise ValueError(
            f"robustness is of corruptions with as many strengths each, at least one, got {counts}"
        )


def as_record(found: Robustness) -> dict[str, Any]:
    """What a machine reads of it."""
    return {
        "metric": found.metric,
        "clean": found.clean.to_dict(),
        "corrupted": {name: [e.to_dict() for e in rows] for name, rows in found.corrupted.items()},
    }
