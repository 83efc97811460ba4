"""Tables of a report: metrics, structures, cases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxmed.report.results._by_group import in_order
from jaxmed.report.results._contrasts import untested
from jaxmed.report.results._results import (
    ComparisonResults,
    DetectionResults,
    InstanceResults,
    RegistrationResults,
    Results,
    SegmentationResults,
)

_NAMES = {
    "ap": "AP, IoU 0.5 to 0.95",
    "ap10": "AP, IoU 0.1",
    "ap50": "AP, IoU 0.5",
    "auc": "AUC",
    "auc_gain": "AUC gained by synthetic images",
    "aggregated_jaccard": "Aggregated Jaccard index",
    "instance_ap": "AP (TP / (TP + FP + FN)), IoU 0.5 to 0.9",
    "instance_ap50": "AP (TP / (TP + FP + FN)), IoU 0.5",
    "panoptic_quality": "Panoptic quality",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "cpm": "CPM",
    "cpu": "Processor",
    "cnn_auc": "AUC of a CNN",
    "cnn_auc_gain": "AUC of a CNN gained by synthetic images",
    "copies": "Copies (nearer to a training image than 95% of held-out images are)",
    "dice": "Dice",
    "dice_gain": "Dice gained",
    "ece": "Expected calibration error",
    "f1": "F1 score",
    "folds_percent": "Folds (% of voxels)",
    "frechet_distance": "Fréchet distance",
    "calibration_slope": "Calibration slope",
    "error_of_survival": "Mean error of predicted survival",
    "harrell_c": "Harrell's C",
    "hd95": "HD95",
    "integrated_brier": "Integrated Brier score",
    "iou": "IoU",
    "likeness": "Likeness within a class",
    "log_loss": "Log loss",
    "mae": "Mean absolute error",
    "mae_head": "Mean absolute error within the head",
    "mae_saved": "Mean absolute error saved",
    "mae_grades": "Mean absolute error (grades)",
    "mcc": "Matthews correlation",
    "memory_gb": "Memory (GiB)",
    "nearer_than_held_out": "Nearer to training images than a held-out image is (0.5 by chance)",
    "nsd": "NSD",
    "npv": "Negative predictive value",
    "ppv": "Positive predictive value",
    "quadratic_kappa": "Quadratic kappa",
    "psnr": "PSNR (dB)",
    "r2": "R²",
    "observed_expected": "Observed / expected events",
    "real_dice": "Dice in the real scan",
    "sd_log_jacobian": "SD of the log Jacobian",
    "rmse": "Root mean squared error",
    "ssim": "SSIM",
    "volume_error": "Relative volume error",
    "uno_c": "Uno's C",
}


def pretty(name: str) -> str:
    """Return the display name of a metric.

    Examples:
        >>> pretty("dice/Anterior"), pretty("balanced_accuracy")
        ('Dice, Anterior', 'Balanced accuracy')
        >>> pretty("sensitivity/0.25 false boxes an image")
        'Sensitivity at 1/4 false boxes an image'
    """
    head, _, tail = name.partition("/")
    rate, _, unit = tail.partition(" false boxes")
    if unit:
        value = float(rate)
        told = f"1/{1 / value:g}" if 0 < value < 1 and (1 / value).is_integer() else f"{value:g}"
        boxes = "false box" if value == 1 else "false boxes"
        return f"{head.capitalize()} at {told} {boxes}{unit}"
    head = _NAMES.get(head, head.replace("_", " ").capitalize())
    return f"{head}, {tail}" if tail else head


def metric_table(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return rows `name, estimate, interval, level, n, method, notes` as text."""
    rows = []
    for name, estimate in metrics.items():
        row = {**estimate.to_row(), "name": pretty(name)}
        if math.isnan(estimate.lower) and math.isnan(estimate.upper):
            row |= dict.fromkeys(("interval", "level", "method"), "–")
        rows.append(row)
    return rows


