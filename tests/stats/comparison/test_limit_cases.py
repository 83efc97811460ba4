"""Limit cases of tests: no variance, disagreements that cancel, outliers, two folds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp

from jaxmed import stats


def test_perfect_scores_prove_nothing_to_delong():
    y = [0, 0, 1, 1]
    apart = stats.delong_test(y, [1, 2, 3, 4], [0, 0, 0, 0])
    assert apart.effect == 0.5
    assert apart.p_value == 1
    assert apart.interval[0] < 0 < 0.5 < apart.interval[1]
    assert "no variance" in apart.notes[0]
    inferior = stats.delong_test(
        y, [1, 2, 3, 4], [2, 1, 4, 3], alternative="non-inferiority", margin=0.05
    )
    assert inferior.p_value == 1
    assert inferior.interval[0] < -0.05
    two = stats.delong_test_unpaired(y, [1, 2, 3, 4], y, [1, 2, 3, 4])
    assert two.p_value == 1
    assert two.interval[0] < -0.3 < 0.3 < two.interval[1]


def test_scores_of_the_same_ranks_are_told_so():
    y, x = [0, 0, 1, 1, 0], np.array([1.0, 3, 2, 4, 2.5])
    r = stats.delong_test(y, x, np.exp(x))
    assert (r.effect, r.p_value) == (0, 1)
    assert "rank the cases alike" in r.notes[0]


@pytest.mark.parametrize("method", ["obuchowski", "durkalski", "yang", "eliasziw"])
def test_disagreements_that_cancel_in_every_group_are_no_evidence(method):
    first, second = [1, 0, 1, 0, 1], [0, 1, 0, 1, 1]
    r = stats.clustered_mcnemar_test(first, second, [1, 1, 2, 2, 3], method=method)
    assert (r.statistic, r.p_value, r.effect) == (0, 1, 0)
    assert "cancel" in r.notes[0]


def test_groups_of_one_row_are_mcnemar():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 30))
    r = stats.clustered_mcnemar_test(a, b, np.arange(30), method="eliasziw")
    plain = stats.mcnemar_test(a, b, method="asymptotic")
    assert r.statistic == pytest.approx(plain.statistic)


@pytest.mark.parametrize("far", [6.0, 1e6, 1e12, 1e300])
def test_an_outlier_ties_no_other_values(far):
    one, two = [1.0, 2.0, 3.0], [4.0, 5.0, far]
    assert stats.kruskal_test(one, two).statistic == pytest.approx(sp.kruskal(one, two).statistic)
    rows = [[1, 2, far], [1, 2, far], [1, 2, far], [2, 1, far]]
    want = sp.friedmanchisquare(*np.array(rows).T).statistic
    assert stats.friedman_test(rows).statistic == pytest.approx(want)
    d = [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, far]
    assert stats.wilcoxon_test(d).p_value == pytest.approx(2 / 2**7)


def test_ties_survive_the_rounding_of_a_subtraction():
    a, b = np.array([0.3, 0.7, 0.1 + 0.2, 0.5]), np.array([0.2, 0.6, 0.3, 0.7])
    # Differences of .1, .1, 0 and -.2, of which none is so in floating point.
    r = stats.wilcoxon_test(a, b)
    assert r.details["nonzero"] == 3
    assert r.statistic == 3.0
    assert stats.wilcoxon_test(a - b).statistic == 3.0
    assert stats.wilcoxon_test(a, b, tolerance=0).details["nonzero"] == 4


def test_the_interval_of_5x2cv_is_of_the_effect_told():
    d = [[0.1, 0.09], [0, 0.01], [-0.1, -0.11], [0, 0.01], [-0.09, -0.1]]
    r = stats.five_by_two_test(d, method="t")
    low, high = r.interval
    assert low <= r.effect <= high
    assert r.effect == 0.1
    assert r.details["mean"] == pytest.approx(np.mean(d))
    assert r.statistic == pytest.approx(r.effect / r.details["se"])
    assert (high - low) / 2 == pytest.approx(sp.t.ppf(0.975, 5) * r.details["se"])


def test_cauchy_refuses_p_values_that_contradict_each_other():
    with pytest.raises(ValueError, match="exactly 0 and exactly 1"):
        stats.combine_p_values([0.0, 1.0, 0.3], method="cauchy")
