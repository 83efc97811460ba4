"""Choice of a report's figures, with captions and descriptions."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxmed.report.figures._confusion import confusion_figure, confusion_matrix
from jaxmed.report.figures._curves import precision_recall_figure, reliability_figure, roc_figure
from jaxmed.report.figures._gallery import case_figure, to_display
from jaxmed.report.figures._history import learning_curves, measures
from jaxmed.report.figures._models import (
    Row,
    decision_figure,
    forest_figure,
    models_reliability_figure,
    models_roc_figure,
)
from jaxmed.report.figures._regression import agreement_figure, observed_figure
from jaxmed.report.figures._segments import distribution_figure
from jaxmed.report.figures._style import to_svg
from jaxmed.report.figures._uncertainty import (
    entropy_figure,
    risk_coverage_figure,
    set_size_figure,
    uncertainty_map_figure,
)
from jaxmed.report.page._tables import pretty
from jaxmed.report.results._results import Results

# More curves than this are illegible: the rest is in the table.
_CURVES = 8
_FORESTS = 4  # Metrics whose models and differences are drawn.


def figure_groups(results: Results) -> list[dict[str, Any]]:
    """Return sections of figures: `{id, name, figures: [{svg, caption, wide}]}`."""
    groups = [
        ("training", "Training", _training(results)),
        ("predictions", "Predictions", _predictions(results)),
        ("agreement", "Agreement", _agreement(results)),
        ("models", "Models side by side", _models(results)),
        ("uncertainty", "Uncertainty", _uncertainty(results)),
    ]
    return [
        {"id": id_, "name": name, "figures": figures} for id_, name, figures in groups if figures
    ]


def case_exhibits(results: Results) -> list[dict[str, Any]]:
    """Draw the pictures with masks."""
    shown = []
    for i, picture in enumerate(results.pictures):
        if isinstance(picture.prediction, str) or picture.prediction is None:
            continue
        figure = case_figure(picture, classes=results.classes)
        alt = (
            f"{picture.rank} case {picture.case}: the image, the true and the predicted outline of "
            f"{', '.join(results.classes)}. {picture.caption}"
        )
        shown.append(
            {
                "svg": to_svg(figure, name=f"case{i}", alt=alt),
                "rank": picture.rank,
                "case": picture.case,
                "caption": picture.caption,
            }
        )
    return shown


def galleries(results: Results) -> list[dict[str, Any]]:
    """Draw the pictures with class names, as thumbnails by rank."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for picture in results.pictures:
        if not isinstance(picture.prediction, str):
            continue
        source, width, height = _thumbnail(picture.image)
        shown.setdefault(picture.rank, []).append(
            {
                "source": source,
                "width": width,
                "height": height,
                "caption": picture.caption,
                "case": picture.case,
                "right": picture.prediction == picture.truth,
                "alt": f"Case {picture.case}: {picture.caption}",
            }
        )
    return [{"name": rank.capitalize(), "pictures": found} for rank, found in shown.items()]


def _exhibit(figure: Figure, name: str, caption: str, alt: str, *, wide: bool = False) -> dict:
    return {"svg": to_svg(figure, name=name, alt=alt), "caption": caption, "wide": wide}


def _training(results: Results) -> list[dict[str, Any]]:
    panels = measures(results.history)
    if not panels:
        return []
    figure = learning_curves(results.history, best=results.best_step)
    ends = []
    for part, (_, values) in panels.get("loss", {}).items():
        ends.append(f"{part} loss from {values[0]:.3f} to {values[-1]:.3f}")
    alt = "Learning curves. " + "; ".join(ends)
    caption = "Learning curves. Long ones are a running median over the faint values."
    return [_exhibit(figure, "history", caption, alt)]


def _interval_text(results: Results, name: str) -> str:
    estimate = results.metrics.get(name)
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} ({estimate.lower:.3f} to {estimate.upper:.3f})"


