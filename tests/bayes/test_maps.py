"""Calibration maps, decomposition, selection, strangers, scores: against oracles and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from scipy import stats as law
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from jaxmed import bayes, stats

RNG = np.random.default_rng(0)


def overconfident(n=3000, k=3, factor=2.5):
    """Labels drawn from softmax(z); logits given are `factor` times that."""
    z = RNG.normal(size=(n, k))
    p = special.softmax(z, axis=1)
    y = (RNG.random((n, 1)) > p.cumsum(1)).sum(1)
    return np.minimum(y, k - 1), factor * z, p


@pytest.mark.parametrize("method", ["temperature", "vector", "dirichlet"])
def test_maps_of_classes_recover_the_truth(method):
    y, z, p = overconfident()
    fitted = bayes.fit_calibrator(y, z, method=method, logits=True)
    found = bayes.calibrate(fitted, z)
    assert fitted.after < fitted.before
    assert np.abs(found - p).mean() < 0.02
    if method == "temperature":
        assert np.isclose(fitted.parameters["temperature"], 2.5, rtol=0.08)
        assert np.array_equal(found.argmax(1), z.argmax(1))
        from_p = bayes.fit_calibrator(y, special.softmax(z, axis=1))
        assert np.isclose(from_p.parameters["temperature"], fitted.parameters["temperature"])


@pytest.mark.parametrize("method", ["platt", "beta", "isotonic"])
@pytest.mark.parametrize("k", [2, 3])
def test_binary_maps_two_classes_and_one_against_the_rest(method, k):
    y, z, p = overconfident(k=k)
    given = special.softmax(z, axis=1)
    fitted = bayes.fit_calibrator(y, given, method=method)
    found = bayes.calibrate(fitted, given)
    assert np.allclose(found.sum(1), 1)
    assert np.abs(found - p).mean() < 0.05
    before, after = (stats.ece(y, q, of="top", n_resamples=0).value for q in (given, found))
    assert after < 0.5 * before


def test_maps_against_scikit_learn():
    y, z, _ = overconfident(k=2)
    p = special.softmax(z, axis=1)[:, 1]
    iso = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    ours = bayes.fit_calibrator(y, p, method="isotonic")
    grid = np.linspace(0.001, 0.999, 300)
    assert np.allclose(bayes.calibrate(ours, grid), iso.predict(grid), atol=1e-9)
    # Platt without its smoothed targets is logistic regression: nearly so with many cases.
    reference = LogisticRegression(C=1e10, tol=1e-10).fit(special.logit(p)[:, None], y)
    platt = bayes.fit_calibrator(y, p, method="platt").parameters
    assert np.isclose(platt["slope1"], reference.coef_[0, 0], rtol=0.02)


def test_maps_take_voxels_and_name_bad_input():
    masks = RNG.integers(0, 3, (2, 4, 4))
    logits = 3 * RNG.normal(size=(2, 4, 4, 3))
    fitted = bayes.fit_calibrator(masks, logits, logits=True)
    assert bayes.calibrate(fitted, logits).shape == logits.shape
    with pytest.raises(ValueError, match="softmax first"):
        bayes.fit_calibrator(masks, logits)
    with pytest.raises(ValueError, match="class 2 is absent"):
        bayes.fit_calibrator([0, 1], np.full((2, 3), 1 / 3), method="vector")
    with pytest.raises(ValueError, match="all 2 calibration labels"):
        bayes.fit_calibrator([1, 1], [0.2, 0.3])
    with pytest.raises(ValueError, match="for 3 classes, not 2"):
        bayes.calibrate(fitted, np.ones((2, 2)))


def test_the_parts_add_up_and_vanish_where_they_should():
    p = RNG.dirichlet([0.5] * 3, (10, 6, 7))
    d = bayes.decompose(p)
    assert np.allclose(d.total, d.aleatoric + d.epistemic)
    assert d.epistemic.min() >= -1e-12
    assert np.allclose(d.total, law.entropy(p.mean(0), axis=-1))
    same = bayes.decompose(np.tile(p[:1], (4, 1, 1, 1)))
    assert np.allclose(same.epistemic, 0)
    with pytest.raises(ValueError, match="rank 3 or more"):
        bayes.decompose(p[0, 0])


def test_structures_and_derived_quantities():
    masks = np.zeros((2, 4, 4), int)
    masks[0, :2] = 1
    masks[1, :3] = 1
    p = np.eye(2)[masks] * 0.8 + 0.1
    u = bayes.structure_uncertainty(p, voxel_volume=0.5)
    assert u.volume.tolist() == [5.0]
    assert np.isclose(u.volume_sd[0], np.std([4, 6], ddof=1))
    assert np.isclose(u.pairwise_dice[0], 2 * 8 / 20)
    sizes = bayes.propagate(lambda q: 0.5 * (q.argmax(-1) == 1).sum(), p)
    assert sizes.draws.tolist() == [4, 6]
    with pytest.raises(ValueError, match="numbers of samples differ"):
        bayes.propagate(lambda a, b: a, p, p[:1])
    with pytest.raises(ValueError, match="the quantity holds 1"):
        bayes.propagate(lambda a: np.nan, np.array([1.0]))


def test_selection_by_hand_and_against_brute_force():
    loss = np.array([0, 0, 1, 0, 1.0])
    sure = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    risks = [0, 0, 1 / 3, 1 / 4, 2 / 5]
    s = bayes.selective_scores(loss, sure)
    assert np.isclose(s.aurc, np.mean(risks))
    assert np.isclose(s.augrc, np.mean([0, 0, 1, 1, 2]) / 5)
    assert np.isclose(s.error_auroc, roc_auc_score(loss, -sure))
    best = bayes.selective_scores(loss, -loss)
    assert np.isclose(best.e_aurc, 0)
    curve = bayes.risk_coverage(loss, sure)
    assert np.isclose(curve.risk_at(0.6), 1 / 3)
    assert np.isclose(curve.coverage_at(0.26), 0.8)
    dice = bayes.selective_scores([0.1, 0.4], [0.9, 0.2])
    assert np.isnan(dice.error_auroc)


def test_referral_is_the_cheapest_policy():
    p = RNG.beta(0.5, 0.5, 500)
    costs = np.array([[0, 1], [20, 0.0]])
    r = bayes.refer(p, cost_refer=0.5, costs=costs)
    both = np.stack([1 - p, p], axis=1)
    best = np.minimum(both @ costs[:, 0], both @ costs[:, 1])
    assert np.array_equal(r.refer, best > 0.5)
    assert r.cost <= min(r.cost_answer_all, r.cost_refer_all)


def test_strangers_are_found():
    inside = RNG.normal(size=(300, 4))
    labels = (inside[:, 0] > 0).astype(int)
    outside = RNG.normal(size=(100, 4)) + 5
    fit = bayes.fit_features(inside, labels)
    y = np.r_[np.zeros(300), np.ones(100)]
    both = np.concatenate([inside, outside])
    assert bayes.ood_scores(y, bayes.mahalanobis_score(fit, both)).auroc > 0.99
    # With one class it is the Mahalanobis distance.
    one = bayes.fit_features(inside)
    centre, precision = inside.mean(0), np.linalg.inv(np.cov(inside.T, bias=True))
    want = [(x - centre) @ precision @ (x - centre) for x in outside[:3]]
    assert np.allclose(bayes.mahalanobis_score(one, outside[:3]), want, rtol=1e-3)
    unit = inside / np.linalg.norm(inside, axis=1, keepdims=True)
    new = outside[:2] / np.linalg.norm(outside[:2], axis=1, keepdims=True)
    brute = np.sort(np.linalg.norm(unit[None] - new[:, None], axis=2), axis=1)[:, 4]
    assert np.allclose(bayes.knn_score(fit, outside[:2], k=5), brute)
    s = RNG.normal(size=400) + y
    found = bayes.ood_scores(y, s)
    assert np.isclose(found.auroc, roc_auc_score(y, s))
    assert np.isclose(found.aupr_out, average_precision_score(y, s))
    assert np.isclose(found.aupr_in, average_precision_score(1 - y, -s))
    threshold = np.sort(s[y == 1])[5]
    assert np.isclose(found.fpr95, (s[y == 0] >= threshold).mean())
    with pytest.raises(ValueError, match="one kind"):
        bayes.ood_scores([1, 1], [0.1, 0.2])


def test_crps_by_numerical_integration():
    grid = np.linspace(-12, 12, 200_001)
    step = grid[1] - grid[0]
    want = ((law.norm.cdf(grid, 0.5, 2) - (grid >= 1.2)) ** 2).sum() * step
    assert np.isclose(bayes.crps_normal([1.2], 0.5, 2.0)[0], want, atol=1e-4)
    draws = RNG.normal(size=7)
    cdf = (draws[:, None] <= grid).mean(0)
    want = ((cdf - (grid >= 0.3)) ** 2).sum() * step
    assert np.isclose(bayes.crps_samples([0.3], draws[:, None])[0], want, atol=1e-3)


def test_importance_reaches_an_exact_posterior():
    x, y = RNG.normal(size=(20, 2)), RNG.normal(size=20)
    exact = bayes.linear_posterior(x, y)

    def log_joint(w):
        fit = law.norm.logpdf(y, w @ x.T, 1).sum(1)
        return fit + law.norm.logpdf(w).sum(1)

    found = bayes.importance(log_joint, exact.mean + 0.1, 1.3 * exact.covariance)
    assert np.isclose(found.log_evidence, exact.log_evidence, atol=0.02)
    assert np.allclose(found.expectation(lambda w: w), exact.mean, atol=0.01)
    poor = bayes.importance(log_joint, exact.mean + 3, exact.covariance / 500, draws=2000, df=50)
    assert poor.notes
    with pytest.raises(ValueError, match="improper"):
        bayes.bayes_factor(np.inf, 0.0)


def test_conjugate_evidence_by_quadrature():
    x, y = np.array([[1.0], [2.0], [-1.0]]), np.array([0.5, 1.0, 0.2])
    grid = np.linspace(-8, 8, 40_001)
    joint = law.norm.pdf(grid) * np.prod(law.norm.pdf(y[:, None], x * grid, 0.7), axis=0)
    q = bayes.linear_posterior(x, y, noise_variance=0.49)
    assert np.isclose(q.log_evidence, np.log(joint.sum() * (grid[1] - grid[0])), atol=1e-6)
    out = bayes.linear_posterior(x[1:], y[1:], noise_variance=0.49)
    mean, variance = out.predict(x[:1])
    want = law.norm.logpdf(y[0], mean[0], np.sqrt(variance[0] + 0.49))
    assert np.isclose(q.loo[0], want)
