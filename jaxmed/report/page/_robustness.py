"""The section of a page on corrupted images."""

from __future__ import annotations

from jaxmed.report.figures._robustness import robustness_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import Results


def robustness_exhibits(results: Results) -> Exhibits:
    """Draw a metric by the strength of each corruption, and say what costs most."""
    found = results.robustness
    if found is None:
        return []
    figure = robustness_figure(found)
    ends = {name: rows[-1].value for name, rows in found.corrupted.items()}
    worst = min(ends, key=lambda name: ends[name])
    strongest = len(found.corrupted[worst])
    told = "; ".join(f"{name} {value:.3f}" for name, value in ends.items())
    return [
        exhibit(
            figure, "robustness",
            f"{found.metric} of images that were corrupted after training, from as they are (0, "
            f"dotted: {found.clean.value:.3f}) to strength {strongest}, with "
            f"{100 * results.level:g}% intervals. At the strongest {worst.replace('_', ' ')} costs "
            f"most: {ends[worst]:.3f}.",
            f"{found.metric} by strength. At strength {strongest}: {told}.", wide=True,
        )
    ]  # fmt: skip