def _predictions(results: Results) -> list[dict[str, Any]]:
    if results.scores is None:
        return []
    y, s = np.asarray(results.scores.labels), np.asarray(results.scores.scores)
    groups = results.scores.groups
    if results.task == "regression":
        return _numbers(results, y, s)
    if results.task == "binary":
        return _binary(results, y, s, groups)
    one_hot = y if results.task == "multi-label" else (y[:, None] == np.arange(s.shape[1]))
    both = [i for i in range(s.shape[1]) if 0 < one_hot[:, i].sum() < len(y)][:_CURVES]
    figures = []
    if both:
        names = [results.classes[i] for i in both]
        captions = [_interval_text(results, f"auc/{name}") for name in names]
        curves = one_hot[:, both].astype(float), s[:, both]
        figures.append(
            _exhibit(
                roc_figure(*curves, classes=names, captions=captions),
                "roc",
                "ROC of each class against the rest, with the area and its interval. The dotted "
                "line is chance.",
                "ROC curves. " + "; ".join(f"{n}: AUC {c}" for n, c in zip(names, captions)),
            )
        )
        figures.append(
            _exhibit(
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


def _binary(results: Results, y: Any, s: Any, groups: Any) -> list[dict[str, Any]]:
    figures = []
    p = s[:, 1]
    if 0 < y.sum() < len(y):
        area = _interval_text(results, "auc")
        precision = _interval_text(results, "average_precision")
        positive = results.classes[1]
        figures.append(
            _exhibit(
                roc_figure(y, p, captions=[f"AUC {area}"], groups=groups),
                "roc",
                f"ROC for {positive}, with the area and its interval. The dotted line is chance.",
                f"ROC curve, AUC {area}.",
            )
        )
        figures.append(
            _exhibit(
                precision_recall_figure(y, p, captions=[f"AP {precision}"], groups=groups),
                "pr",
                f"Precision against recall for {positive}.",
                f"Precision-recall curve, average precision {precision}.",
            )
        )
    figures += [*_calls(results, y, s), _reliability(results, y, p)]
    if 0 < y.sum() < len(y) and p.min() >= 0 and p.max() <= 1:
        figures.append(
            _exhibit(
                decision_figure(y, p, groups=groups, level=results.level),
                "decision",
                "Net benefit of acting where the probability reaches a threshold, against acting "
                "on all cases and on none. A model is of use where it lies above both.",
                "Decision curve of the model.",
            )
        )
    return figures


def _models(results: Results) -> list[dict[str, Any]]:
    """Draw forest plots and curves of a comparison."""
    found = results.comparison
    if found is None:
        return []
    figures = []
    order = {name: i for i, name in enumerate(found.models)}
    held = next(iter(found.scores.values()), None)
    if results.task == "binary" and held is not None:
        y = np.asarray(held.labels)
        scores = {name: np.asarray(s.scores)[:, 1] for name, s in found.scores.items()}
        if 0 < y.sum() < len(y):
            measured = [found.models[name].get("auc") for name in scores]
            areas = [
                f"{e.value:.3f} ({e.lower:.3f} to {e.upper:.3f})" if e is not None else ""
                for e in measured
            ]
            figures.append(
                _exhibit(
                    models_roc_figure(y, scores, captions=areas), "models-roc",
                    "ROC of each model on the same cases, with the area and its interval.",
                    "ROC curves. " + "; ".join(f"{n}: {a}" for n, a in zip(scores, areas)),
                )
            )  # fmt: skip
            if all(p.min() >= 0 and p.max() <= 1 for p in scores.values()):
                figures.append(
                    _exhibit(
                        models_reliability_figure(y, scores, level=results.level),
                        "models-reliability",
                        "How often the class was present where each model said so with a given "
                        "probability, in tenths of the cases, with Wilson intervals.",
                        f"Calibration of {', '.join(scores)}.",
                    )
                )
                figures.append(
                    _exhibit(
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


def _forest(
    rows: list[Row], name: str, label: str, level: float, *, zero: float | None = None
) -> dict[str, Any]:
    name = re.sub(r"[^a-zA-Z0-9-]", "-", name)
    told = "; ".join(f"{r.name} {r.value:.3f} ({r.lower:.3f} to {r.upper:.3f})" for r in rows)
    caption = f"{label}, with {100 * level:g}% intervals" + (
        " (not corrected for the number of comparisons)." if zero is not None else "."
    )
    figure = forest_figure(rows, title=label, label=label, zero=zero)
    return _exhibit(figure, name, caption, f"{label}. {told}")


def _calls(results: Results, y: Any, s: Any) -> list[dict[str, Any]]:
    top = s.argmax(1)
    table = confusion_matrix(y, top, len(results.classes))
    right = int(np.diag(table).sum())
    told = "; ".join(
        f"true {truth}: " + ", ".join(f"{n} as {c}" for n, c in zip(row, results.classes) if n)
        for truth, row in zip(results.classes, table)
    )
    return [
        _exhibit(
            confusion_figure(y, top, classes=results.classes),
            "confusion",
            "Counts; the shade is the share of the true class.",
            f"Confusion matrix, {right} of {len(y)} right. {told}.",
        )
    ]  # fmt: skip


def _reliability(results: Results, y: Any, p: Any) -> dict[str, Any]:
    ece = _interval_text(results, "ece")
    return _exhibit(
        reliability_figure(y, p, caption=f"ECE {ece}" if ece else ""),
        "reliability",
        "Observed against predicted, in bins of equal width, with 95% Wilson intervals; below, how "
        "many cases each bin holds. ECE uses 15 bins.",
        f"Reliability diagram, expected calibration error {ece or 'undefined'}.",
    )


def _numbers(results: Results, y: Any, s: Any) -> list[dict[str, Any]]:
    error = _interval_text(results, "mae")
    return [
        _exhibit(
            observed_figure(y, s), "observed", "Predicted against true; the line is equality.",
            f"Predicted against true values, mean absolute error {error}.",
        ),
        _exhibit(
            agreement_figure(y, s), "bland",
            "Bland and Altman: difference against mean, with the bias and limits of agreement.",
            f"Bland-Altman plot, bias {_interval_text(results, 'bias')}.",
        ),
    ]  # fmt: skip


def _agreement(results: Results) -> list[dict[str, Any]]:
    if results.overlap is None or "dice" not in results.overlap.values:
        return []
    dice = np.asarray(results.overlap.values["dice"], float)
    medians = "; ".join(
        f"{name}: median {np.nanmedian(column):.3f}"
        for name, column in zip(results.classes, dice.T)
        if np.isfinite(column).any()
    )
    return [
        _exhibit(
            distribution_figure(dice, classes=results.classes), "dice",
            "Dice of every case (points), median (line) and quartiles (bar).",
            f"Distribution of Dice over {len(dice)} cases. {medians}.", wide=True,
        )
    ]  # fmt: skip


def _uncertainty(results: Results) -> list[dict[str, Any]]:
    given = results.uncertainty
    if given is None:
        return []
    figures, of = [], f" ({given.method})" if given.method else ""
    labels = None if results.scores is None else np.asarray(results.scores.labels)
    if given.samples is not None and labels is not None and labels.ndim == 1:
        p = np.asarray(given.samples)
        mean = p.mean(axis=0)
        wrong = (mean.argmax(1) != labels).astype(float)
        figures.append(
            _exhibit(
                risk_coverage_figure(wrong, mean.max(1)), "risk",
                f"Errors among the answered cases, the surest first{of}: what is gained by "
                "referring the unsure ones to a reader.",
                f"Risk-coverage curve over {len(wrong)} cases, {int(wrong.sum())} wrong.",
            )
        )  # fmt: skip
        if len(p) > 1:
            figures.append(
                _exhibit(
                    entropy_figure(p, wrong), "parts",
                    f"Each case's uncertainty{of}: noise in the data to the right, what more data "
                    "would remove upwards.",
                    f"Aleatoric against epistemic uncertainty of {len(wrong)} cases.",
                )
            )  # fmt: skip
    if given.sets is not None and labels is not None:
        size = float(np.asarray(given.sets).sum(1).mean())
        figures.append(
            _exhibit(
                set_size_figure(labels, given.sets, level=given.level), "sets",
                "Size of the conformal prediction sets; above each bar the share of its sets that "
                "holds the truth.",
                f"Histogram of prediction set sizes, mean {size:.2f} classes.",
            )
        )  # fmt: skip
    for i, case in enumerate(given.maps):
        figures.append(
            _exhibit(
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


def _thumbnail(image: Any, limit: int = 320) -> tuple[str, int, int]:
    from PIL import Image

    x = (255 * to_display(image)).round().astype(np.uint8)
    picture = Image.fromarray(x)
    if max(picture.size) > limit:
        picture.thumbnail((limit, limit))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/png;base64,{encoded}", *picture.size
