"""Statistics: estimates with confidence intervals and tests for comparisons.

Pure functions on arrays of any model's predictions; only NumPy and SciPy are needed. All metrics
share one signature, ``stats.auc(labels, scores, method=..., level=0.95, groups=None)``, and
return an ``Estimate`` (value, limits, n, unit, method, notes); comparisons return a ``TestResult``.
Both can be printed or converted to a dict or a table row. ``groups`` gives the patient of each row,
so that intervals count patients when rows are images or lesions. Higher scores indicate positives,
and a score at the threshold is positive.

The same rules hold throughout, unless a function says otherwise. Tests and intervals are two-sided
(``alternative="two-sided"``); a one-sided bound is requested by name (``side=``). Averages over
classes count those that occur in the truth or among the predictions (balanced accuracy: in the
truth). Rows have no order: tied scores share a rank and a bin, and of tied classes the first is
called. A group (patient) is one unit however many rows it has; a rate that rests on a single group
has the whole range as its interval, with a note.

NaN is never returned silently: input without an answer raises ``ValueError`` stating the rule, and
a boundary value (an AUC of 1, a zero cell) comes with a note.
"""

from jaxmed._deprecated import deprecated_names as _deprecated_names
from jaxmed.quantities import midrank, weighted_auc, weighted_average_precision
from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats.calibration._recalibration import (
    MurphyParts,
    ScoreParts,
    SmoothGap,
    Validation,
    corp,
    fit_temperature,
    isotonic,
    lowess,
    murphy,
    smooth_calibration,
    validation_indices,
)
from jaxmed.stats.calibration._reliability import (
    Reliability,
    calibration_intercept,
    calibration_slope,
    ece,
    recalibrate,
    reliability,
)
from jaxmed.stats.calibration._tests import (
    cumulative_test,
    hosmer_lemeshow_test,
    spiegelhalter_test,
)
from jaxmed.stats.comparison._batch import DelongBatch, delong_batch, simulated_auc_power
from jaxmed.stats.comparison._compare_auc import delong_test, delong_test_unpaired
from jaxmed.stats.comparison._compare_bootstrap import bootstrap_test
from jaxmed.stats.comparison._effects import cliffs_delta, cohen_d, concordance
from jaxmed.stats.comparison._mcnemar import clustered_mcnemar_test, mcnemar_test
from jaxmed.stats.comparison._multiplicity import adjust_p_values, combine_p_values
from jaxmed.stats.comparison._paired_diagnostics import predictive_value_test, relative_test
from jaxmed.stats.comparison._paired_proportions import paired_difference, paired_table
from jaxmed.stats.comparison._permutation import (
    max_t_test,
    permutation_test,
    sign_flip_sums,
    sign_flip_test,
)
from jaxmed.stats.comparison._rank_tests import friedman_test, kruskal_test, wilcoxon_test
from jaxmed.stats.comparison._runs import over_runs
from jaxmed.stats.comparison._seeds import seed_components
from jaxmed.stats.comparison._subgroups import Subgroups, subgroups
from jaxmed.stats.comparison._table_tests import (
    bowker_test,
    chi_square_test,
    cochran_q_test,
    stuart_maxwell_test,
)
from jaxmed.stats.comparison._two_proportions import proportion_difference, proportion_ratio
from jaxmed.stats.comparison._venkatraman import venkatraman_test
from jaxmed.stats.diagnostic._auc import auc
from jaxmed.stats.diagnostic._auc_multiclass import multiclass_auc
from jaxmed.stats.diagnostic._average_precision import average_precision
from jaxmed.stats.diagnostic._binary import Counts, counts, sensitivity, specificity
from jaxmed.stats.diagnostic._binormal import (
    Binormal,
    binormal_covariance,
    binormal_variance,
    fit_binormal,
)
from jaxmed.stats.diagnostic._curves import (
    Band,
    PrCurve,
    RocCurve,
    pr_band,
    pr_curve,
    roc_band,
    roc_curve,
)
from jaxmed.stats.diagnostic._decision_curve import (
    CostCurve,
    DecisionCurve,
    cost_curve,
    decision_curve,
)
from jaxmed.stats.diagnostic._device import DeviceDelong, auc_on_device, delong_on_device
from jaxmed.stats.diagnostic._f_score import f1, macro_precision, macro_recall
from jaxmed.stats.diagnostic._mcc import mcc
from jaxmed.stats.diagnostic._multiclass import accuracy, balanced_accuracy, top_k_accuracy
from jaxmed.stats.diagnostic._operating import (
    OperatingPoint,
    operating_points,
    partial_auc,
    partial_auc_value,
    rate_at,
    rate_value,
)
from jaxmed.stats.diagnostic._predictive import npv, ppv
from jaxmed.stats.diagnostic._proportion import clustered_proportion, proportion, proportion_limits
from jaxmed.stats.diagnostic._ratios import diagnostic_odds_ratio, likelihood_ratio, youden
from jaxmed.stats.diagnostic._scoring import brier, log_loss
from jaxmed.stats.diagnostic._table import confusion
from jaxmed.stats.means._summary import mean, median
from jaxmed.stats.means._t_tests import (
    BayesComparison,
    bayes_correlated_t,
    corrected_t_test,
    five_by_two_test,
    paired_t_test,
)
from jaxmed.stats.objects._average_precision import COCO_IOUS, box_average_precision
from jaxmed.stats.objects._froc import CPM_RATES, Froc, froc
from jaxmed.stats.objects._instances import InstanceScores, instance_scores
from jaxmed.stats.power._agreement import power_curve, size_for_icc, size_for_kappa, size_for_limits
from jaxmed.stats.power._auc import (
    AucPower,
    power_auc,
    power_two_aucs,
    power_two_aucs_pilot,
    size_auc_bound,
)
from jaxmed.stats.power._designs import planned_aucs, planned_means, planned_rates
from jaxmed.stats.power._precision import PrecisionPlan, size_exact_bound, size_for_width
from jaxmed.stats.power._prediction_model import ModelSize, model_sample_size, r_squared_of_auc
from jaxmed.stats.power._rates_and_means import (
    Power,
    power_mcnemar,
    power_noninferiority,
    power_proportions,
    power_t,
)
from jaxmed.stats.power._simulate import PlannedStudy, simulate_power, simulate_size
from jaxmed.stats.readers._components import VarianceComponents
from jaxmed.stats.readers._froc import froc_study
from jaxmed.stats.readers._kappa import kappa
from jaxmed.stats.readers._measurements import BlandAltman, bland_altman, concordance_correlation
from jaxmed.stats.readers._one_shot import one_shot_test, one_shot_variance
from jaxmed.stats.readers._power import ReaderPower, reader_power, reader_sample_size
from jaxmed.stats.readers._pseudovalues import PseudovalueAnova, dbm_anova
from jaxmed.stats.readers._raters import fleiss_kappa, icc
from jaxmed.stats.readers._study import ReaderStudy, reader_study
from jaxmed.stats.readers._treatments import ReaderTest, reader_test
from jaxmed.stats.resampling._bootstrap import (
    Replicates,
    acceleration,
    bootstrap,
    bootstrap_replicates,
)
from jaxmed.stats.resampling._draws import Draws, draw_resamples, replicates_on, replicates_test
from jaxmed.stats.resampling._jackknife import jackknife
from jaxmed.stats.resampling._repeats import warn_repeats
from jaxmed.stats.selection._best_of_several import bbc_cv
from jaxmed.stats.selection._information import (
    InformationCriteria,
    LogisticModel,
    information_criteria,
    information_weights,
    leave_one_out_scores,
    likelihood_ratio_test,
    logistic_model,
    one_standard_error,
)
from jaxmed.stats.selection._mcmc import ChainDiagnostics, chain_diagnostics
from jaxmed.stats.selection._psis import (
    Elpd,
    compare_elpd,
    model_weights,
    pareto_smooth,
    psis_loo,
    waic,
)
from jaxmed.stats.survival._at_times import integrated_brier, survival_auc, survival_brier
from jaxmed.stats.survival._calibration import SurvivalCalibration, survival_calibration
from jaxmed.stats.survival._competing import cumulative_incidence, gray_test
from jaxmed.stats.survival._concordance import survival_concordance, survival_concordance_test
from jaxmed.stats.survival._cox import BaselineHazard, CoxModel, breslow, cox_model
from jaxmed.stats.survival._curves import (
    SurvivalCurve,
    kaplan_meier,
    nelson_aalen,
    restricted_mean_survival,
    survival_quantile,
)
from jaxmed.stats.survival._log_rank import log_rank_test
from jaxmed.stats.synthetic._distances import frechet_distance, kernel_distance
from jaxmed.stats.synthetic._memory import Memorised, memorised
from jaxmed.stats.synthetic._neighbourhoods import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from jaxmed.stats.synthetic._quality import Judged, SyntheticQuality, synthetic_quality