def model_table(results: Results) -> list[dict[str, Any]]:
    """Return rows of metrics by model; empty without a comparison."""
    if not isinstance(results, ComparisonResults):
        return []
    models = results.comparison.models
    metrics = dict.fromkeys(name for found in models.values() for name in found)
    rows = []
    for metric in metrics:
        having = [(model, found[metric]) for model, found in models.items() if metric in found]
        for i, (model, estimate) in enumerate(having):
            row = metric_table({metric: estimate})[0]
            rows.append({**row, "model": model, "first": i == 0, "span": len(having)})
    return rows


def contrast_table(results: Results) -> list[dict[str, Any]]:
    """Return rows of paired tests; empty without a comparison."""
    if not isinstance(results, ComparisonResults):
        return []
    rows = []
    for contrast in results.comparison.contrasts:
        row = contrast.test.to_row()
        rows.append(
            {
                **row,
                "metric": pretty(contrast.metric),
                "pair": f"{contrast.first} \N{MINUS SIGN} {contrast.second}",
                "adjusted": _p(contrast.adjusted),
                "differs": contrast.adjusted <= 1 - contrast.test.level,
            }
        )
    return rows


def untested_list(results: Results) -> list[dict[str, str]]:
    """Return why metrics of a comparison have no test: `{metric, why}`; reasons are said once."""
    if not isinstance(results, ComparisonResults):
        return []
    by_reason: dict[str, list[str]] = {}
    for name, why in untested(results).items():
        by_reason.setdefault(why, []).append(pretty(name))
    return [{"metric": ", ".join(names), "why": why} for why, names in by_reason.items()]


def subgroup_tables(results: Results) -> list[dict[str, Any]]:
    """Return one table per column and metric: `{title, rows, told}`."""
    tables = []
    for table in results.subgroups:
        rows = []
        for name in in_order(table.found.estimates):
            estimate = table.found.estimates[name]
            test = table.found.differences.get(name)
            row = {**metric_table({table.metric: estimate})[0], "name": str(name)}
            row |= dict.fromkeys(("difference", "limits", "p"), "–")
            if test is not None:
                against = test.to_row()
                row |= {"difference": against["effect"], "limits": against["interval"]}
                row["p"] = _p(test.p_value)
            rows.append(row)
        gap = table.found.gap
        between = f"between {gap.details['largest']} and {gap.details['smallest']}"
        told = (
            "Each against all others, p-values corrected within the table. Largest gap: "
            f"{gap.value:.3f} ({gap.lower:.3f} to {gap.upper:.3f}), {between}; a gap is above 0 "
            "by chance alone."
            if table.found.differences
            else f"Each was left out of the training of the models that predicted it. Largest gap: "
            f"{gap.value:.3f}, {between}; a gap is above 0 by chance alone."
        )
        tables.append(
            {
                "title": f"{pretty(table.metric)} by {table.column}"
                + (f", {table.model}" if table.model else ""),
                "rows": rows,
                "told": told,
            }
        )
    return tables


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def class_table(results: Results) -> list[dict[str, Any]]:
    """Return rows of measures by structure; empty without per-case measures."""
    if not isinstance(results, SegmentationResults) or results.overlap is None:
        return []
    rows = []
    several = len(results.classes) > 1
    for c, structure in enumerate(results.classes):
        measures = [*results.overlap.values]
        for i, measure in enumerate(measures):
            column = np.asarray(results.overlap.values[measure])[:, c]
            column = column[np.isfinite(column)]
            estimate = results.metrics.get(f"{measure}/{structure}" if several else measure)
            row = {
                "structure": structure,
                "first": i == 0,
                "span": len(measures),
                "measure": pretty(measure),
                "n": column.size,
            }
            blank = dict.fromkeys(("mean", "interval", "sd", "median", "quartiles", "range"), "–")
            if column.size and estimate is not None:
                text = estimate.to_row()
                low, q1, q2, q3, high = np.percentile(column, [0, 25, 50, 75, 100])
                blank |= {
                    "mean": text["estimate"],
                    "interval": text["interval"],
                    "sd": f"{column.std(ddof=1):.3f}" if column.size > 1 else "–",
                    "median": f"{q2:.3f}",
                    "quartiles": f"{q1:.3f} to {q3:.3f}",
                    "range": f"{low:.3f} to {high:.3f}",
                }
            rows.append(row | blank)
    return rows


