"""Figures of a detection."""

from __future__ import annotations

from jaxmed.report.figures._boxes import boxes_figure, froc_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import DetectionResults


def froc_exhibits(results: DetectionResults) -> Exhibits:
    """Draw the free-response ROC curve."""
    curve = results.froc
    told = "; ".join(f"{e.value:.3f} at {rate:g}" for rate, e in curve.at.items())
    return [
        exhibit(
            froc_figure(curve), "froc",
            f"Sensitivity by false boxes an image; a hit overlaps by an IoU of {results.hit_iou:g}."
            " All images count, those without an object too.",
            f"Free-response ROC. Sensitivity at false boxes an image: {told}. CPM "
            f"{curve.cpm.value:.3f}.", wide=True,
        )
    ]  # fmt: skip


def box_exhibits(results: DetectionResults) -> Exhibits:
    """Draw images with their boxes."""
    if not results.drawn:
        return []
    told = "; ".join(f"{p.case}: {p.caption}" for p in results.drawn)
    return [
        exhibit(
            boxes_figure(results.drawn, classes=results.classes), "boxes",
            "Boxes from the score up at which there is one false box an image: solid where they "
            "hit an object, dashed where they hit none, dotted the objects that were missed.",
            f"Images with boxes. {told}.", wide=True,
        )
    ]  # fmt: skip
