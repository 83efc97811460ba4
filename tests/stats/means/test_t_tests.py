"""Paired t tests and their Bayesian counterpart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp

from jaxmed import stats


def test_paired_t_and_its_alternatives_match_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.1, 1, 25), rng.normal(0, 1, 25)
    for alternative in ("two-sided", "greater", "less"):
        ours = stats.paired_t_test(x, y, alternative=alternative)
        theirs = sp.ttest_rel(x, y, alternative=alternative)
        assert ours.statistic == pytest.approx(theirs.statistic)
        assert ours.p_value == pytest.approx(theirs.pvalue)
    same = stats.paired_t_test(x, x)
    assert same.p_value == 1
    assert same.notes
    # Nadeau and Bengio's t is the plain one shrunk by sqrt(1 + J ratio).
    plain = stats.paired_t_test(x, y)
    fixed = stats.corrected_t_test(x, y, ratio=1 / 9)
    assert fixed.statistic == pytest.approx(plain.statistic / np.sqrt(1 + 25 / 9))
    with pytest.raises(ValueError, match="ratio"):
        stats.corrected_t_test(x, y, ratio=0)


def test_bayes_comparison_is_the_posterior_t() -> None:
    d = np.array([0.02, 0.01, 0.03, -0.01])
    b = stats.bayes_correlated_t(d, rope=0.01, ratio=1 / 3)
    law = sp.t(3, d.mean(), np.sqrt(d.var(ddof=1) * (1 / 4 + 1 / 3)))
    assert b == pytest.approx((law.sf(0.01), law.cdf(0.01) - law.cdf(-0.01), law.cdf(-0.01)))
    assert sum(b) == pytest.approx(1)
