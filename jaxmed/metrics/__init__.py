"""Metrics: point values for monitoring and evaluation, exact under any batching.

A metric is `Metric(from_batch, merge, compute)`: accumulators of batches can be merged, and rows
with `weight=0` (padding) or labels with `where=False` (missing) have no effect. `evaluate(metric,
outputs, targets)` returns the value on one batch; `collection({...})` computes several in one pass.

The task is inferred from the shapes. Integer labels `(batch,)` with outputs `(batch, classes)` are
multi-class (with two classes the second is positive). 0/1 labels of the outputs' shape `(batch,)`
or `(batch, tasks)` are binary or multi-label. Spatial axes in between are voxels, one label each.
Outputs are logits unless `activation=None` declares them probabilities. A probability at the
threshold is positive; among several outputs the largest is predicted, the first of equal ones.

Outside jit the arithmetic is NumPy's in float64 and invalid input (label outside the classes, NaN
output, wrong shape) raises at once. `from_batch` and `merge` also run inside jit, including on
sharded arrays, in float32; there invalid labels are counted and `compute` raises.

Undefined values are NaN and are excluded from means over classes, tasks and cases; each docstring
states when a value is undefined. The values equal those of `jaxmed.stats`, which adds intervals and
tests and takes labels first, as scikit-learn does; both call `jaxmed.quantities`.

- labels: `accuracy`, `balanced_accuracy`, `precision`, `recall`, `specificity`, `f1`, `mcc`,
  `quadratic_kappa`, `confusion_matrix`
- scores: `auc`, `average_precision`
- times to an event: `concordance`
- probabilities: `brier`, `log_loss`, `ece`
- boxes: `box_average_precision`, `cpm`
- masks: `dice`, `iou`, `volume_error`, and `case_table` for one row per case and class
- surfaces of one pair of masks (NumPy): `hausdorff` (HD, HD95), `average_surface_distance` (ASSD,
  MASD), `surface_dice` (NSD), `surface_distances`
- segments of one pair of images (NumPy): `v_rand`, `v_info`: splits and mergers; `grown`
- continuous: `mse`, `mae`, `r2`
- images against images: `ssim`, `ms_ssim`, `psnr`
"""

from jaxmed.metrics._boxes import box_average_precision, cpm
from jaxmed.metrics._cases import Cases
from jaxmed.metrics._confusion import (
    Confusion,
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    mcc,
    quadratic_kappa,
)
from jaxmed.metrics._images import ms_ssim, psnr, ssim
from jaxmed.metrics._metric import Metric, UndefinedMetricWarning, collection, evaluate
from jaxmed.metrics._probability import brier, ece, log_loss
from jaxmed.metrics._ranking import Scores, auc, average_precision
from jaxmed.metrics._rates import f1, precision, recall, specificity
from jaxmed.metrics._regression import mae, mse, r2
from jaxmed.metrics._segmentation import case_table, dice, iou, volume_error
from jaxmed.metrics._segments import SegmentScores, grown, v_info, v_rand
from jaxmed.metrics._surface import (
    SurfaceDistances,
    average_surface_distance,
    hausdorff,
    surface_dice,
    surface_distances,
    surface_voxels,
)
from jaxmed.metrics._survival import concordance

__all__ = [
    "Cases",
    "Confusion",
    "Metric",
    "Scores",
    "SegmentScores",
    "SurfaceDistances",
    "UndefinedMetricWarning",
    "accuracy",
    "auc",
    "average_precision",
    "average_surface_distance",
    "balanced_accuracy",
    "box_average_precision",
    "brier",
    "case_table",
    "collection",
    "concordance",
    "confusion_matrix",
    "cpm",
    "dice",
    "ece",
    "evaluate",
    "f1",
    "grown",
    "hausdorff",
    "iou",
    "log_loss",
    "mae",
    "mcc",
    "ms_ssim",
    "mse",
    "precision",
    "psnr",
    "quadratic_kappa",
    "r2",
    "recall",
    "specificity",
    "ssim",
    "surface_dice",
    "surface_distances",
    "surface_voxels",
    "v_info",
    "v_rand",
    "volume_error",
]
