"""Figures of objects that were told apart."""

from __future__ import annotations

from jaxmed.report.figures._instances import instances_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import InstanceResults


def instance_exhibits(results: InstanceResults) -> Exhibits:
    """Draw images with outlines."""
    if not results.drawn:
        return []
    told = "; ".join(f"{p.case}: {p.caption}" for p in results.drawn)
    return [
        exhibit(
            instances_figure(results.drawn), "instances",
            "Outlines of the objects that were found (an IoU of at least 0.5 with a true one), as "
            "they were found; of true objects that were missed; and of false ones.",
            f"Images with outlines of objects. {told}.", wide=True,
        )
    ]  # fmt: skip
