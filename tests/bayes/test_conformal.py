"""Conformal methods keep their promises, and the pieces match hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as law

from jaxmed import bayes


def classes(rng, n, k=4, sharp=2.0):
    """Labels drawn from one law, probabilities of a wrong, overconfident model."""
    truth = rng.dirichlet(np.full(k, 0.5), n)
    y = (rng.random((n, 1)) > truth.cumsum(1)).sum(1)
    p = truth**sharp + 0.02
    return y, p / p.sum(1, keepdims=True)


def binomial(hits, n, rate, size=0.001):
    return law.binomtest(int(hits), int(n), rate).pvalue > size


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
@pytest.mark.parametrize("by", ["all", "class", "group"])
def test_sets_cover_over_many_splits(score, by):
    """One test case a split: the hits are independent, their number exactly binomial."""
    rng = np.random.default_rng(len(score + by))
    splits, n, level = 400, 119, 0.9
    hits, kinds = [], []
    for i in range(splits):
        y, p = classes(rng, n + 1)
        site = rng.integers(0, 2, n + 1)
        while by == "class" and np.unique(y[:n]).size < 4:
            y, p = classes(rng, n + 1)
        options = {"groups": site[:n]} if by == "group" else {"per_class": by == "class"}
        rule = bayes.fit_sets(y[:n], p[:n], level=level, score=score, seed=i, **options)
        groups = site[n:] if by == "group" else None
        found = bayes.predict_sets(rule, p[n:], groups=groups, seed=splits + i)
        hits.append(found[0, y[n]])
        kinds.append(y[n] if by == "class" else site[n])
    hits, kinds = np.array(hits), np.array(kinds)
    assert law.binom.sf(hits.sum() - 1, splits, level) < 0.9999
    assert law.binom.cdf(hits.sum(), splits, level) > 0.001
    if by != "all":
        for kind in np.unique(kinds):
            own = hits[kinds == kind]
            assert law.binom.cdf(own.sum(), own.size, level) > 0.001


def test_coverage_given_the_calibration_set_follows_its_law():
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(300):
        t = bayes.conformal_threshold(rng.random(49), 0.8)
        rates.append(t)  # uniform scores: the threshold is the coverage
    found = bayes.coverage_law(49, 0.8)
    assert law.kstest(rates, law.beta(found.rank, 50 - found.rank).cdf).pvalue > 0.001
    assert np.isclose(np.std(rates), found.sd, rtol=0.12)  # three errors of it
    low, high = found.interval(100)
    assert low < 0.8 < high


def test_thresholds_by_hand():
    s = [0.1, 0.2, 0.3, 0.4]
    assert bayes.conformal_threshold(s, 0.6) == 0.3
    assert bayes.conformal_threshold(s, 0.9) == np.inf
    # Weights: 1, 1, 1, 1 and 1 for the new case is the unweighted rule.
    assert bayes.conformal_threshold(s, 0.6, weights=np.ones(4)) == 0.3
    assert bayes.conformal_threshold(s, 0.6, weights=[0, 0, 0, 9]) == 0.4
    assert bayes.conformal_threshold(s, 0.95, weights=[0, 0, 0, 9]) == np.inf


def test_known_weights_repair_a_covariate_shift():
    rng = np.random.default_rng(1)
    plain = weighted = 0
    for _ in range(400):
        x = rng.normal(size=120)
        y = np.abs(x) * rng.normal(size=120)
        new = rng.normal(1.5)
        target = abs(new) * rng.normal()
        ratio = np.exp(1.5 * x - 1.125)
        own = float(np.exp(1.5 * new - 1.125))
        plain += abs(target) <= bayes.conformal_threshold(np.abs(y), 0.8)
        weighted += abs(target) <= bayes.conformal_threshold(np.abs(y), 0.8, weights=ratio, own=own)
    assert law.binom.cdf(plain, 400, 0.8) < 1e-6
    assert law.binom.cdf(weighted, 400, 0.8) > 0.001


@pytest.mark.parametrize("kind", ["absolute", "normalised", "quantile", "group"])
def test_intervals_cover(kind):
    rng = np.random.default_rng(len(kind))
    hits = 0
    for _ in range(400):
        x = rng.uniform(0.2, 2, 80)
        y = x * rng.normal(size=80) + x
        guess = x if kind != "quantile" else np.stack([0.5 * x, 1.5 * x], axis=1)
        options = {"scale": x} if kind == "normalised" else {}
        if kind == "group":
            options = {"groups": x > 1}
        first = {k: v[:79] for k, v in options.items()}
        rule = bayes.fit_intervals(y[:79], guess[:79], level=0.9, **first)
        limits = bayes.predict_intervals(
            rule, guess[79:], **{k: v[79:] for k, v in options.items()}
        )
        hits += limits[0, 0] <= y[79] <= limits[0, 1]
    assert law.binom.cdf(hits, 400, 0.9) > 0.001
    assert law.binom.sf(hits - 1, 400, 0.96) > 1e-4


def test_jackknife_plus_covers_and_minmax_is_wider():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(150):
        x, y = rng.normal(size=(2, 41))
        y = 2 * x + y
        without = [np.delete(np.arange(40), i) for i in range(40)]
        slopes = np.array([np.polyfit(x[rows], y[rows], 1) for rows in without])
        residuals = np.abs(y[:40] - slopes[:, 0] * x[:40] - slopes[:, 1])
        at = (slopes[:, 0] * x[40] + slopes[:, 1])[:, None]
        limits = bayes.jackknife_plus(residuals, at, level=0.9)[0]
        wide = bayes.jackknife_plus(residuals, at, level=0.9, minmax=True)[0]
        assert wide[0] <= limits[0] <= limits[1] <= wide[1]
        hits += limits[0] <= y[40] <= limits[1]
    assert law.binom.cdf(hits, 150, 0.9) > 0.001


def test_cross_sets_are_split_sets_with_one_fold():
    rng = np.random.default_rng(3)
    y, p = classes(rng, 90)
    own = bayes.class_scores(p[:60])[np.arange(60), y[:60]]
    new = bayes.class_scores(p[60:])
    split = bayes.predict_sets(bayes.fit_sets(y[:60], p[:60], level=0.8), p[60:])
    assert np.array_equal(bayes.cross_sets(own, new[None], np.zeros(60, int), level=0.8), split)


def test_risk_control_keeps_the_expected_share_missed():
    rng = np.random.default_rng(4)
    grid = np.linspace(0.01, 0.99, 60)

    def case():
        size = rng.integers(5, 30)
        return np.clip(rng.beta(4, 2, size) - 0.2 * rng.random(), 0, 1), np.ones(size, bool)

    missed, certified = [], []
    for _ in range(150):
        pairs = [case() for _ in range(41)]
        losses, _ = bayes.false_negative_losses(*zip(*pairs), grid)
        found = bayes.control_risk(losses[:40], grid, limit=0.2)
        missed.append(losses[40, grid == found.threshold][0])
    assert np.mean(missed) < 0.2 + 3 * np.std(missed) / np.sqrt(150)
    assert np.mean(missed) > 0.1
    pool = [case() for _ in range(4000)]
    truth = bayes.false_negative_losses(*zip(*pool), grid)[0].mean(0)
    for _ in range(100):
        rows = rng.integers(0, 4000, 60)
        losses, _ = bayes.false_negative_losses(*zip(*[pool[r] for r in rows]), grid)
        found = bayes.learn_then_test(losses, grid, limit=0.2, error=0.1)
        certified.append(np.isnan(found.threshold) or truth[grid == found.threshold][0] <= 0.2)
    assert law.binom.cdf(sum(certified), 100, 0.9) > 0.001


def test_p_values_are_uniform_when_smoothed():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(500):
        scores = rng.integers(0, 5, 31).astype(float)  # many ties
        p = bayes.conformal_p_values(scores[:30], scores[30:], smoothing=[rng.random()])
        found.append(p[0])
    assert law.kstest(found, "uniform").pvalue > 0.001


def test_bad_input_is_named():
    p = np.full((6, 3), 1 / 3)
    y = [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match="sum to 1"):
        bayes.fit_sets(y, p * 0.9)
    with pytest.raises(ValueError, match="softmax first"):
        bayes.fit_sets(y, np.eye(3)[y] * 4 - 1)
    with pytest.raises(ValueError, match="is empty"):
        bayes.fit_sets([], np.empty((0, 3)))
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\)"):
        bayes.fit_sets(y, p, level=90)
    with pytest.raises(ValueError, match="class 2 is absent"):
        bayes.fit_sets([0, 1, 0, 1, 0, 1], p, per_class=True)
    rule = bayes.fit_sets(y, p, level=0.5, groups=["s"] * 6)
    with pytest.raises(ValueError, match="'north' was not in calibration"):
        bayes.predict_sets(rule, p[:1], groups=["north"])
    small = bayes.fit_sets(y, p, level=0.95)
    assert "too few calibration cases" in small.notes[0]
    assert bayes.predict_sets(small, p).all()
    with pytest.raises(ValueError, match="scale must be positive"):
        bayes.fit_intervals([1.0], [1.0], scale=[0.0])
    with pytest.raises(ValueError, match="learn_then_test"):
        bayes.control_risk(np.tile([0.5, 0.1], (9, 1)), [0.1, 0.2], limit=0.3)
    unsafe = bayes.control_risk(np.ones((9, 2)), [0.1, 0.2], limit=0.3)
    assert np.isnan(unsafe.threshold)
    assert unsafe.notes
