"""Definitions of the quantities shared by `metrics` and `stats`, in NumPy only.

`jaxmed.metrics` accumulates batches and `jaxmed.stats` adds intervals; both compute the value here,
so that a name gives the same number everywhere. Nothing here checks its input or imports JAX; the
functions of probabilities, of decisions and of images also work on JAX arrays.

Conventions:

- A score at the threshold is positive (`score >= threshold`); a logit from 0 on.
- Among several scores the largest is chosen, the first of equal ones.
- An undefined value (0 / 0) is NaN, and is excluded from means over classes, tasks or cases.
- A macro average counts the classes that occur in the truth or among the predictions; one of
  these whose own ratio is 0 / 0 (never predicted, or never true) counts as 0. Balanced accuracy
  counts the classes that occur in the truth.
- Labels come first, then scores, then weights, as in `jaxmed.stats`.
"""

from jaxmed.quantities._boxes import (
    box_overlaps,
    match_boxes,
    tie_ends,
    weighted_box_average_precision,
    weighted_froc,
)
from jaxmed.quantities._decisions import at_least, largest, logit, second_is_largest
from jaxmed.quantities._features import (
    Neighbourhoods,
    Neighbours,
    cubic_kernel,
    frechet_distance,
    nearest_rows,
    neighbour_radii,
    neighbourhoods,
    squared_discrepancy,
)
from jaxmed.quantities._images import (
    gaussian_windows,
    most_scales,
    ms_ssim,
    psnr,
    ssim,
    ssim_map,
)
from jaxmed.quantities._instances import (
    Contingency,
    aggregated_jaccard,
    contingency,
    match_instances,
)
from jaxmed.quantities._masks import dice, iou, volume_error
from jaxmed.quantities._means import divide, mean_defined
from jaxmed.quantities._partitions import (
    adjusted_rand,
    information_shares,
    normalised_mutual_information,
    pair_shares,
)
from jaxmed.quantities._probabilities import (
    brier_values,
    calibration_error,
    floored,
    log_loss_values,
    width_bins,
)
from jaxmed.quantities._ranks import (
    Placements,
    auc,
    average_precision,
    macro_auc,
    midrank,
    placements,
    weighted_auc,
    weighted_average_precision,
)
from jaxmed.quantities._regression import bias, explained, mae, mse, r2, rmse
from jaxmed.quantities._scale import deviation, unit_scale
from jaxmed.quantities._survival import (
    PairSums,
    RiskTable,
    censoring_steps,
    concordance,
    concordance_sums,
    kaplan_meier_steps,
    risk_table,
    step_at,
)
from jaxmed.quantities._tables import (
    accuracy,
    balanced_accuracy,
    costs,
    f_scores,
    kappa,
    macro,
    mcc,
    occurring,
    one_against_rest,
    precisions,
    ratios,
    recalls,
    specificities,
    tabulate,
)

__all__ = [
    "Contingency",
    "Neighbourhoods",
    "Neighbours",
    "PairSums",
    "Placements",
    "RiskTable",
    "accuracy",
    "adjusted_rand",
    "aggregated_jaccard",
    "at_least",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "bias",
    "box_overlaps",
    "brier_values",
    "calibration_error",
    "censoring_steps",
    "concordance",
    "concordance_sums",
    "contingency",
    "costs",
    "cubic_kernel",
    "deviation",
    "dice",
    "divide",
    "explained",
    "f_scores",
    "floored",
    "frechet_distance",
    "gaussian_windows",
    "information_shares",
    "iou",
    "kaplan_meier_steps",
    "kappa",
    "largest",
    "log_loss_values",
    "logit",
    "macro",
    "macro_auc",
    "mae",
    "match_boxes",
    "match_instances",
    "mcc",
    "mean_defined",
    "midrank",
    "most_scales",
    "ms_ssim",
    "mse",
    "nearest_rows",
    "neighbour_radii",
    "neighbourhoods",
    "normalised_mutual_information",
    "occurring",
    "one_against_rest",
    "pair_shares",
    "placements",
    "precisions",
    "psnr",
    "r2",
    "ratios",
    "recalls",
    "risk_table",
    "rmse",
    "second_is_largest",
    "specificities",
    "squared_discrepancy",
    "ssim",
    "ssim_map",
    "step_at",
    "tabulate",
    "tie_ends",
    "unit_scale",
    "volume_error",
    "weighted_auc",
    "weighted_average_precision",
    "weighted_box_average_precision",
    "weighted_froc",
    "width_bins",
]
