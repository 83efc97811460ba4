"""Statistics: every number with its interval, every comparison with its test.

Pure functions on arrays, of any model's predictions; needs NumPy and SciPy only. A metric is
called alike throughout, ``stats.auc(labels, scores, method=..., level=0.95, groups=None)``, and
gives an ``Estimate`` (value, limits, n, unit, method, notes); a comparison gives a ``TestResult``.
Both print, and turn into a dict or a table row. ``groups`` names the patient of each row, so that
the interval counts patients where rows are images or lesions. Scores are better for positives
where they are higher, and a score at the threshold is positive.

Nothing returns NaN in silence: input that has no answer raises ``ValueError`` with the rule, and
a limit value (an AUC of 1, a zero cell) comes with a note.
"""

from __future__ import annotations

from jaxmed.stats._auc import auc
from jaxmed.stats._auc_multiclass import multiclass_auc
from jaxmed.stats._average_precision import average_precision
from jaxmed.stats._binary import (
    Counts,
    counts,
    diagnostic_odds_ratio,
    likelihood_ratio,
    npv,
    ppv,
    sensitivity,
    specificity,
    youden,
)
from jaxmed.stats._bootstrap import (
    Replicates,
    acceleration,
    bootstrap,
    bootstrap_replicates,
    jackknife,
)
from jaxmed.stats._calibration import (
    Reliability,
    calibration_intercept,
    calibration_slope,
    ece,
    recalibrate,
    reliability,
)
from jaxmed.stats._curves import Band, PrCurve, RocCurve, pr_band, pr_curve, roc_band, roc_curve
from jaxmed.stats._kappa import kappa
from jaxmed.stats._multiclass import (
    accuracy,
    balanced_accuracy,
    f1,
    macro_precision,
    macro_recall,
    mcc,
    top_k_accuracy,
)
from jaxmed.stats._proportion import clustered_proportion, proportion, proportion_limits
from jaxmed.stats._rank import midrank
from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats._scoring import brier, log_loss
from jaxmed.stats._summary import mean, median
from jaxmed.stats._table import confusion

__all__ = [
    "Band",
    "Counts",
    "Estimate",
    "PrCurve",
    "Reliability",
    "Replicates",
    "RocCurve",
    "TestResult",
    "acceleration",
    "accuracy",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "bootstrap",
    "bootstrap_replicates",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "clustered_proportion",
    "confusion",
    "counts",
    "diagnostic_odds_ratio",
    "ece",
    "f1",
    "jackknife",
    "kappa",
    "likelihood_ratio",
    "log_loss",
    "macro_precision",
    "macro_recall",
    "mcc",
    "mean",
    "median",
    "midrank",
    "multiclass_auc",
    "npv",
    "ppv",
    "pr_band",
    "pr_curve",
    "proportion",
    "proportion_limits",
    "recalibrate",
    "reliability",
    "roc_band",
    "roc_curve",
    "sensitivity",
    "specificity",
    "top_k_accuracy",
    "youden",
]
