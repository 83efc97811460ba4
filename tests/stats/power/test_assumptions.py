"""Assumptions of plans: each number is refused where it is none, or outside its range."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
SCORES = [share * Y + RNG.normal(size=40) for share in (1.0, 0.5)]
READ = RNG.normal(size=(2, 3, 40)) + Y
TREATMENT, READER, CASE = (index.ravel() for index in np.indices(READ.shape))
PILOT = stats.reader_study(Y[CASE], READ.ravel(), READER, TREATMENT, CASE)
CURVES = stats.Binormal(2.6, 1.0), stats.Binormal(1.9, 1.0)
STUDY = stats.planned_means(0.5, sd=1.0)
ROWS = {"correlation": 0.5, "rows": 1, "icc": 0.0, "margin": 0.1}

# name: function, what stays as it is, the numbers that are each replaced.
PLANS = {
    "model": (
        stats.model_sample_size, (),
        {"parameters": 20, "prevalence": 0.2, "r_squared": 0.15, "shrinkage": 0.9,
         "optimism": 0.05, "margin": 0.05},
    ),
    "model by auc": (stats.model_sample_size, (20, 0.2), {"auc": 0.8}),
    "r squared": (stats.r_squared_of_auc, (), {"auc": 0.8, "prevalence": 0.2}),
    "aucs": (stats.planned_aucs, (), {"first": 0.9, "second": 0.8, "prevalence": 0.5, **ROWS}),
    "rates": (stats.planned_rates, (), {"first": 0.9, "second": 0.8, **ROWS}),
    "means": (stats.planned_means, (), {"effect": 0.1, "sd": 0.1, **ROWS}),
    "means in (0, 1)": (stats.planned_means, (), {"effect": 0.1, "sd": 0.1, "mean": 0.5, **ROWS}),
    "auc": (stats.power_auc, (), {"auc": 0.7, "power": 0.9, "ratio": 1.0, "alpha": 0.05}),
    "auc of n": (stats.power_auc, (), {"auc": 0.7, "positives": 50, "ratio": 1.0, "alpha": 0.05}),
    "auc bound": (
        stats.size_auc_bound, (),
        {"auc": 0.9, "margin": 0.1, "power": 0.8, "alpha": 0.05, "prevalence": 0.5},
    ),
    "two aucs": (
        stats.power_two_aucs, CURVES,
        {"power": 0.8, "ratio": 1.0, "r_positive": 0.5, "r_negative": 0.5, "difference": 0.04,
         "alpha": 0.05},
    ),
    "two aucs of n": (stats.power_two_aucs, CURVES, {"positives": 80, "alpha": 0.05}),
    "pilot": (stats.power_two_aucs_pilot, (Y, *SCORES), {"power": 0.8, "alpha": 0.05}),
    "pilot of n": (stats.power_two_aucs_pilot, (Y, *SCORES), {"positives": 80, "alpha": 0.05}),
    "mcnemar": (stats.power_mcnemar, (0.1, 0.2), {"power": 0.8, "alpha": 0.05}),
    "mcnemar of n": (stats.power_mcnemar, (), {"p_first": 0.1, "p_second": 0.2, "n": 100}),
    "non-inferiority": (
        stats.power_noninferiority, (),
        {"p_new": 0.85, "p_reference": 0.85, "margin": 0.1, "power": 0.8, "alpha": 0.025},
    ),
    "proportions": (
        stats.power_proportions, (), {"p1": 0.8, "p2": 0.9, "n": 100, "alpha": 0.05, "sides": 2},
    ),
    "t": (
        stats.power_t, (), {"effect": 0.02, "sd": 0.08, "power": 0.9, "alpha": 0.05, "sides": 2},
    ),
    "t of n": (stats.power_t, (0.02,), {"sd": 0.08, "n": 50, "alpha": 0.05}),
    "readers": (
        stats.reader_power, (PILOT,), {"readers": 5, "cases": 100, "effect": 0.1, "alpha": 0.05},
    ),
    "cases of readers": (
        stats.reader_sample_size, (PILOT,),
        {"readers": 5, "effect": 0.1, "power": 0.5, "alpha": 0.05, "largest": 1000},
    ),
    "exact bound": (
        stats.size_exact_bound, (),
        {"p": 0.9, "margin": 0.1, "power": 0.8, "alpha": 0.05, "largest": 500},
    ),
    "icc": (stats.size_for_icc, (), {"icc": 0.8, "half_width": 0.1, "raters": 3, "level": 0.95}),
    "kappa": (stats.size_for_kappa, (), {"kappa": 0.6, "half_width": 0.1, "level": 0.95}),
    "limits": (stats.size_for_limits, (), {"half_width": 0.3, "level": 0.95}),
    "width": (
        stats.size_for_width, (),
        {"p": 0.9, "half_width": 0.05, "level": 0.95, "prevalence": 0.3},
    ),
    "simulated": (
        stats.simulate_power, (STUDY,), {"n": 40, "studies": 20, "alpha": 0.05, "level": 0.95},
    ),
    "simulated size": (
        stats.simulate_size, (STUDY,),
        {"power": 0.8, "studies": 20, "alpha": 0.05, "start": 30, "largest": 100, "rounds": 2},
    ),
    "simulated aucs": (
        stats.simulated_auc_power, (),
        {"auc1": 0.9, "auc2": 0.8, "positives": 20, "negatives": 20, "correlation": 0.5,
         "studies": 20, "alpha": 0.05},
    ),
}  # fmt: skip
SIGNED = {"effect", "difference", "correlation", "r_positive", "r_negative"}


@pytest.mark.parametrize("name", PLANS)
def test_what_is_no_number_is_refused_by_its_name(name):
    plan, fixed, numbers = PLANS[name]
    plan(*fixed, **numbers)
    for argument in numbers:
        wrong = [np.nan, np.inf, -np.inf, *([] if argument in SIGNED else [-1])]
        wrong += [0, 2] if argument in ("alpha", "power", "level") else []
        for value in wrong:
            with pytest.raises(ValueError, match=argument.split("_")[0]):
                plan(*fixed, **{**numbers, argument: value})
