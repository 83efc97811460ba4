"""Sizes for a lower limit of an AUC, against the limit that `auc` gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from jaxmed import stats


def power(area, bound, n1, n0, studies=600):
    rng = np.random.default_rng(4)
    y = np.repeat([1, 0], [n1, n0])
    shift = np.sqrt(2) * special.ndtri(area)
    scores = rng.normal(size=(studies, n1 + n0)) + shift * y
    return np.mean([stats.auc(y, x, level=0.9).lower > bound for x in scores])


@pytest.mark.parametrize(("area", "margin", "prevalence"), [(0.9, 0.1, 0.5), (0.95, 0.05, 0.2)])
def test_the_plan_has_the_power_it_says(area, margin, prevalence):
    plan = stats.size_auc_bound(area, margin, prevalence=prevalence)
    size = int(np.ceil(plan.positives)), int(np.ceil(plan.negatives))
    assert 0.76 < power(area, area - margin, *size) < 0.93


def test_the_published_formula_is_there_and_falls_short():
    plan = stats.size_auc_bound(0.9, 0.1, method="hanley-mcneil")
    n = int(np.ceil(plan.positives))
    assert n == 33
    assert power(0.9, 0.8, n, n) < 0.74
    with pytest.raises(ValueError, match="below an AUC of 0"):
        stats.size_auc_bound(0.3, 0.4)
