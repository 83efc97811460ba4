"""Uncertainty quantification: Bayesian posteriors over any network, calibration, conformal sets.

A :class:`Posterior` is two functions, ``sample(key, n) -> params`` and
``predictive(key, inputs, n) -> endpoints`` with a leading axis of samples. These functions create
one from any network (Linen, NNX or functions; 2D or 3D; classification, regression, segmentation):

==============================  ===================================================================
:func:`point`                   the trained parameters (MAP)
:func:`mc_dropout`              dropout kept active in prediction
:func:`ensemble_posterior`      deep ensembles of :func:`jaxmed.ensemble`; any set: :func:`members`
:func:`trajectory`              snapshots of a run for :func:`members` and :func:`swag` (and SWA)
:func:`batch_ensemble`          members that share kernels
:func:`packed_ensemble`         narrow members with the total cost of one network
:func:`laplace`                 full, Kronecker or diagonal; last layer or all; linearised
:func:`variational`             mean-field and low-rank NumPyro guides; Flipout, local
:func:`nuts`                    NUTS and HMC on the last layer or all of a small network
:func:`sgmcmc`                  SGLD and SGHMC with cyclical step sizes
:func:`network_model`           the network as a NumPyro model, for anything else
:func:`mixture`                 equal mixture of several posteriors: MultiSWAG, several runs
==============================  ===================================================================

Functions on samples, as NumPy arrays from any source: :func:`decompose` and related functions;
:func:`fit_calibrator` and :func:`calibrate`; conformal sets, intervals and risk control, each
with its guarantee; :func:`selective_scores` and :func:`refer`; out-of-distribution scores. For
studies: :func:`hierarchical_comparison`, :func:`pooled_rates`, :func:`pooled_estimates`,
:func:`bayes_factor`.

NumPyro is imported on first use.
"""

from jaxmed.bayes.conformal._intervals import (
    IntervalRule,
    cross_sets,
    fit_intervals,
    jackknife_plus,
    predict_intervals,
)
from jaxmed.bayes.conformal._ranks import (
    CoverageLaw,
    conformal_p_values,
    conformal_rank,
    conformal_threshold,
    coverage_law,
)
from jaxmed.bayes.conformal._risk import (
    RiskControl,
    RiskPValue,
    control_risk,
    false_negative_losses,
    hoeffding_bentkus,
    learn_then_test,
)
from jaxmed.bayes.conformal._sets import (
    SetRule,
    SetSummary,
    class_scores,
    fit_sets,
    predict_sets,
    set_p_values,
    summarise_sets,
)
from jaxmed.bayes.posteriors._batch_ensemble import batch_ensemble, batch_ensemble_posterior
from jaxmed.bayes.posteriors._dropout import mc_dropout
from jaxmed.bayes.posteriors._function_space import (
    function_samples,
    logistic_normal_mean,
    probit_probabilities,
)
from jaxmed.bayes.posteriors._laplace import Laplace, laplace
from jaxmed.bayes.posteriors._likelihood import Likelihood, bernoulli, categorical, normal
from jaxmed.bayes.posteriors._mcmc import Chains, nuts, subset_posterior
from jaxmed.bayes.posteriors._model import last_layer, network_model, priors_of
from jaxmed.bayes.posteriors._packed import PackedEnsemble, packed_ensemble
from jaxmed.bayes.posteriors._posterior import (
    Posterior,
    make_posterior,
    members,
    point,
    predict_samples,
    softmax_samples,
)
from jaxmed.bayes.posteriors._sgmcmc import StochasticChain, sgmcmc
from jaxmed.bayes.posteriors._trajectory import (
    SwagMoments,
    cyclical_rate,
    ensemble_posterior,
    mixture,
    swag,
    swag_moments,
    trajectory,
)
from jaxmed.bayes.posteriors._variational import Variational, variational
from jaxmed.bayes.studies._conjugate import (
    NormalInverseGamma,
    NormalPosterior,
    RatePosterior,
    linear_posterior,
    linear_posterior_unknown_noise,
    probability_greater,
    rate_posterior,
)
from jaxmed.bayes.studies._criteria import (
    NetworkCriteria,
    network_criteria,
    pointwise_log_likelihood,
)
from jaxmed.bayes.studies._hierarchical import (
    HierarchicalComparison,
    Pooled,
    hierarchical_comparison,
    pooled_estimates,
    pooled_rates,
)
from jaxmed.bayes.studies._importance import BayesFactor, ImportanceSample, bayes_factor, importance
from jaxmed.bayes.studies._simulation_based_calibration import SimulationRanks, simulation_ranks
from jaxmed.bayes.uncertainty._calibrators import Calibrator, calibrate, fit_calibrator
from jaxmed.bayes.uncertainty._decompose import (
    Decomposition,
    Propagated,
    StructureUncertainty,
    decompose,
    decompose_normal,
    propagate,
    structure_uncertainty,
)
from jaxmed.bayes.uncertainty._ood import (
    FeatureFit,
    OodScores,
    disagreement_score,
    energy_score,
    entropy,
    fit_features,
    knn_score,
    mahalanobis_score,
    max_logit_score,
    ood_scores,
)
from jaxmed.bayes.uncertainty._scores import (
    crps_normal,
    crps_samples,
    mixture_log_score,
    normal_log_score,
)
from jaxmed.bayes.uncertainty._selective import (
    Referral,
    RiskCoverage,
    SelectiveScores,
    refer,
    risk_coverage,
    selective_scores,
)

