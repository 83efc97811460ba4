"""Figures of a posterior's uncertainty and of conformal sets."""

from __future__ import annotations

import numpy as np

from jaxmed import quantities
from jaxmed.report.figures._uncertainty import (
    entropy_figure,
    risk_coverage_figure,
    set_size_figure,
    uncertainty_map_figure,
)
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import ClassificationResults, SegmentationResults


def uncertainty_exhibits(results: ClassificationResults | SegmentationResults) -> Exhibits:
    """Draw risk against coverage, uncertainty parts, set sizes and maps."""
    given = results.uncertainty
    if given is None:
        return []
    figures, of = [], f" ({given.method})" if given.method else ""
    scores = results.scores if isinstance(results, ClassificationResults) else None
    labels = None if scores is None else np.asarray(scores.labels)
    if given.samples is not None and labels is not None and labels.ndim == 1:
        p = np.asarray(given.samples)
        mean = p.mean(axis=0)
        wrong = (quantities.largest(mean) != labels).astype(float)
        figures.append(
            exhibit(
                risk_coverage_figure(wrong, mean.max(1)), "risk",
                f"Errors among the answered cases, the surest first{of}: what is gained by "
                "referring the unsure ones to a reader.",
                f"Risk-coverage curve over {len(wrong)} cases, {int(wrong.sum())} wrong.",
            )
        )  # fmt: skip
        if len(p) > 1:
            figures.append(
                exhibit(
                    entropy_figure(p, wrong), "parts",
                    f"Each case's uncertainty{of}: noise in the data to the right, what more data "
                    "would remove upwards.",
                    f"Aleatoric against epistemic uncertainty of {len(wrong)} cases.",
                )
            )  # fmt: skip
    if given.sets is not None and labels is not None:
        size = float(np.asarray(given.sets).sum(1).mean())
        figures.append(
            exhibit(
                set_size_figure(labels, given.sets, level=given.level), "sets",
                "Size of the conformal prediction sets; above each bar the share of its sets that "
                "holds the truth.",
                f"Histogram of prediction set sizes, mean {size:.2f} classes.",
            )
        )  # fmt: skip
    for i, case in enumerate(given.maps):
        figures.append(
            exhibit(
                uncertainty_map_figure(
                    case.image, case.samples, truth=case.truth,
                    classes=("background", *results.classes), aspect=case.aspect,
                ),
                f"umap{i}", f"{case.case}. {case.caption}".strip(),
                f"Case {case.case}: prediction, entropy, its aleatoric part and the mutual "
                "information at each pixel.",
                wide=True,
            )
        )  # fmt: skip
    return figures
