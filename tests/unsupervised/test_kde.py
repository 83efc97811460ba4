"""Kernel density estimates, against brute force in float64 and SciPy."""

from __future__ import annotations

import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, logsumexp
from scipy.stats import gaussian_kde, multivariate_normal

from jaxmed import unsupervised as un
from jaxmed.unsupervised.density._kernels import Kernel, deviation, log_constant, log_profile

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(40, 2)) @ np.array([[1.0, 0.8], [0.0, 0.3]])
AT = np.random.default_rng(1).normal(size=(7, 2))
WEIGHT = np.random.default_rng(2).random(40)


def brute(points, at, bandwidth, weight=None):
    weight = np.ones(len(points)) if weight is None else weight
    squared = ((at[:, None] - points) ** 2).sum(-1)
    d = points.shape[1]
    constant = d * np.log(bandwidth * np.sqrt(2 * np.pi))
    return logsumexp(-squared / 2 / bandwidth**2, axis=1, b=weight / weight.sum()) - constant


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("bandwidth", [0.5, 0.003])
def test_a_number_is_brute_force(offset, bandwidth):
    found = un.kde(X + offset, bandwidth=bandwidth, weight=WEIGHT).log_density(AT + offset)
    expected = brute(X + offset, AT + offset, bandwidth, WEIGHT)
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-6)


@pytest.mark.parametrize("rule", ["scott", "silverman"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_rules_are_scipys(rule, weight):
    ours = un.kde(X, bandwidth=rule, weight=weight)
    theirs = gaussian_kde(X.T, bw_method=rule, weights=weight)
    assert ours.bandwidth == pytest.approx(theirs.factor)
    np.testing.assert_allclose(ours.log_density(AT), theirs.logpdf(AT.T), atol=2e-4, rtol=1e-6)


def test_left_out_likelihoods_are_brute_force():
    grid = [0.05, 0.25, 0.8]
    ours = un.kde(X, bandwidth="likelihood", grid=grid, scale="none", weight=WEIGHT)
    share = WEIGHT / WEIGHT.sum()
    for h, score in zip(grid, ours.scores, strict=True):
        each = [
            brute(np.delete(X, i, 0), X[i : i + 1], h, np.delete(WEIGHT, i))[0] for i in range(40)
        ]
        assert score == pytest.approx(share @ each, abs=1e-4)
    assert ours.bandwidth == grid[int(ours.scores.argmax())]


def test_the_density_sums_to_one_and_draws_follow_it():
    found = un.kde(X[:, 0], bandwidth="silverman")
    at = np.linspace(-8, 8, 2001)
    assert np.exp(found.log_density(at)).sum() * (at[1] - at[0]) == pytest.approx(1, abs=1e-3)
    both = un.kde(X, bandwidth=0.5, weight=WEIGHT)
    drawn = both.sample(KEY, 20_000)
    share = WEIGHT / WEIGHT.sum()
    mean = share @ X
    spread = (X - mean).T @ np.diag(share) @ (X - mean) + 0.25 * np.eye(2)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), spread, atol=0.05)


KERNELS = get_args(Kernel)
SCIKIT_LEARNS = ("gaussian", "epanechnikov", "cosine", "tophat", "exponential", "linear")


@pytest.mark.parametrize("kernel", SCIKIT_LEARNS)
@pytest.mark.parametrize("d", [1, 3])
def test_kernels_are_scikit_learns(kernel, d):
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(d)
    x, at = rng.normal(size=(30, d)), rng.normal(size=(8, d))
    at[0] = 40  # where no kernel with an edge reaches
    theirs = neighbors.KernelDensity(kernel=kernel, bandwidth=0.7, rtol=1e-9).fit(x)
    with np.errstate(divide="ignore"):
        expected = theirs.score_samples(at)
    found = un.kde(x, bandwidth=0.7, kernel=kernel).log_density(at)
    assert np.isneginf(found[0]) == (kernel not in ("gaussian", "exponential"))
    np.testing.assert_allclose(found[1:], expected[1:], atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 9, 60])
def test_a_kernel_integrates_to_one_and_has_its_spread(kernel, d):
    """By adding up its rings, with as many digits in many dimensions as in one."""
    top = {"gaussian": 20.0, "exponential": 200.0}.get(kernel, 1.0)
    node, share = np.polynomial.legendre.leggauss(150)
    u = top * (node + 1) / 2
    with jax.enable_x64(True):
        profile = np.asarray(log_profile(kernel, jnp.asarray(u**2)))
    surface = np.log(2) + d / 2 * np.log(np.pi) - gammaln(d / 2)
    ring = np.log(share * top / 2) + surface + (d - 1) * np.log(u) + profile
    assert log_constant(kernel, d) == pytest.approx(logsumexp(ring), rel=1e-9)
    spread = logsumexp(ring + 2 * np.log(u)) - logsumexp(ring) - np.log(d)
    assert 2 * np.log(deviation(kernel, d)) == pytest.approx(spread, abs=1e-8)


