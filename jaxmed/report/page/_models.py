"""Figures of a comparison."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from jaxmed.report.figures._models import (
    Row,
    decision_figure,
    forest_figure,
    models_reliability_figure,
    models_roc_figure,
)
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.page._tables import pretty
from jaxmed.report.results._results import ComparisonResults

_FORESTS = 4  # Metrics whose models and differences are drawn.


def model_exhibits(results: ComparisonResults) -> Exhibits:
    """Draw forest plots, and curves of each model."""
    found = results.comparison
    figures = []
    order = {name: i for i, name in enumerate(found.models)}
    held = next(iter(found.scores.values()), None)
    if results.task == "binary" and held is not None and not _hard(results):
        y = np.asarray(held.labels)
        scores = {name: np.asarray(s.scores)[:, 1] for name, s in found.scores.items()}
        if 0 < y.sum() < len(y):
            measured = [found.models[name].get("auc") for name in scores]
            areas = [
                f"{e.value:.3f} ({e.lower:.3f} to {e.upper:.3f})" if e is not None else ""
                for e in measured
            ]
            figures.append(
                exhibit(
                    models_roc_figure(y, scores, captions=areas), "models-roc",
                    "ROC of each model on the same cases, with the area and its interval.",
                    "ROC curves. " + "; ".join(f"{n}: {a}" for n, a in zip(scores, areas)),
                )
            )  # fmt: skip
            if all(p.min() >= 0 and p.max() <= 1 for p in scores.values()):
                figures.append(
                    exhibit(
                        models_reliability_figure(y, scores, level=results.level),
                        "models-reliability",
                        "How often the class was present where each model said so with a given "
                        "probability, in tenths of the cases, with Wilson intervals.",
                        f"Calibration of {', '.join(scores)}.",
                    )
                )
                figures.append(
                    exhibit(
                        decision_figure(y, scores), "models-decision",
                        "Net benefit of each model, of acting on all cases, and on none.",
                        f"Decision curves of {', '.join(scores)}.",
                    )
                )  # fmt: skip
    tested = list(dict.fromkeys(c.metric for c in found.contrasts))
    for metric in tested[:_FORESTS]:
        rows = [
            Row(name, e.value, e.lower, e.upper, order[name])
            for name in found.models
            if (e := found.models[name].get(metric)) is not None
        ]
        figures.append(_forest(rows, f"models-{metric}", pretty(metric), results.level))
        gaps = [
            Row(f"{c.first} \N{MINUS SIGN} {c.second}", c.test.effect, *c.test.interval)
            for c in found.contrasts
            if c.metric == metric and c.test.interval is not None and c.test.effect is not None
        ]
        if gaps:
            label = f"Difference of {pretty(metric)}"
            figures.append(_forest(gaps, f"gaps-{metric}", label, results.level, zero=0.0))
    return figures


def _hard(results: ComparisonResults) -> bool:
    """Whether the models' predictions are classes without a probability, which have no curve."""
    found = results.comparison
    return any(
        np.isin(held.scores, (0, 1)).all() and "auc" not in found.models[model]
        for model, held in found.scores.items()
    )


def _forest(
    rows: list[Row], name: str, label: str, level: float, *, zero: float | None = None
) -> dict[str, Any]:
    name = re.sub(r"[^a-zA-Z0-9-]", "-", name)
    values = "; ".join(f"{r.name} {r.value:.3f} ({r.lower:.3f} to {r.upper:.3f})" for r in rows)
    caption = f"{label}, with {100 * level:g}% intervals" + (
        " (not corrected for the number of comparisons)." if zero is not None else "."
    )
    figure = forest_figure(rows, title=label, label=label, zero=zero)
    return exhibit(figure, name, caption, f"{label}. {values}")
