"""Tests of hypotheses: SciPy as oracle, exact enumeration, hand-worked values, size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sp

from jaxmed import stats


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
def test_exact_tests_are_their_enumerations(values: list[int]) -> None:
    d = np.array(values, float)
    signs = np.array(list(itertools.product([1, -1], repeat=d.size)))
    sums = signs @ d
    p = np.mean(np.abs(sums) >= abs(d.sum()) - 1e-9)
    assert stats.sign_flip_test(d).p_value == pytest.approx(p)
    used = d[d != 0]
    if used.size:
        ranks = sp.rankdata(np.abs(used))
        flips = np.array(list(itertools.product([1, 0], repeat=used.size)))
        law, seen = flips @ ranks, ranks[used > 0].sum()
        exact = np.mean(np.abs(law - ranks.sum() / 2) >= abs(seen - ranks.sum() / 2) - 1e-9)
        r = stats.wilcoxon_test(d, method="exact")
        assert r.statistic == pytest.approx(seen)
        assert r.p_value == pytest.approx(exact)


def test_random_sign_flips_converge_to_the_exact_test() -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(0.4, 1, 18)
    exact = stats.sign_flip_test(d).p_value
    sums = stats.sign_flip_sums(d, 200_000, np.random.default_rng(0))
    share = np.mean(np.abs(sums) >= abs(d.sum()))
    assert share == pytest.approx(exact, abs=4 * np.sqrt(exact / 200_000))
    assert sums.std() == pytest.approx(np.sqrt(np.sum(d**2)), rel=0.02)
    two = stats.sign_flip_sums(np.stack([d, 2 * d], 1), 1000, np.random.default_rng(0))
    np.testing.assert_allclose(two[:, 1], 2 * two[:, 0])
    tied = stats.sign_flip_test([0.1 + 0.2, -0.3, 0.1, 0.2])
    assert tied.p_value == pytest.approx(
        np.mean(
            [
                abs(sum(s * v for s, v in zip(p, [3, -3, 1, 2], strict=True))) >= 3
                for p in itertools.product([1, -1], repeat=4)
            ]
        )
    )


def test_rank_and_table_tests_match_scipy() -> None:
    rng = np.random.default_rng(2)
    x = np.round(rng.normal(size=(12, 4)) * 3)
    ours, theirs = stats.friedman_test(x), sp.friedmanchisquare(*x.T)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))
    groups = [x[:, 0], x[:8, 1], x[:5, 2]]
    ours, theirs = stats.kruskal_test(*groups), sp.kruskal(*groups)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))
    table = [[12, 5, 9], [4, 11, 6]]
    ours, theirs = stats.chi_square_test(table), sp.chi2_contingency(table, correction=False)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))
    d = np.round(rng.normal(0.3, 1, 60), 1)
    theirs = sp.wilcoxon(d, correction=True, method="asymptotic")
    assert stats.wilcoxon_test(d, method="normal").p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    # With two classes Stuart-Maxwell and Bowker are McNemar's test.
    plain = stats.mcnemar_test(table=(20, 10, 5, 15), method="asymptotic").statistic
    assert stats.stuart_maxwell_test([[20, 10], [5, 15]]).statistic == pytest.approx(plain)
    assert stats.bowker_test([[20, 10], [5, 15]]).statistic == pytest.approx(plain)
    two = np.array([[1, 0]] * 10 + [[0, 1]] * 5 + [[1, 1]] * 4)
    assert stats.cochran_q_test(two).statistic == pytest.approx(plain)


def test_mcnemar_exact_is_the_binomial_test_and_its_interval_agrees() -> None:
    r = stats.mcnemar_test(table=(3, 2, 9, 6), method="exact")
    assert r.p_value == pytest.approx(sp.binomtest(2, 11).pvalue)
    e = stats.paired_difference(table=(3, 2, 9, 6), method="exact")
    assert (e.lower < 0 < e.upper) == (r.p_value > 0.05)
    # With no case on one side the exact limit is a beta quantile in closed form.
    one = stats.paired_difference(table=(50, 0, 6, 44), method="exact")
    assert one.lower == pytest.approx(-sp.beta.ppf(0.975, 7, 94), abs=1e-8)
    assert stats.mcnemar_test(table=(5, 0, 0, 5)).p_value == 1
    assert stats.mcnemar_test(table=(5, 4, 4, 5)).p_value == 1


def test_clustered_mcnemar_without_clusters_is_near_mcnemar() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.random(300) < 0.7).astype(int), (rng.random(300) < 0.6).astype(int)
    plain = stats.mcnemar_test(a, b, method="asymptotic").statistic
    for method in ("obuchowski", "durkalski"):
        r = stats.clustered_mcnemar_test(a, b, np.arange(300), method=method)
        assert r.statistic == pytest.approx(plain, rel=0.01)
    # Rows copied inside their group add nothing.
    twice = stats.clustered_mcnemar_test(np.repeat(a, 3), np.repeat(b, 3), np.repeat(range(300), 3))
    once = stats.clustered_mcnemar_test(a, b, np.arange(300))
    assert twice.statistic == pytest.approx(once.statistic)


def test_adjustments_by_hand_and_their_order() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    np.testing.assert_allclose(stats.adjust_p_values(p, method="holm"), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(stats.adjust_p_values(p, method="bh"), [0.02, 0.04, 0.04, 0.02])
    np.testing.assert_allclose(
        stats.adjust_p_values(p, method="hochberg"), [0.03, 0.04, 0.04, 0.02]
    )
    rng = np.random.default_rng(4)
    for _ in range(20):
        q = rng.random(12) ** 2
        by = {
            m: stats.adjust_p_values(q, method=m)
            for m in ("bonferroni", "holm", "hochberg", "hommel", "benjamini-hochberg")
        }
        assert (by["bonferroni"] >= by["holm"] - 1e-12).all()
        assert (by["holm"] >= by["hochberg"] - 1e-12).all()
        assert (by["hochberg"] >= by["hommel"] - 1e-12).all()
        assert (by["hommel"] >= by["benjamini-hochberg"] - 1e-12).all()
        np.testing.assert_allclose(by["benjamini-hochberg"], sp.false_discovery_control(q))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        stats.adjust_p_values([0.5, 1.2])


def test_max_t_holds_the_family_and_beats_bonferroni_when_metrics_agree() -> None:
    rng = np.random.default_rng(5)
    shared = rng.normal(0.35, 1, (60, 1))
    d = shared + 0.1 * rng.normal(size=(60, 6))
    tests = stats.max_t_test(d, n_resamples=1999)
    for t in tests:
        assert t.details["unadjusted"] <= t.p_value <= 6 * t.details["unadjusted"] + 1e-3
    assert np.mean([t.p_value / t.details["unadjusted"] for t in tests]) < 3
    rejected = 0
    for i in range(60):
        null = np.random.default_rng(100 + i).normal(size=(25, 4))
        rejected += min(t.p_value for t in stats.max_t_test(null, n_resamples=199)) <= 0.05
    assert rejected <= sp.binom.ppf(0.999, 60, 0.05)


def test_bootstrap_and_permutation_comparisons() -> None:
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 150)
    a, b = y + rng.normal(size=150), y + 2.5 * rng.normal(size=150)
    d = stats.delong_test(y, a, b)
    boot = stats.bootstrap_test(stats.weighted_auc, y == 1, a, b, weighted=True, stratified=True)
    assert boot.effect == pytest.approx(d.effect)
    assert boot.statistic == pytest.approx(d.statistic, rel=0.1)
    share = stats.bootstrap_test(
        stats.weighted_auc, y == 1, a, b, weighted=True, method="percentile"
    )
    assert share.p_value < 0.02

    def hit(t, s):
        return np.mean(t == (s > 0.5))

    p = stats.permutation_test(hit, y, a, b, n_resamples=499)
    exact = stats.mcnemar_test((a > 0.5) == y, (b > 0.5) == y)
    assert p.p_value == pytest.approx(exact.p_value, abs=0.03)
    same = stats.venkatraman_test(y, a, a, n_resamples=49)
    assert (same.statistic, same.p_value) == (0.0, 1.0)
    assert stats.venkatraman_test(y, a, -a, n_resamples=99).p_value == pytest.approx(0.01)


def test_paired_diagnostics_by_hand() -> None:
    rng = np.random.default_rng(7)
    d = rng.integers(0, 2, 400)
    a = np.where(rng.random(400) < 0.85, d, 1 - d)
    b = np.where(rng.random(400) < 0.75, d, 1 - d)
    r = stats.relative_test(d, a, b, quantity="ppv")
    assert r.effect == pytest.approx(d[a == 1].mean() / d[b == 1].mean())
    boot = stats.bootstrap(
        lambda t, x, y: np.log(t[x == 1].mean() / t[y == 1].mean()),
        d,
        a,
        b,
        method="normal",
        n_resamples=1500,
    )
    assert r.details["se_log"] == pytest.approx(boot.se, rel=0.08)
    # With independent calls the weighted score is Pearson's chi-square of two proportions.
    first, second = np.arange(400) < 200, np.arange(400) >= 200
    score = stats.predictive_value_test(d, first, second).statistic
    table = [[d[:200].sum(), 200 - d[:200].sum()], [d[200:].sum(), 200 - d[200:].sum()]]
    assert score == pytest.approx(stats.chi_square_test(table).statistic)
