"""Partition functions: sums over all states, and annealing that brackets them."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from jaxmed.core import Variables
from jaxmed.generative import log_likelihood, log_partition, rbm

KEY = jax.random.key(0)
ANNEAL = {"chains": 40, "temperatures": 60, "burn_in": 20}


def machine(pixels, hidden, seed=0, scale=1.0, gaussian=False):
    rng = np.random.default_rng(seed)
    params = {
        "kernel": scale * rng.normal(size=(pixels, hidden)),
        "visible_bias": rng.normal(size=pixels),
        "hidden_bias": rng.normal(size=hidden),
    }
    if gaussian:
        params["visible_log_scale"] = 0.3 * rng.normal(size=pixels)
    return {name: np.float32(value) for name, value in params.items()}


def states(n):
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def brute(params):
    """The sum over all pairs of states, in float64."""
    w, b, c = (np.float64(params[name]) for name in ("kernel", "visible_bias", "hidden_bias"))
    v, h = states(len(b)), states(len(c))
    return logsumexp((v @ b)[:, None] + h @ c + v @ w @ h.T)


@pytest.mark.parametrize(("pixels", "hidden"), [(3, 7), (7, 3), (1, 1), (12, 11)])
def test_the_exact_sum_is_over_all_states(pixels, hidden):
    params = machine(pixels, hidden)
    found = log_partition(None, params)
    if max(pixels, hidden) < 10:
        assert found.value == pytest.approx(brute(params), abs=1e-5)
    else:  # Blocks of high bits too, by the other side's sum.
        turned = {
            "kernel": params["kernel"].T,
            "visible_bias": params["hidden_bias"],
            "hidden_bias": params["visible_bias"],
        }
        assert found.value == pytest.approx(log_partition(None, turned).value, abs=1e-4)
        free = {**params, "kernel": 0 * params["kernel"]}
        closed = sum(np.logaddexp(0, params[f"{s}_bias"]).sum() for s in ("visible", "hidden"))
        assert log_partition(None, free).value == pytest.approx(closed, abs=1e-4)
    assert found.lower == found.value == found.upper
    assert "enumeration" in str(found)


def test_gaussian_pixels_have_the_sum_of_their_mixture():
    """Which gives densities that are a mixture's, at any point."""
    params = machine(2, 3, gaussian=True)
    sigma = np.exp(np.float64(params["visible_log_scale"]))
    b, w, c = (np.float64(params[name]) for name in ("visible_bias", "kernel", "hidden_bias"))
    h = states(3)
    means = b + h @ w.T
    weights = h @ c + ((means**2 - b**2) / (2 * sigma**2)).sum(1)
    point = np.array([[0.3, -0.8], [0.0, 0.0]], np.float32)
    density = [
        logsumexp(
            [
                a + multivariate_normal.logpdf(x, m, np.diag(sigma**2))
                for a, m in zip(weights - logsumexp(weights), means, strict=True)
            ]
        )
        for x in point
    ]
    network = rbm(3, visible="gaussian")
    log_z = log_partition(None, params)
    found = log_likelihood(network, Variables(params, {}), point, log_z, binarise="none")
    assert found.value == pytest.approx(np.mean(density), abs=1e-5)


