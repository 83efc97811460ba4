"""Principal components and random projections."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard as scipy_hadamard
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.random_projection import johnson_lindenstrauss_min_dim

from jaxmed import unsupervised as un
from jaxmed.testing import check_learner, check_network

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)) @ np.diag([5, 3, 2, 1, 0.5, 0.3]) @ RNG.normal(size=(6, 6)) + 100


def assert_same_pca(a, b, tolerance=1e-6):
    np.testing.assert_allclose(a.mean, b.mean, rtol=tolerance)
    np.testing.assert_allclose(a.variances, b.variances, rtol=tolerance)
    np.testing.assert_allclose(a.components, b.components, atol=10 * tolerance)
    assert a.noise == pytest.approx(b.noise, rel=10 * tolerance)


def test_components_are_scikit_learns():
    ours, theirs = un.pca(X, 3), SklearnPCA(3).fit(X)
    np.testing.assert_allclose(ours.variances, theirs.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, rtol=1e-9)
    assert ours.noise == pytest.approx(theirs.noise_variance_)
    signs = np.sign((ours.components * theirs.components_).sum(1))
    np.testing.assert_allclose(ours.components, theirs.components_ * signs[:, None], atol=1e-9)
    np.testing.assert_allclose(ours.project(X), theirs.transform(X) * signs, atol=1e-8)
    largest = np.abs(ours.components).argmax(1)
    assert (ours.components[range(3), largest] > 0).all()
    np.testing.assert_allclose(ours.log_density(X), theirs.score_samples(X), atol=1e-8)


@pytest.mark.parametrize("n", [2, 6])
def test_the_density_is_a_gaussians(n):
    found = un.pca(X, n)
    v = found.components
    spread = v.T @ np.diag(found.variances - found.noise) @ v + found.noise * np.eye(6)
    expected = multivariate_normal(found.mean, spread).logpdf(X[:5])
    np.testing.assert_allclose(found.log_density(X[:5]), expected, rtol=1e-8)


def test_whitened_coordinates_have_variance_1_and_turn_back():
    low = (X @ np.diag([1, 1, 0, 0, 0, 0])) + 3.0  # of rank 2
    found = un.pca(low, 2)
    z = found.project(low, whiten=True)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(found.reconstruct(z, whitened=True), low, atol=1e-8)
    np.testing.assert_allclose(found.reconstruct(found.project(low)), low, atol=1e-8)
    for kind in (np.float64, np.float32):
        with pytest.raises(ValueError, match="do not vary outside 2 components"):
            un.pca(low.astype(kind), 2).log_density(low)
    for part in (low, low.T):
        with pytest.raises(ValueError, match=r"vary in [12] direction"):
            un.pca(part, 4)


def test_more_features_than_rows_and_float32():
    wide = X[:6].T.copy()[:4]  # 4 rows of 6 features
    a = un.pca(wide, 3)
    b = SklearnPCA(3).fit(wide)
    np.testing.assert_allclose(a.variances, b.explained_variance_, rtol=1e-8)
    np.testing.assert_allclose(np.abs(a.components @ b.components_.T), np.eye(3), atol=1e-7)
    single = un.pca(X.astype(np.float32), 3)
    assert single.components.dtype == np.float32
    assert_same_pca(single, un.pca(X, 3), 1e-4)


def test_the_randomised_form_finds_a_slowly_falling_spectrum():
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(80, 80)))[0]
    x = rng.normal(size=(200, 80)) * np.arange(1, 81) ** -0.3 @ turn
    exact, near = un.pca(x, 5), un.pca(x, 5, solver="randomised", key=KEY)
    np.testing.assert_allclose(near.variances, exact.variances, rtol=0.02)
    assert (near.variances <= exact.variances * (1 + 1e-9)).all()
    more = un.pca(x, 5, solver="randomised", key=KEY, power_steps=40)
    assert_same_pca(more, exact, 1e-5)


def test_batches_in_any_order_and_of_any_size_give_the_same():
    run = un.pca_learner(3)

    def seen(parts):
        state = run.init(KEY, {"image": jnp.asarray(X[:2], jnp.float32)})
        for part in parts:
            state, _ = run.step(state, {"image": jnp.asarray(part, jnp.float32)})
        return state

    exact = un.pca(X, 3)
    whole = seen([X])
    cut = seen([X[40:], X[:13], X[13:40]])
    halves = un.merged_pca(seen([X[:30]]), seen([X[30:]]))
    for state in (whole, cut, halves):
        assert_same_pca(un.fitted_pca(state, 3), exact, 1e-4)
    assert int(halves.step) == 2
    padded = {
        "image": jnp.asarray(np.r_[X, X[:4] * 9], jnp.float32), "weight": jnp.arange(64) < 60
    }  # fmt: skip
    state, metrics = run.step(run.init(KEY, padded), padded)
    assert_same_pca(un.fitted_pca(state, 3), exact, 1e-4)
    spread = ((X - X.mean(0)) ** 2).sum(1).mean()
    assert metrics["loss"] == pytest.approx(spread, rel=1e-4)
    predicted = run.predict(whole, jnp.asarray(X, jnp.float32))["features"]
    np.testing.assert_allclose(predicted, exact.project(X), rtol=1e-2, atol=1e-2)


def test_the_learner_keeps_the_laws():
    x = jax.random.normal(KEY, (16, 2, 2, 1))
    assert "several devices equal one" in check_learner(un.pca_learner(2), {"image": x})


def test_what_components_refuse():
    with pytest.raises(ValueError, match="n is 7, but there are only 6 directions of 60 rows"):
        un.pca(X, 7)
    with pytest.raises(ValueError, match="vary in 0 direction"):
        un.pca(np.ones((5, 2)), 1)
    with pytest.raises(ValueError, match="give it a key"):
        un.pca(X, 2, solver="randomised")
    with pytest.raises(ValueError, match="solver 'svd' is not known"):
        un.pca(X, 2, solver="svd")
    with pytest.raises(ValueError, match="NaN"):
        un.pca(np.where(X > 101, np.nan, X), 2)
    with pytest.raises(ValueError, match="n is 3, but there are only 2 features"):
        un.pca_learner(3).init(KEY, {"image": jnp.ones((4, 2))})
    state = un.pca_learner(1).init(KEY, {"image": jnp.ones((4, 2))})
    with pytest.raises(ValueError, match=r"has seen 0 row\(s\)"):
        un.fitted_pca(state, 1)


# Random projections.


@pytest.mark.parametrize("kind", ["gaussian", "sparse", "hadamard"])
def test_lengths_are_kept_on_average(kind):
    network = un.random_projection(4, kind=kind)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6)), jnp.float32)

    def lengths(key):
        _, state = network.init(key, x)
        features = network.apply({}, state, x)[0]["features"]
        return (features**2).sum(1), (features[0] * features[1]).sum()

    keys = jax.random.split(KEY, 4000)
    squared, inner = jax.jit(jax.vmap(lengths))(keys)
    np.testing.assert_allclose(squared.mean(0), (x**2).sum(1), rtol=0.06)
    assert float(inner.mean()) == pytest.approx(float(x[0] @ x[1]), abs=0.3)


def test_the_network_keeps_the_laws_and_the_fast_transform_is_the_matrix():
    from jaxmed.unsupervised.components._random_projection import hadamard

    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    expected = np.pad(x, ((0, 0), (0, 2))) @ scipy_hadamard(8)
    np.testing.assert_allclose(hadamard(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-5)
    check_network(un.random_projection(3, kind="hadamard"), jnp.asarray(x))


def test_enough_dimensions_keep_all_distances():
    n, share = 20, 0.5
    k = un.enough_dimensions(n, share)
    assert 0 <= k - johnson_lindenstrauss_min_dim(n, eps=share) <= 1
    x = jnp.asarray(np.random.default_rng(0).normal(size=(n, 400)), jnp.float32)
    network = un.random_projection(k)

    @jax.jit
    def kept(key):
        y = network.apply({}, network.init(key, x)[1], x)[0]["features"]
        pairs = jnp.triu_indices(n, 1)
        ratio = ((y[pairs[0]] - y[pairs[1]]) ** 2).sum(1) / ((x[pairs[0]] - x[pairs[1]]) ** 2).sum(
            1
        )
        return (abs(ratio - 1) <= share).all()

    held = [bool(kept(jax.random.key(i))) for i in range(20)]
    assert np.mean(held) >= 1 / n


def test_what_projections_refuse():
    with pytest.raises(ValueError, match="no 9 different rows"):
        un.random_projection(9, kind="hadamard").init(KEY, jnp.ones((1, 6)))
    with pytest.raises(ValueError, match="density must lie"):
        un.random_projection(2, kind="sparse", density=0)
    with pytest.raises(ValueError, match="kind 'fast' is not known"):
        un.random_projection(2, kind="fast")
    with pytest.raises(ValueError, match="distortion must lie"):
        un.enough_dimensions(10, 1.0)
