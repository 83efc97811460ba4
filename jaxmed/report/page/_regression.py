"""Figures of a regression."""

from __future__ import annotations

import numpy as np

from jaxmed.report.figures._regression import agreement_figure, observed_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit, interval_text
from jaxmed.report.results._results import RegressionResults


def number_exhibits(results: RegressionResults) -> Exhibits:
    """Draw predicted against true values, and the Bland-Altman plot."""
    if results.scores is None:
        return []
    y, s = np.asarray(results.scores.labels), np.asarray(results.scores.scores)
    error = interval_text(results, "mae")
    return [
        exhibit(
            observed_figure(y, s), "observed", "Predicted against true; the line is equality.",
            f"Predicted against true values, mean absolute error {error}.",
        ),
        exhibit(
            agreement_figure(y, s), "bland",
            "Bland and Altman: difference against mean, with the bias and limits of agreement.",
            f"Bland-Altman plot, bias {interval_text(results, 'bias')}.",
        ),
    ]  # fmt: skip