__all__ = [
    "COCO_IOUS",
    "CPM_RATES",
    "AucPower",
    "Band",
    "BaselineHazard",
    "BayesComparison",
    "Binormal",
    "BlandAltman",
    "ChainDiagnostics",
    "CostCurve",
    "Counts",
    "CoxModel",
    "DecisionCurve",
    "DelongBatch",
    "DensityCoverage",
    "DeviceDelong",
    "Draws",
    "Elpd",
    "Estimate",
    "Froc",
    "InformationCriteria",
    "InstanceScores",
    "Judged",
    "LogisticModel",
    "Memorised",
    "ModelSize",
    "MurphyParts",
    "OperatingPoint",
    "PlannedStudy",
    "Power",
    "PrCurve",
    "PrecisionPlan",
    "PrecisionRecall",
    "PseudovalueAnova",
    "ReaderPower",
    "ReaderStudy",
    "ReaderTest",
    "Reliability",
    "Replicates",
    "RocCurve",
    "ScoreParts",
    "SmoothGap",
    "Subgroups",
    "SurvivalCalibration",
    "SurvivalCurve",
    "SyntheticQuality",
    "TestResult",
    "Validation",
    "VarianceComponents",
    "acceleration",
    "accuracy",
    "adjust_p_values",
    "auc",
    "auc_on_device",
    "average_precision",
    "balanced_accuracy",
    "bayes_correlated_t",
    "bbc_cv",
    "binormal_covariance",
    "binormal_variance",
    "bland_altman",
    "bootstrap",
    "bootstrap_replicates",
    "bootstrap_test",
    "bowker_test",
    "box_average_precision",
    "breslow",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "chain_diagnostics",
    "chi_square_test",
    "cliffs_delta",
    "clustered_mcnemar_test",
    "clustered_proportion",
    "cochran_q_test",
    "cohen_d",
    "combine_p_values",
    "compare_elpd",
    "concordance",
    "concordance_correlation",
    "confusion",
    "corp",
    "corrected_t_test",
    "cost_curve",
    "counts",
    "cox_model",
    "cumulative_incidence",
    "cumulative_test",
    "dbm_anova",
    "decision_curve",
    "delong_batch",
    "delong_on_device",
    "delong_test",
    "delong_test_unpaired",
    "density_coverage",
    "diagnostic_odds_ratio",
    "draw_resamples",
    "ece",
    "f1",
    "fit_binormal",
    "fit_temperature",
    "five_by_two_test",
    "fleiss_kappa",
    "frechet_distance",
    "friedman_test",
    "froc",
    "froc_study",
    "gray_test",
    "hosmer_lemeshow_test",
    "icc",
    "information_criteria",
    "information_weights",
    "instance_scores",
    "integrated_brier",
    "isotonic",
    "jackknife",
    "kaplan_meier",
    "kappa",
    "kernel_distance",
    "kruskal_test",
    "leave_one_out_scores",
    "likelihood_ratio",
    "likelihood_ratio_test",
    "log_loss",
    "log_rank_test",
    "logistic_model",
    "lowess",
    "macro_precision",
    "macro_recall",
    "max_t_test",
    "mcc",
    "mcnemar_test",
    "mean",
    "median",
    "memorised",
    "midrank",
    "model_sample_size",
    "model_weights",
    "multiclass_auc",
    "murphy",
    "nelson_aalen",
    "npv",
    "one_shot_test",
    "one_shot_variance",
    "one_standard_error",
    "operating_points",
    "over_runs",
    "paired_difference",
    "paired_t_test",
    "paired_table",
    "pareto_smooth",
    "partial_auc",
    "partial_auc_value",
    "permutation_test",
    "planned_aucs",
    "planned_means",
    "planned_rates",
    "power_auc",
    "power_curve",
    "power_mcnemar",
    "power_noninferiority",
    "power_proportions",
    "power_t",
    "power_two_aucs",
    "power_two_aucs_pilot",
    "ppv",
    "pr_band",
    "pr_curve",
    "precision_recall",
    "predictive_value_test",
    "proportion",
    "proportion_difference",
    "proportion_limits",
    "proportion_ratio",
    "psis_loo",
    "r_squared_of_auc",
    "rate_at",
    "rate_value",
    "reader_power",
    "reader_sample_size",
    "reader_study",
    "reader_test",
    "recalibrate",
    "relative_test",
    "reliability",
    "replicates_on",
    "replicates_test",
    "restricted_mean_survival",
    "roc_band",
    "roc_curve",
    "seed_components",
    "sensitivity",
    "sign_flip_sums",
    "sign_flip_test",
    "simulate_power",
    "simulate_size",
    "simulated_auc_power",
    "size_auc_bound",
    "size_exact_bound",
    "size_for_icc",
    "size_for_kappa",
    "size_for_limits",
    "size_for_width",
    "smooth_calibration",
    "specificity",
    "spiegelhalter_test",
    "stuart_maxwell_test",
    "subgroups",
    "survival_auc",
    "survival_brier",
    "survival_calibration",
    "survival_concordance",
    "survival_concordance_test",
    "survival_quantile",
    "synthetic_quality",
    "top_k_accuracy",
    "validation_indices",
    "venkatraman_test",
    "waic",
    "warn_repeats",
    "weighted_auc",
    "weighted_average_precision",
    "wilcoxon_test",
    "youden",
]

__getattr__ = _deprecated_names(
    __name__,
    {"adjust": "adjust_p_values", "combine": "combine_p_values", "draw": "draw_resamples"},
)
