"""Overlap and surface distances of masks, under each tool's own definition."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed import metrics
from reference_cases.compare import Case, Ignored, Unsupported

_OTHER = {
    "surface_distance": "areas of marching-cubes patches: not offered",
    "meshmetrics": "distances of triangulated surfaces: not offered",
    "seg_metrics": "its surface is fully connected and an empty prediction scores 0",
}


def _masks(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    content = np.load(case.path())
    shape = tuple(content["shape"])
    ref, pred = (
        np.unpackbits(content[k])[: int(np.prod(shape))].reshape(shape).astype(bool)
        for k in ("ref", "pred")
    )
    return pred, ref, content["spacing"]


def run(case: Case) -> dict[str, Any]:
    pred, ref, spacing = _masks(case)
    if "hd" in case.expected or "boundary" in case.params:
        return _distances(case, pred, ref, spacing)
    if "tolerances" in case.params:
        return _tools(case, pred, ref, spacing)
    return _overlap(pred, ref)


def _overlap(pred: np.ndarray, ref: np.ndarray) -> dict[str, Any]:
    outputs, targets = (m.astype(np.int32)[None] for m in (pred, ref))

    def value(metric: Any) -> float:
        return float(np.asarray(metrics.evaluate(metric, outputs, targets)))

    both, a, b = int((pred & ref).sum()), int(ref.sum()), int(pred.sum())
    nan = float("nan")
    return {
        "dice": _foreground(metrics.dice, outputs, targets),
        "iou": _foreground(metrics.iou, outputs, targets),
        "volume_ref_voxels": a,
        "volume_pred_voxels": b,
        "volumetric_similarity": 1 - abs(a - b) / (a + b) if a + b else nan,
        "relative_volume_difference": (b - a) / a if a else nan,
        "precision": both / b if b else nan,
        "recall": both / a if a else nan,
    }


def _foreground(metric: Any, outputs: np.ndarray, targets: np.ndarray) -> float:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(metrics.evaluate(metric(classes=2), outputs, targets))


def _distances(case: Case, pred: np.ndarray, ref: np.ndarray, spacing: Any) -> dict[str, Any]:
    space = {"spacing": spacing}
    average = metrics.average_surface_distance
    answer = {
        "hd": metrics.hausdorff(pred, ref, **space),
        "hd95_max_of_directed": metrics.hausdorff(pred, ref, percentile=95, **space),
        "hd95_pooled": metrics.hausdorff(pred, ref, percentile=95, definition="pooled", **space),
        "assd_pooled": average(pred, ref, **space),
        "masd": average(pred, ref, definition="masd", **space),
        "asd_a_to_b": average(pred, ref, definition="from-target", **space),
        "asd_b_to_a": average(pred, ref, definition="from-prediction", **space),
        "n_border_a": len(metrics.surface_voxels(ref)),
        "n_border_b": len(metrics.surface_voxels(pred)),
    }
    for t in case.params["tolerances"]:
        answer[f"nsd_{t:g}"] = metrics.surface_dice(pred, ref, tolerance=t, **space)
    return answer


def _tools(case: Case, pred: np.ndarray, ref: np.ndarray, spacing: Any) -> dict[str, Any]:
    """Each tool's numbers where jaxmed offers its definition; empty masks follow jaxmed's rule."""
    if not pred.any() or not ref.any():
        raise Unsupported("tools disagree on empty masks; jaxmed's rule is NaN, inf or 0")
    ours = _distances(case, pred, ref, spacing) | _overlap(pred, ref)
    average = metrics.average_surface_distance
    names = {
        "hd": ours["hd"],
        "dice": ours["dice"],
        "iou": ours["iou"],
        "jaccard": ours["iou"],
        "precision": ours["precision"],
        "recall": ours["recall"],
        "assd": ours["assd_pooled"],
        "masd": ours["masd"],
        "asd_symmetric": ours["assd_pooled"],
        "asd_pred_to_ref": ours["asd_b_to_a"],
        "asd_ref_to_pred": ours["asd_a_to_b"],
        "average_hd": average(pred, ref, definition="volume", spacing=spacing),
    } | {k: v for k, v in ours.items() if k.startswith("nsd_")}
    answer: dict[str, Any] = {}
    for tool, values in case.expected.items():
        if tool in _OTHER or "error" in values:
            answer[tool] = Ignored(_OTHER.get(tool, "the tool raised"))
            continue
        kind = "pooled" if tool == "medpy" else "max_of_directed"
        known = names | {"hd95": ours[f"hd95_{kind}"]}
        answer[tool] = {k: known.get(k, Ignored(f"{k} is not offered")) for k in values}
    return answer
