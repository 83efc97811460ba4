"""Figures of a model of images."""

from __future__ import annotations

from jaxmed.report.figures._drawings import drawings_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import DensityResults


def drawing_exhibits(results: DensityResults) -> Exhibits:
    """Draw what the model draws."""
    if not results.drawings:
        return []
    names = "; ".join(results.drawings)
    caption = f"{names}. Pictures show what is plausible; likelihoods say how much of it there is."
    figure = drawings_figure(results.drawings)
    return [exhibit(figure, "drawings", caption, f"Images in rows: {names}.", wide=True)]
