"""One figure of a page, with its caption and description."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from jaxmed.report.figures._style import to_svg
from jaxmed.report.results._results import Results

Exhibits = list[dict[str, Any]]


def exhibit(
    figure: Figure, name: str, caption: str, alt: str, *, wide: bool = False
) -> dict[str, Any]:
    """Draw a figure: `{svg, caption, wide}`."""
    return {"svg": to_svg(figure, name=name, alt=alt), "caption": caption, "wide": wide}


def interval_text(results: Results, name: str) -> str:
    """Format a metric with its interval; empty if it is not among the metrics."""
    estimate = results.metrics.get(name)
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} ({estimate.lower:.3f} to {estimate.upper:.3f})"
