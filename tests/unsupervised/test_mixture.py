"""Mixtures of Gaussians."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture as SklearnMixture

from jaxmed import unsupervised as un

KEY = jax.random.key(0)


def data(seed=0, n=120):
    rng = np.random.default_rng(seed)
    turned = rng.normal(size=(n, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]])
    return np.where(rng.random(n)[:, None] < 0.4, turned, rng.normal((6, -4), 1, (n, 2))) + 50


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_em_ends_where_scikit_learn_ends(kind):
    x = data()
    means = np.array([[50.0, 50.0], [56.0, 46.0]])
    with jax.enable_x64(True):
        ours = un.gaussian_mixture(
            KEY, x, 2, covariance=kind, start=means, tolerance=1e-12, max_steps=500
        )
    theirs = SklearnMixture(
        2, covariance_type="diag" if kind == "diagonal" else kind, means_init=means, tol=1e-12,
        reg_covar=0, max_iter=2000,
    ).fit(x)  # fmt: skip
    np.testing.assert_allclose(ours.weights, theirs.weights_, atol=1e-4)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-3)
    np.testing.assert_allclose(ours.covariances, theirs.covariances_, atol=2e-3)
    np.testing.assert_allclose(ours.log_density(x), theirs.score_samples(x), atol=1e-3)
    assert ours.log_likelihood == pytest.approx(ours.log_density(x).mean(), abs=1e-9)
    np.testing.assert_allclose(ours.responsibilities(x), theirs.predict_proba(x), atol=1e-3)
    assert ours.floored == 0
    assert ours.converged


def test_the_density_is_that_of_its_parts():
    model = un.gaussian_mixture(KEY, data(1), 2)
    at = np.array([[50.0, 49.0], [55.0, 47.0]])
    parts = [
        w * multivariate_normal(m, c).pdf(at)
        for w, m, c in zip(model.weights, model.means, model.covariances, strict=True)
    ]
    np.testing.assert_allclose(model.log_density(at), np.log(sum(parts)), rtol=1e-9)


def test_the_likelihood_never_falls_though_a_component_collapses():
    x = np.r_[data(2, 40), np.full((3, 2), 30.0)]  # three copies: a singular component
    options = {"covariance": "full", "start": [[50.0, 50.0], [56.0, 46.0], [30.0, 30.0]]}
    with jax.enable_x64(True):
        path = [
            un.gaussian_mixture(KEY, x, 3, max_steps=s, tolerance=0, **options)
            for s in (1, 2, 4, 8, 20)
        ]
    rises = [a.log_likelihood <= b.log_likelihood + 1e-9 for a, b in itertools.pairwise(path)]
    assert all(rises)
    assert path[-1].floored == 2
    assert np.isfinite(path[-1].log_density(x)).all()


def test_draws_have_the_mixtures_moments():
    model = un.gaussian_mixture(KEY, data(3), 2)
    drawn = model.sample(jax.random.key(1), 20_000)
    mean = model.weights @ model.means
    apart = model.means - mean
    spread = np.einsum("k,kij->ij", model.weights, model.covariances)
    spread = spread + np.einsum("k,ki,kj->ij", model.weights, apart, apart)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), spread, rtol=0.05, atol=0.15)
    plain = un.gaussian_mixture(KEY, data(3), 2, covariance="diagonal")
    assert plain.sample(jax.random.key(1), 4).shape == (4, 2)


def test_weights_are_copies():
    x = data(4, 30)
    counts = np.random.default_rng(0).integers(0, 3, 30)
    options = {"start": [[50.0, 50.0], [56.0, 46.0]], "max_steps": 5}
    weighted = un.gaussian_mixture(KEY, x, 2, weight=counts, **options)
    copied = un.gaussian_mixture(KEY, np.repeat(x, counts, axis=0), 2, **options)
    np.testing.assert_allclose(weighted.means, copied.means, rtol=1e-4)
    np.testing.assert_allclose(weighted.covariances, copied.covariances, rtol=1e-2, atol=1e-3)


def test_what_a_mixture_refuses():
    x = data(5, 20)
    with pytest.raises(ValueError, match=r"1 of 3 features are constant \(2\)"):
        un.gaussian_mixture(KEY, np.c_[x, np.ones(20)], 2)
    with pytest.raises(ValueError, match="k is 21"):
        un.gaussian_mixture(KEY, x, 21)
    with pytest.raises(ValueError, match="floor must be positive"):
        un.gaussian_mixture(KEY, x, 2, floor=0)
    with pytest.raises(ValueError, match="covariance 'tied' is not known"):
        un.gaussian_mixture(KEY, x, 2, covariance="tied")
    with pytest.raises(ValueError, match="start has 1 means"):
        un.gaussian_mixture(KEY, x, 2, start=[[0.0, 0.0]])
    with pytest.raises(ValueError, match="x has 1 feature"):
        un.gaussian_mixture(KEY, x, 2).log_density([1.0, 2.0])
