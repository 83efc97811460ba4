"""Reader studies and agreement of readers: identities and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp
from sklearn import metrics as sk

from jaxmed import stats


def _study(seed: int, treatments: int = 2, shift: float = 0.4, cases: int = 50):
    rng = np.random.default_rng(seed)
    c, r, t = (g.ravel() for g in np.meshgrid(range(cases), range(4), range(treatments)))
    y = (c % 2).astype(int)
    case, reader = rng.normal(size=cases), 0.2 * rng.normal(size=4)
    x = y * (1.0 + shift * t + reader[r]) + 0.6 * case[c] + rng.normal(size=c.size)
    return y, x, r, t, c


def test_reader_study_identities() -> None:
    y, x, r, t, c = _study(0)
    study = stats.reader_study(y, x, r, t, c)
    test, anova = stats.reader_test(study), stats.dbm_anova(study)
    assert test.overall.statistic == pytest.approx(anova.f)
    assert test.overall.df[1] == pytest.approx(anova.df2)
    # Two treatments: the overall F is the square of the t.
    (difference,) = test.differences.values()
    assert difference.statistic**2 == pytest.approx(test.overall.statistic)
    assert difference.p_value == pytest.approx(test.overall.p_value)
    # A reader's area is the plain AUC; the jackknife closed form is the refitted jackknife.
    one = (r == 0) & (t == 0)
    assert study.theta[0, 0] == pytest.approx(stats.auc(y[one], x[one]).value)
    slow = stats.reader_study(y, x, r, t, c, metric=lambda a, b: stats.auc(a, b).value)
    np.testing.assert_allclose(slow.covariance, study.covariance, rtol=1e-9, atol=1e-15)
    delong = stats.reader_study(y, x, r, t, c, covariance="delong")
    assert delong.covariance[0, 0, 0, 0] == pytest.approx(
        stats.auc(y[one], x[one], method="delong").details["variance"]
    )
    fixed = stats.reader_test(study, readers="fixed")
    assert fixed.overall.p_value != test.overall.p_value
    with pytest.raises(ValueError, match="nothing random"):
        stats.reader_test(study, readers="fixed", cases="fixed")
    keep = ~((r == 1) & (t == 1))
    with pytest.raises(ValueError, match="no rating"):
        stats.reader_study(y[keep], x[keep], r[keep], t[keep], c[keep])
    with pytest.raises(ValueError, match="both positive and negative"):
        stats.reader_study(1 - y * (r == 0), x, r, t, c)


def test_one_shot_variance_is_the_or_variance_of_unbiased_covariances() -> None:
    y, x, r, t, c = _study(1)
    ratings = np.array([[x[(r == i) & (t == j)] for i in range(4)] for j in range(2)])
    truth = np.arange(50) % 2
    one = stats.one_shot_test(truth, ratings[0], ratings[1])
    test = stats.reader_test(stats.reader_study(y, x, r, t, c, covariance="unbiased"))
    (difference,) = test.differences.values()
    assert one.effect == pytest.approx(difference.effect)
    parts = test.components
    if parts.cov2 > parts.cov3:
        assert one.details["variance"] == pytest.approx(difference.details["se"] ** 2)
    biased = stats.one_shot_test(truth, ratings[0], ratings[1], method="v-statistics")
    assert biased.details["variance"] > 0


def test_unbalanced_and_degenerate_reader_studies() -> None:
    y, x, r, t, c = _study(2)
    keep = np.random.default_rng(0).random(y.size) < 0.9  # readers lack some cases
    study = stats.reader_study(y[keep], x[keep], r[keep], t[keep], c[keep])
    whole = stats.reader_test(stats.reader_study(y, x, r, t, c))
    part = stats.reader_test(study)
    (a,), (b,) = whole.differences.values(), part.differences.values()
    assert b.effect == pytest.approx(a.effect, abs=0.05)
    assert b.details["se"] > a.details["se"]
    # Each reader's area, and its variance, are those of the cases that he has read.
    delong = stats.reader_study(y[keep], x[keep], r[keep], t[keep], c[keep], covariance="delong")
    for i in range(2):
        for j in range(4):
            own = keep & (t == i) & (r == j)
            alone = stats.auc(y[own], x[own], method="delong")
            assert study.theta[i, j] == pytest.approx(alone.value)
            assert delong.covariance[i, j, i, j] == pytest.approx(alone.details["variance"])
    with pytest.raises(ValueError, match="crossed"):
        stats.dbm_anova(study)
    with pytest.raises(ValueError, match="no variance"):
        stats.reader_test(stats.reader_study(y, y, r, t, c))


def test_reader_test_holds_its_size() -> None:
    rejected = 0
    for seed in range(120):
        y, x, r, t, c = _study(seed, shift=0.0, cases=40)
        study = stats.reader_study(y, x, r, t, c, covariance="delong")
        rejected += stats.reader_test(study).overall.p_value < 0.05
    assert rejected <= sp.binom.ppf(0.999, 120, 0.05)


def test_froc_without_localisation_is_roc() -> None:
    # One lesion in each diseased case, each marked once: wAFROC is the AUC of the ratings.
    rng = np.random.default_rng(2)
    cases = np.arange(40)
    lesions = cases % 2
    case = np.tile(cases, 4)
    reader, treatment = np.repeat([0, 0, 1, 1], 40), np.repeat([0, 1, 0, 1], 40)
    rating = rng.normal(size=160) + lesions[case]
    options = {
        "mark_case": case,
        "mark_reader": reader,
        "mark_treatment": treatment,
        "mark_lesion": lesions[case],
        "mark_rating": rating,
    }
    study = stats.froc_study(cases, lesions, **options)
    roc = stats.reader_study(lesions[case], rating, reader, treatment, case)
    np.testing.assert_allclose(study.theta, roc.theta)
    np.testing.assert_allclose(study.covariance, roc.covariance, atol=1e-15)
    alike = stats.froc_study(cases, lesions, figure="HrAuc", **options)
    np.testing.assert_allclose(alike.theta, roc.theta)
    with pytest.raises(ValueError, match="not listed"):
        stats.froc_study(cases[:-1], lesions[:-1], **options)


def test_agreement_by_hand() -> None:
    # Two raters: ICC1 of Shrout and Fleiss by its mean squares.
    x = np.array([[1.0, 2.0], [3.0, 3.0], [5.0, 6.0], [2.0, 1.0]])
    means = x.mean(axis=1)
    between = 2 * np.sum((means - x.mean()) ** 2) / 3
    within = np.sum((x - means[:, None]) ** 2) / 4
    assert stats.icc(x, form="ICC1").value == pytest.approx((between - within) / (between + within))
    ba = stats.bland_altman(x[:, 0], x[:, 1])
    assert ba.bias.value == pytest.approx(-0.25)
    assert ba.upper_limit.value == pytest.approx(-0.25 + 1.96 * np.std([-1, 0, -1, 1], ddof=1))
    none = stats.concordance_correlation([1, 2, 3], [1, 0, 1])  # r = 0 has an error like any other
    near = stats.concordance_correlation([1, 2, 3], [1, 0, 1 + 1e-9])
    assert (none.value, none.lower) == (0, pytest.approx(near.lower, abs=1e-6))
    assert none.se == pytest.approx(none.details["bias_correction"], rel=1e-12)
    same = stats.concordance_correlation(x[:, 0], x[:, 0])
    assert same.value == pytest.approx(1)
    assert stats.fleiss_kappa([[0, 0], [1, 1], [0, 1], [1, 0]]).value == pytest.approx(0)


@pytest.mark.parametrize("metric", ["auc", "sensitivity", "custom"])
def test_bootstrap_covariance_is_near_the_jackknife(metric) -> None:
    rng = np.random.default_rng(8)
    r, t, c = (g.ravel() for g in np.meshgrid(range(2), range(2), range(80)))
    y = c % 2
    case = rng.normal(size=80)[c]
    x = y + 0.3 * t * y + case + rng.normal(size=c.size)
    if metric == "sensitivity":
        x = (x > 0.5).astype(int)
    of = metric if metric != "custom" else (lambda truth, rating: sk.roc_auc_score(truth, rating))
    options = {"metric": of}
    slow = stats.reader_study(y, x, r, t, c, **options)
    n = 1500 if metric != "custom" else 80
    boot = stats.reader_study(y, x, r, t, c, covariance="bootstrap", n_resamples=n, **options)
    near = boot.covariance.reshape(4, 4) / np.maximum(slow.covariance.reshape(4, 4), 1e-9)
    assert np.diag(near) == pytest.approx(np.ones(4), abs=0.12 if n > 1000 else 0.45)
    test = stats.reader_test(boot).overall
    assert 0 < test.p_value < 1
    with pytest.raises(ValueError, match="covariance"):
        stats.reader_study(y, x, r, t, c, covariance="boot")
