"""Figures of a segmentation."""

from __future__ import annotations

import numpy as np

from jaxmed.report.figures._segments import distribution_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import SegmentationResults


def mask_exhibits(results: SegmentationResults) -> Exhibits:
    """Draw the Dice of every case."""
    if results.overlap is None or "dice" not in results.overlap.values:
        return []
    dice = np.asarray(results.overlap.values["dice"], float)
    medians = "; ".join(
        f"{name}: median {np.nanmedian(column):.3f}"
        for name, column in zip(results.classes, dice.T)
        if np.isfinite(column).any()
    )
    return [
        exhibit(
            distribution_figure(dice, classes=results.classes), "dice",
            "Dice of every case (points), median (line) and quartiles (bar).",
            f"Distribution of Dice over {len(dice)} cases. {medians}.", wide=True,
        )
    ]  # fmt: skip
