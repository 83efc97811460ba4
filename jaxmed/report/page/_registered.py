"""Figures of pairs that were registered."""

from __future__ import annotations

import numpy as np

from jaxmed.report.figures._registration import comparison_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import RegistrationResults


def pair_exhibits(results: RegistrationResults) -> Exhibits:
    """Draw each pair to be looked at: checkerboards before and after."""
    return [
        exhibit(
            comparison_figure(
                np.asarray(pair.fixed, float),
                np.asarray(pair.moving, float),
                np.asarray(pair.moved, float),
                tuple(pair.spacing),
            ),
            f"pair-{i}",
            f"{pair.rank.capitalize()}: {pair.case}. {pair.caption} Squares of the fixed and the "
            "moving image in turn: edges that go on from square to square agree.",
            f"{pair.case}: the fixed image, checkerboards before and after, the moved image.",
            wide=True,
        )
        for i, pair in enumerate(results.drawn)
    ]
