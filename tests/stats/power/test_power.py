"""Closed-form power and sample sizes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp

from jaxmed import stats


def test_power_of_the_plans_is_what_they_say() -> None:
    rng = np.random.default_rng(3)
    plan = stats.power_proportions(0.8, 0.9, power=0.8)
    a, b = rng.binomial(plan.needed, 0.8, 4000), rng.binomial(plan.needed, 0.9, 4000)
    p = (a + b) / (2 * plan.needed)
    z = (b - a) / plan.needed / np.sqrt(2 * p * (1 - p) / plan.needed)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)
    t = stats.power_t(0.5, power=0.9)
    x = rng.normal(0.5, 1, (3000, t.needed))
    hit = np.abs(x.mean(1) / x.std(1, ddof=1)) * np.sqrt(t.needed) > sp.t.isf(0.025, t.needed - 1)
    assert hit.mean() == pytest.approx(0.9, abs=0.025)
    assert "90% power" in t.sentence
    m = stats.power_mcnemar(0.05, 0.15, n=200, method="exact").power
    b = rng.multinomial(200, [0.05, 0.15, 0.8], 3000)
    found = sp.binom.cdf(b[:, 0], b[:, 0] + b[:, 1], 0.5) <= 0.025
    assert m == pytest.approx(found.mean(), abs=0.03)
    with pytest.raises(ValueError, match="exactly one"):
        stats.power_t(0.5)
    with pytest.raises(ValueError, match="is there an effect"):
        stats.power_proportions(0.8, 0.8, power=0.8)