@pytest.mark.parametrize("gaussian", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_annealing_brackets_the_exact_value(gaussian):
    """Its interval and that of each direction, in all but few runs; the two from either side."""
    params = machine(6, 5, 1, 0.8, gaussian=gaussian)
    exact = log_partition(None, params).value
    held = {"ais": 0, "reverse_ais": 0, "bracket": 0}
    runs = 20
    values = []
    for seed in range(runs):
        found = log_partition(jax.random.key(seed), params, method="bracket", **ANNEAL)
        held["bracket"] += found.lower <= exact <= found.upper
        values.append([found.details["ais"], found.details["reverse_ais"]])
    for name in ("ais", "reverse_ais"):
        one = [
            log_partition(jax.random.key(seed), params, method=name, **ANNEAL)
            for seed in range(runs)
        ]
        held[name] = sum(e.lower <= exact <= e.upper for e in one)
    assert held["bracket"] >= 18
    assert min(held["ais"], held["reverse_ais"]) >= 15
    # Unbiased for Z and for one over Z.
    below, above = np.transpose(values) - exact
    error = np.exp(below)
    assert abs(error.mean() - 1) < 5 * error.std() / runs**0.5
    error = np.exp(-above)
    assert abs(error.mean() - 1) < 5 * error.std() / runs**0.5


def test_a_machine_without_interactions_needs_no_annealing():
    params = {**machine(4, 3), "kernel": np.zeros((4, 3), np.float32)}
    params["hidden_bias"] = np.zeros(3, np.float32)
    found = log_partition(KEY, params, method="ais", chains=3, temperatures=2)
    closed = np.logaddexp(0, params["visible_bias"]).sum() + 3 * np.log(2)
    assert found.value == pytest.approx(closed, abs=1e-5)
    assert found.details["sd_log_weights"] < 1e-5


def test_the_data_mean_may_be_the_start():
    params = machine(6, 5, 1, 0.8)
    exact = log_partition(None, params).value
    found = log_partition(KEY, params, method="ais", mean=np.full((2, 3), 0.4), **ANNEAL)
    assert abs(found.value - exact) < 5 * found.se + 0.05
    begin = np.ones((40, 6), np.float32)
    given = log_partition(KEY, params, method="reverse_ais", start=begin, **ANNEAL)
    assert any("begin at given draws" in note for note in given.notes)


def test_too_few_temperatures_are_told():
    params = machine(30, 30, 2, 3.0)
    far = {"mean": np.full(30, 0.5), "temperatures": 1}
    found = log_partition(KEY, params, method="ais", chains=50, **far)
    assert any("take more temperatures" in note for note in found.notes)
    assert found.details["effective_chains"] < 5


def test_likelihoods_say_how_pixels_were_made():
    params = machine(6, 5)
    images = np.random.default_rng(0).uniform(size=(9, 2, 3, 1)).astype(np.float32)
    log_z = log_partition(None, params)
    network, variables = rbm(5), Variables(params, {})
    options = {"chunk": 4}
    binary = (images >= 0.5).astype(np.float32)
    found = log_likelihood(network, variables, images, log_z, binarise="threshold", **options)
    again = log_likelihood(network, variables, binary, log_z, binarise="none", **options)
    drawn = log_likelihood(network, variables, binary, log_z, binarise="draw", key=KEY)
    assert found.value == pytest.approx(again.value, abs=1e-5)
    assert found.value == pytest.approx(drawn.value, abs=1e-5)
    assert found.notes[0] == "pixels 1 where the grey value is at least 0.5"
    assert drawn.notes[0].startswith("pixels drawn once")
    rows = binary.reshape(9, 6)
    every = states(6)
    log_p = lambda v: (  # noqa: E731
        v @ params["visible_bias"]
        + np.logaddexp(0, params["hidden_bias"] + v @ params["kernel"]).sum(1)
    )
    expected = log_p(rows) - logsumexp(log_p(every))
    assert found.value == pytest.approx(expected.mean(), abs=1e-4)
    # The error of log Z widens the interval.
    unsure = log_partition(KEY, params, method="ais", chains=5, temperatures=2)
    wide = log_likelihood(network, variables, images, unsure, binarise="threshold")
    assert wide.width > max(found.width, unsure.width)


def test_what_is_wrong_is_said():
    params = machine(4, 3)
    large = {"kernel": jnp.zeros((40, 26))}
    large |= {"visible_bias": jnp.zeros(40), "hidden_bias": jnp.zeros(26)}
    with pytest.raises(ValueError, match=r"26 units.*take method='ais'"):
        log_partition(None, large)
    for match, options in {
        "method is 'exact'": {"method": "guess"},
        "needs a random key": {"key": None},
        "at least two chains": {"chains": 1},
        "from 0 to 1, both included": {"temperatures": [0.0, 0.5]},
        "rise from each": {"temperatures": [0.0, 0.6, 0.5, 1.0]},
        "the mean has 5 pixels": {"mean": np.zeros(5)},
        r"in \[0, 1\], got -1": {"mean": np.array([-1.0, 0, 0, 0])},
        "100 chains begin at as many": {"method": "reverse_ais", "start": np.ones((3, 4))},
    }.items():
        given = {"key": KEY, "method": "ais", **options}
        with pytest.raises(ValueError, match=match):
            log_partition(given.pop("key"), params, **given)
    with pytest.raises(ValueError, match="level is in"):
        log_partition(None, params, level=95)
    variables, log_z = Variables(params, {}), log_partition(None, params)
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        log_likelihood(rbm(3), variables, np.ones((2, 4)), log_z, binarise="none", chunk=0)
    with pytest.raises(ValueError, match="at least two images"):
        log_likelihood(rbm(3), variables, np.ones((1, 4)), log_z, binarise="none")
    bad = np.array([[0, 1, 1, np.inf], [0, 1, 0, 1]], np.float32)
    with pytest.raises(ValueError, match="1 free energies are not finite"):
        log_likelihood(rbm(3), variables, bad, log_z, binarise="none")