@pytest.mark.parametrize(
    "kernel", [pytest.param(k, marks=pytest.mark.slow if k == "cosine" else ()) for k in KERNELS]
)
def test_a_kernels_draws_density_and_width_agree(kernel):
    found = un.kde([[0.0, 0.0]], bandwidth=2.0, kernel=kernel)
    drawn = found.sample(KEY, 20_000)
    ring = np.linalg.norm(drawn, axis=1)
    edges = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    middles = np.linspace(0, 2, 2001)
    density = np.exp(found.log_density(np.c_[middles, 0 * middles])) * 2 * np.pi * middles
    for low, high in itertools.pairwise(edges):
        inside = (middles >= low) & (middles <= high)
        expected = np.trapezoid(density[inside], middles[inside])
        assert np.mean((ring >= low) & (ring < high)) == pytest.approx(expected, abs=0.012)
    # A rule gives kernels of one standard deviation, whatever their shape.
    wide = un.kde(X, bandwidth="scott", kernel=kernel).bandwidth
    spread = un.kde([[0.0, 0.0]], bandwidth=wide, kernel=kernel).sample(KEY, 20_000).std(0)
    np.testing.assert_allclose(spread, un.kde(X, bandwidth="scott").bandwidth, rtol=0.03)


def test_left_out_likelihoods_of_kernels_with_an_edge():
    x, grid = np.array([0.0, 1.0, 3.0]), [1.5, 2.5, 9.0]
    ours = un.kde(x, bandwidth="likelihood", grid=grid, scale="none", kernel="tophat")
    # Within 1.5 the row at 3 has no neighbour; within 2.5 it has one, as each has, of height 1/5.
    assert np.isneginf(ours.scores[0])
    assert ours.scores[1] == pytest.approx(np.log([1 / 10, 1 / 5, 1 / 10]).mean())
    with pytest.raises(ValueError, match="no neighbour within the largest bandwidth"):
        un.kde(x, bandwidth="likelihood", grid=[0.5, 1.5], scale="none", kernel="tophat")


def test_one_point_is_a_gaussian():
    found = un.kde([[3.0, 4.0]], bandwidth=2.0)
    expected = multivariate_normal([3, 4], 4 * np.eye(2)).logpdf(AT)
    np.testing.assert_allclose(found.log_density(AT), expected, atol=1e-4)


def test_rows_of_weight_0_are_not_there():
    some = np.r_[np.ones(20), np.zeros(20)]
    a, b = un.kde(X, weight=some), un.kde(X[:20])
    np.testing.assert_allclose(a.log_density(AT), b.log_density(AT), atol=1e-4)
    assert np.isin(
        un.kde(X, bandwidth=1e-9, weight=some).sample(KEY, 50).round(6), X[:20].round(6)
    ).all()


def test_rows_that_occur_twice_warn():
    with pytest.warns(UserWarning, match="rows that occur twice"):
        un.kde(np.r_[X, X], bandwidth="likelihood", grid=[0.01, 0.1])


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"bandwidth": 0}, "bandwidth must be positive"),
        ({"bandwidth": np.nan}, "bandwidth must be positive"),
        ({"bandwidth": "scot"}, "bandwidth 'scot' is not known"),
        ({"bandwidth": "likelihood", "grid": [0.0, 1.0]}, "grid must be positive"),
        ({"bandwidth": "scott", "grid": [1.0]}, "grid goes with"),
        ({"scale": "best"}, "scale 'best' is not known"),
        ({"kernel": "cosines"}, "kernel 'cosines' is not known"),
        ({"x": np.c_[X, np.ones(40)]}, r"1 of 3 features are constant \(2\)"),
        ({"x": np.c_[X, X[:, 0]]}, "lie in a plane"),
        ({"x": [[1.0, 2.0]]}, "needs 2 rows"),
        ({"x": [[np.inf]]}, "NaN or infinities"),
        ({"x": [1.0], "bandwidth": "likelihood", "scale": "none"}, "leave-one-out needs 2 rows"),
    ],
)
def test_what_a_density_refuses(options, rule):
    with pytest.raises(ValueError, match=rule):
        un.kde(**{"x": X, **options})


def test_other_features_are_refused():
    with pytest.raises(ValueError, match="x has 1 feature"):
        un.kde(X).log_density([0.0, 1.0])