__all__ = [
    "BayesFactor",
    "Calibrator",
    "Chains",
    "CoverageLaw",
    "Decomposition",
    "FeatureFit",
    "HierarchicalComparison",
    "ImportanceSample",
    "IntervalRule",
    "Laplace",
    "Likelihood",
    "NetworkCriteria",
    "NormalInverseGamma",
    "NormalPosterior",
    "OodScores",
    "PackedEnsemble",
    "Pooled",
    "Posterior",
    "Propagated",
    "RatePosterior",
    "Referral",
    "RiskControl",
    "RiskCoverage",
    "RiskPValue",
    "SelectiveScores",
    "SetRule",
    "SetSummary",
    "SimulationRanks",
    "StochasticChain",
    "StructureUncertainty",
    "SwagMoments",
    "Variational",
    "batch_ensemble",
    "batch_ensemble_posterior",
    "bayes_factor",
    "bernoulli",
    "calibrate",
    "categorical",
    "class_scores",
    "conformal_p_values",
    "conformal_rank",
    "conformal_threshold",
    "control_risk",
    "coverage_law",
    "cross_sets",
    "crps_normal",
    "crps_samples",
    "cyclical_rate",
    "decompose",
    "decompose_normal",
    "disagreement_score",
    "energy_score",
    "ensemble_posterior",
    "entropy",
    "false_negative_losses",
    "fit_calibrator",
    "fit_features",
    "fit_intervals",
    "fit_sets",
    "function_samples",
    "hierarchical_comparison",
    "hoeffding_bentkus",
    "importance",
    "jackknife_plus",
    "knn_score",
    "laplace",
    "last_layer",
    "learn_then_test",
    "linear_posterior",
    "linear_posterior_unknown_noise",
    "logistic_normal_mean",
    "mahalanobis_score",
    "make_posterior",
    "max_logit_score",
    "mc_dropout",
    "members",
    "mixture",
    "mixture_log_score",
    "network_criteria",
    "network_model",
    "normal",
    "normal_log_score",
    "nuts",
    "ood_scores",
    "packed_ensemble",
    "point",
    "pointwise_log_likelihood",
    "pooled_estimates",
    "pooled_rates",
    "predict_intervals",
    "predict_samples",
    "predict_sets",
    "priors_of",
    "probability_greater",
    "probit_probabilities",
    "propagate",
    "rate_posterior",
    "refer",
    "risk_coverage",
    "selective_scores",
    "set_p_values",
    "sgmcmc",
    "simulation_ranks",
    "softmax_samples",
    "structure_uncertainty",
    "subset_posterior",
    "summarise_sets",
    "swag",
    "swag_moments",
    "trajectory",
    "variational",
]
