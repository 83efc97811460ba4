"""Figures of what a network makes of the cases."""

from __future__ import annotations

import numpy as np

from jaxmed.report.figures._projection import projection_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import ClassificationResults


def feature_exhibits(results: ClassificationResults) -> Exhibits:
    """Draw maps of features, in the colours of the true classes where a case has one class."""
    if results.maps is None or results.scores is None:
        return []
    rows = results.maps.rows
    labels = np.asarray(results.scores.labels)[rows]
    of_one = labels.ndim == 1
    figure = projection_figure(
        None,
        labels if of_one else None,
        maps=results.maps.maps,
        classes=results.classes if of_one else (),
        images=results.maps.images,
    )
    which = "" if len(rows) == len(results.scores.cases) else f" of {len(results.scores.cases)}"
    trust = "; ".join(
        f"{m.name}: trustworthiness {m.trust.value:.3f} "
        f"({m.trust.lower:.3f} to {m.trust.upper:.3f})"
        for m in results.maps.maps
        if m.trust is not None
    )
    caption = (
        f"Maps of {results.maps.what}, {len(rows)}{which} cases"
        + (", by their true class" if of_one else "")
        + ". Trustworthiness is 1 where the neighbours on a map are neighbours in the features."
    )
    return [exhibit(figure, "features", caption, f"Maps of features. {trust}.", wide=True)]