def case_table(results: Results) -> tuple[list[str], list[dict[str, Any]]]:
    """Return column names and rows by case, worst first: Dice, errors, what pairs were."""
    if isinstance(results, DetectionResults):
        return _box_rows(results)
    if isinstance(results, InstanceResults):
        return _instance_rows(results)
    if isinstance(results, RegistrationResults):
        return _pair_rows(results)
    if not isinstance(results, SegmentationResults) or results.overlap is None:
        return [], []
    if "dice" not in results.overlap.values:
        return [], []
    dice = np.asarray(results.overlap.values["dice"], float)
    known = np.isfinite(dice)
    mean = np.where(known, dice, 0).sum(1) / np.maximum(known.sum(1), 1)
    mean = np.where(known.any(1), mean, np.nan)
    several = dice.shape[1] > 1
    order = np.argsort(np.where(np.isfinite(mean), mean, np.inf), kind="stable")
    rows = []
    for i in order:
        values = [*dice[i], mean[i]] if several else [*dice[i]]
        text = [f"{v:.3f}" if np.isfinite(v) else "–" for v in values]
        rows.append({"case": results.overlap.cases[i], "numbers": text})
    return [*results.classes, "mean"] if several else [*results.classes], rows


def case_caption(results: Results) -> str:
    """What the table of images counts."""
    if isinstance(results, InstanceResults):
        return "Objects found (an IoU of at least 0.5) and false ones; most errors first."
    if isinstance(results, RegistrationResults):
        return "Pairs before and after; worst first."
    return (
        "Objects found and false boxes, from the score up at which there is one false box an "
        "image; most errors first."
    )


def _instance_rows(results: InstanceResults) -> tuple[list[str], list[dict[str, Any]]]:
    """Objects, those found, and false ones."""
    held = results.found
    columns = held.objects, held.hits, held.found - held.hits
    order = np.lexsort((-held.objects, -(held.objects + held.found - 2 * held.hits)))
    rows = [{"case": held.cases[i], "numbers": [str(int(n[i])) for n in columns]} for i in order]
    return ["objects", "found", "false"], rows


def _pair_rows(results: RegistrationResults) -> tuple[list[str], list[dict[str, Any]]]:
    """What was measured of each pair; the one of the headline that a warp changes sorts."""
    held = results.pairs
    by = next((name for name in results.headline if name.endswith("/after")), None)
    worth = np.zeros(len(held.cases)) if by is None else held.values[by]
    order = np.argsort(np.where(np.isfinite(worth), worth, np.inf), kind="stable")
    rows = [
        {
            "case": held.cases[i],
            "numbers": [f"{v[i]:.3f}" if np.isfinite(v[i]) else "–" for v in held.values.values()],
        }
        for i in order
    ]
    return [pretty(name) for name in held.values], rows


def _box_rows(results: DetectionResults) -> tuple[list[str], list[dict[str, Any]]]:
    """Objects, those found and false boxes, at one false box an image."""
    curve = results.froc
    found, false = curve.counts(curve.threshold(1.0))
    errors = curve.objects - found + false
    rows = [
        {
            "case": results.boxes.cases[i],
            "numbers": [str(int(n[i])) for n in (curve.objects, found, false)],
        }
        for i in np.lexsort((-curve.objects, -errors))
    ]
    return ["objects", "found", "false boxes"], rows
