"""t-SNE, and how far maps are to be trusted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.manifold import TSNE as SklearnTSNE
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from jaxmed import unsupervised as un
from jaxmed.unsupervised.maps import _tsne

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)) + RNG.normal(size=(3, 5))[RNG.integers(0, 3, 60)] * 6
MAP = X[:, :2] + RNG.normal(size=(60, 2))


@pytest.mark.parametrize("k", [1, 7])
def test_trust_is_scikit_learns_and_continuity_its_mirror(k):
    expected = sklearn_trustworthiness(X, MAP, n_neighbors=k)
    found = un.trustworthiness(X, MAP, k=k)
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.lower < found.value < found.upper
    torn = sklearn_trustworthiness(MAP, X, n_neighbors=k)
    assert un.continuity(X, MAP, k=k).value == pytest.approx(torn, abs=1e-6)


def test_overlap_is_by_hand_and_a_map_of_itself_is_perfect():
    def near(x):
        squared = ((x[:, None] - x) ** 2).sum(-1) + np.diag(np.full(60, np.inf))
        return [set(row[:4]) for row in squared.argsort(1)]

    expected = np.mean([len(a & b) / 4 for a, b in zip(near(X), near(MAP), strict=True)])
    assert un.neighbour_overlap(X, MAP, k=4).value == pytest.approx(expected)
    for measure in (un.trustworthiness, un.continuity, un.neighbour_overlap):
        assert measure(X, 2 * X + 1, k=4).value == 1


def test_similarities_have_the_perplexity():
    p = np.asarray(_tsne._similarities(jnp.asarray(X / 5, jnp.float32), 7.0), np.float64)
    np.testing.assert_allclose(p, p.T, atol=1e-7)
    assert p.sum() == pytest.approx(1, abs=1e-4)
    assert np.diag(p).max() == 0
    squared = ((X[:, None] - X) ** 2).sum(-1) / 25
    # Of one row by hand, with the precision that gives it the perplexity.
    from scipy.optimize import brentq

    def entropy(log_precision, row):
        others = np.delete(squared[row], row)
        share = np.exp(-np.exp(log_precision) * (others - others.min()))
        share /= share.sum()
        return -(share * np.log(share + 1e-300)).sum(), share

    shares = np.zeros((60, 60))
    for i in range(60):
        at = brentq(lambda b, i=i: entropy(b, i)[0] - np.log(7), -10, 20)
        shares[i, np.arange(60) != i] = entropy(at, i)[1]
    np.testing.assert_allclose(p, (shares + shares.T) / 120, atol=2e-5)


def test_a_step_goes_down_the_gradient():
    """One step of descent, from rest is the gradient times the gains."""
    with jax.enable_x64(True):
        p = _tsne._similarities(jnp.asarray(X / 5), 7.0)
        places = jnp.asarray(RNG.normal(size=(60, 2)))
        places = places - places.mean(0)

        def divergence(y):
            squared = ((y[:, None] - y) ** 2).sum(-1)
            near = jnp.where(jnp.eye(60, dtype=bool), 0, 1 / (1 + squared))
            q = near / near.sum()
            safe = jnp.where(p > 0, p, 1)
            return jnp.where(p > 0, p * jnp.log(safe / jnp.where(q > 0, q, 1)), 0).sum()

        slope = jax.grad(divergence)(places)
        after, end = _tsne._descend(p, places, 0.5, 12.0, 0, 1)
        np.testing.assert_allclose(after, places - 0.5 * 0.8 * slope, atol=1e-12)
        assert float(end) < float(divergence(places))
        assert float(end) == pytest.approx(float(divergence(after)), abs=1e-9)


@pytest.mark.slow
def test_the_divergence_is_not_above_scikit_learns():
    # Both end in one of many minima: ours of a few starts.
    ours = un.tsne(KEY, X, perplexity=15)
    others = [
        un.tsne(jax.random.key(i), X, perplexity=15, start="random").divergence for i in range(3)
    ]
    theirs = SklearnTSNE(
        perplexity=15, method="exact", init="pca", learning_rate="auto", max_iter=1000,
        random_state=0,
    ).fit(X)  # fmt: skip
    assert ours.map.shape == (60, 2)
    assert min(ours.divergence, *others) <= 1.01 * theirs.kl_divergence_
    assert ours.divergence <= 1.3 * theirs.kl_divergence_
    assert un.trustworthiness(X, ours.map, k=5).value > 0.9
    again = un.tsne(jax.random.key(1), X, perplexity=15)
    np.testing.assert_array_equal(again.map, ours.map)  # this start draws nothing


def test_beyond_the_exact_form(monkeypatch):
    monkeypatch.setattr(_tsne, "EXACT_ROWS", 50)
    with pytest.raises(ValueError, match="60 rows are too many"):
        un.tsne(KEY, X, perplexity=5, method="exact")
    try:
        import openTSNE  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="jaxmed\\[embed\\]"):
            un.tsne(KEY, X, perplexity=5)
    else:
        found = un.tsne(KEY, X, perplexity=5, steps=100)
        assert found.method == "openTSNE"
        assert un.trustworthiness(X, found.map, k=5).value > 0.8


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"perplexity": 20}, "less than a third of 60 rows"),
        ({"perplexity": 0.5}, "perplexity must lie in"),
        ({"x": np.ones((20, 3)), "perplexity": 5}, "all rows are equal"),
        ({"start": "spectral"}, "start 'spectral' is not known"),
        ({"start": np.ones((3, 2))}, r"start must be \(60, 2\)"),
        ({"method": "barnes-hut"}, "method 'barnes-hut' is not known"),
        ({"dimensions": 6}, "dimensions is 6, but there are only 5"),
    ],
)
def test_what_tsne_refuses(options, rule):
    with pytest.raises(ValueError, match=rule):
        un.tsne(KEY, **{"x": X, "perplexity": 5, **options})


@pytest.mark.parametrize("measure", [un.trustworthiness, un.continuity, un.neighbour_overlap])
def test_what_trust_refuses(measure):
    with pytest.raises(ValueError, match="k must be less than half of 60 rows"):
        measure(X, MAP, k=30)
    with pytest.raises(ValueError, match="lengths differ"):
        measure(X, MAP[:50])


@pytest.mark.slow
def test_near_duplicates_may_be_looked_for_in_pixels():
    """Features may hide a copy, or see one where there is none."""
    rng = np.random.default_rng(0)
    pixels, features = rng.normal(size=(30, 6)), rng.normal(size=(30, 4))
    pixels[7] = pixels[3]
    features[9] = features[20]
    alone = un.explore(jax.random.key(0), features)
    assert {(p.first, p.second) for p in alone.pairs} == {(9, 20)}
    found = un.explore(jax.random.key(0), features, pixels=pixels)
    assert {(p.first, p.second) for p in found.pairs} == {(3, 7)}
    np.testing.assert_array_equal(found.isolation, alone.isolation)
    with pytest.raises(ValueError, match="pixels"):
        un.explore(jax.random.key(0), features, pixels=pixels[:5])
