"""Figures of a classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed import quantities
from jaxmed.report.figures._confusion import confusion_figure
from jaxmed.report.figures._curves import precision_recall_figure, reliability_figure, roc_figure
from jaxmed.report.figures._models import decision_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit, interval_text
from jaxmed.report.results._results import ClassificationResults

# More curves than this are illegible: the rest is in the table.
_CURVES = 8


def class_exhibits(results: ClassificationResults) -> Exhibits:
    """Draw ROC, precision-recall, confusion, reliability and (two classes) decision curves."""
    if results.scores is None:
        return []
    y, s = np.asarray(results.scores.labels), np.asarray(results.scores.scores)
    groups = results.scores.groups
    if results.hard:
        return [] if results.task == "multi-label" else _calls(results, y, s)
    if results.task == "binary":
        return _binary(results, y, s, groups)
    one_hot = y if results.task == "multi-label" else (y[:, None] == np.arange(s.shape[1]))
    both = [
        i
        for i in range(s.shape[1])
        if 0 < np.nansum(one_hot[:, i]) < (~np.isnan(one_hot[:, i])).sum()
    ][:_CURVES]
    figures = []
    if both:
        names = [results.classes[i] for i in both]
        captions = [interval_text(results, f"auc/{name}") for name in names]
        curves = one_hot[:, both].astype(float), s[:, both]
        figures.append(
            exhibit(
                roc_figure(*curves, classes=names, captions=captions),
                "roc",
                "ROC of each class against the rest, with the area and its interval. The dotted "
                "line is chance.",
                "ROC curves. " + "; ".join(f"{n}: AUC {c}" for n, c in zip(names, captions)),
            )
        )
        figures.append(
            exhibit(
                precision_recall_figure(*curves, classes=names),
                "pr",
                "Precision against recall; the dotted lines are the prevalences.",
                f"Precision-recall curves of {', '.join(names)}.",
            )
        )
    if results.task != "multi-label":
        figures += _calls(results, y, s)
        figures.append(_reliability(results, y, s))
    return figures


def _binary(results: ClassificationResults, y: Any, s: Any, groups: Any) -> Exhibits:
    figures = []
    p = s[:, 1]
    if 0 < y.sum() < len(y):
        area = interval_text(results, "auc")
        precision = interval_text(results, "average_precision")
        positive = results.classes[1]
        figures.append(
            exhibit(
                roc_figure(
                    y, p, captions=[f"AUC {area}"], groups=groups, level=results.level,
                    threshold=0.5 if results.threshold is None else results.threshold,
                ),
                "roc",
                f"ROC for {positive}, with the area and its interval. The dotted line is chance.",
                f"ROC curve, AUC {area}.",
            )
        )  # fmt: skip
        figures.append(
            exhibit(
                precision_recall_figure(y, p, captions=[f"AP {precision}"], groups=groups),
                "pr",
                f"Precision against recall for {positive}.",
                f"Precision-recall curve, average precision {precision}.",
            )
        )
    figures += [*_calls(results, y, s), _reliability(results, y, p)]
    if 0 < y.sum() < len(y) and p.min() >= 0 and p.max() <= 1:
        figures.append(
            exhibit(
                decision_figure(y, p, groups=groups, level=results.level),
                "decision",
                "Net benefit of acting where the probability reaches a threshold, against acting "
                "on all cases and on none. A model is of use where it lies above both.",
                "Decision curve of the model.",
            )
        )
    return figures


def _calls(results: ClassificationResults, y: Any, s: Any) -> Exhibits:
    top = quantities.largest(s)
    if results.task == "binary" and results.threshold is not None:
        top = quantities.at_least(s[:, 1], results.threshold).astype(int)
    table = quantities.tabulate(y, top, len(results.classes))
    right = int(np.diag(table).sum())
    rows = "; ".join(
        f"true {truth}: " + ", ".join(f"{n} as {c}" for n, c in zip(row, results.classes) if n)
        for truth, row in zip(results.classes, table)
    )
    return [
        exhibit(
            confusion_figure(y, top, classes=results.classes),
            "confusion",
            "Counts; the shade is the share of the true class.",
            f"Confusion matrix, {right} of {len(y)} right. {rows}.",
        )
    ]  # fmt: skip


def _reliability(results: ClassificationResults, y: Any, p: Any) -> dict[str, Any]:
    ece = interval_text(results, "ece")
    return exhibit(
        reliability_figure(y, p, caption=f"ECE {ece}" if ece else ""),
        "reliability",
        "Observed against predicted, in bins of equal width, with 95% Wilson intervals; below, how "
        "many cases each bin holds. ECE uses 15 bins.",
        f"Reliability diagram, expected calibration error {ece or 'undefined'}.",
    )
