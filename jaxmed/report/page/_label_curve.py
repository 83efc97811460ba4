"""The section of a page on how many labels models need."""

from __future__ import annotations

import math

from jaxmed.report.figures._label_curve import label_curve_figure
from jaxmed.report.figures._models import Row, forest_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import Results


def label_exhibits(results: Results) -> Exhibits:
    """Draw the curves of labels, and what each strategy gains over the baseline."""
    curve = results.label_curve
    if curve is None:
        return []
    level = f"{100 * results.level:g}%"
    ends = [f"{name} {found[-1].value:.3f}" for name, found in curve.points.items()]
    figures = [
        exhibit(
            label_curve_figure(curve, title="By the number of labels"), "label-curve",
            f"Each strategy by the number of labels, with {level} intervals over seeds and cases. "
            f"The dotted line is where {curve.baseline} ends.",
            f"Curves of labels, {curve.counts[0]:g} to {curve.counts[-1]:g}. At their end: "
            + "; ".join(ends), wide=True,
        )
    ]  # fmt: skip
    if curve.gains:
        rows = [
            Row(name, gain.value, gain.lower, gain.upper, i)
            for i, (name, gain) in enumerate(curve.gains.items(), start=1)
        ]
        label = f"Area under the curve, less that of {curve.baseline}"
        values = "; ".join(f"{r.name} {r.value:.3f} ({r.lower:.3f} to {r.upper:.3f})" for r in rows)
        figures.append(
            exhibit(
                forest_figure(rows, title="Gain", label=label, zero=0.0), "label-gains",
                f"{label}, paired by seed and case, with {level} intervals. {_helps(curve)} "
                f"{_saved(curve)}",
                f"{label}. {values}",
            )
        )  # fmt: skip
    return figures


def _helps(curve) -> str:
    better = [name for name, gain in curve.gains.items() if gain.lower > 0]
    worse = [name for name, gain in curve.gains.items() if gain.upper < 0]
    told = f"Better than {curve.baseline}: {', '.join(better)}." if better else (
        f"No strategy is shown to be better than {curve.baseline} here."
    )  # fmt: skip
    return f"{told} Worse: {', '.join(worse)}." if worse else told


def _saved(curve) -> str:
    """Labels saved where a strategy first comes as far as the baseline does in the end."""
    parts = [
        f"{name} {'never' if math.isnan(share) else f'{100 * share:.0f}%'}"
        for name, share in curve.saved.items()
    ]
    return (
        f"Labels saved until a strategy first comes as far as {curve.baseline} does in the end "
        f"(without an interval; negative: more are needed): {', '.join(parts)}."
    )
