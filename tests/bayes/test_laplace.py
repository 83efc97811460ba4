"""Laplace against closed forms, for every structure and any network."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import special

import jaxmed as jm
from jaxmed import bayes
from jaxmed.bayes.posteriors._curvature import curvature

KEY = jax.random.key(0)


class Tanh(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.tanh(nn.Dense(5, name="body")(x))
        return {"logits": nn.Dense(3, name="head")(h), "features": h}


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)).astype(np.float32)
    batch = {"image": x, "label": rng.integers(0, 3, 30)}
    network = jm.from_linen(Tanh())
    return network, *network.init(KEY, x), batch


def test_the_last_layer_is_the_gauss_newton_formula(fitted):
    network, params, state, batch = fitted
    q = bayes.laplace(
        network, params, state, batch, bayes.categorical(), structure="full",
        subset="last_layer", prior_precision=2.0,
    )  # fmt: skip
    ends = jax.device_get(jax.jit(network.apply)(params, state, batch["image"])[0])
    p = special.softmax(ends["logits"].astype(float), axis=1)
    h = ends["features"].astype(float)
    phi = np.concatenate([np.ones((30, 1)), h], axis=1)
    precision = 2.0 * np.eye(18)
    for row, probs in zip(phi, p):
        precision += np.kron(np.outer(row, row), np.diag(probs) - np.outer(probs, probs))
    covariance = np.linalg.inv(precision)  # bias, then kernel, outputs fastest
    mean, spread = q.function(batch["image"][:4])
    for i in range(4):
        j = np.kron(phi[i], np.eye(3))
        assert np.allclose(spread[i], j @ covariance @ j.T, atol=2e-5)
    assert np.allclose(mean, ends["logits"][:4], atol=1e-6)
    assert q.parameters == 18
    log_det = np.linalg.slogdet(precision)[1] - 18 * np.log(2.0)
    square = sum((np.asarray(v) ** 2).sum() for v in params["head"].values())
    fit = np.log(p[np.arange(30), batch["label"]]).sum()
    assert np.isclose(q.log_evidence, fit - 0.5 * (log_det + 2 * square), atol=1e-3)


@pytest.mark.parametrize("structure", ["full", "kron", "diag"])
def test_draws_have_the_closed_forms_moments(fitted, structure):
    network, params, state, batch = fitted
    q = bayes.laplace(
        network, params, state, batch, bayes.categorical(), structure=structure, prior_precision=1.0
    )
    mean, spread = q.function(batch["image"][:2])
    draws = np.asarray(q.predictive(KEY, batch["image"][:2], 8000, chunk=500)["logits"])
    assert np.allclose(draws.mean(0), mean, atol=0.08)
    for i in range(2):
        assert np.allclose(np.cov(draws[:, i].T), spread[i], atol=0.12 * np.abs(spread).max())


def test_few_examples_are_the_same_by_rows(fitted):
    """Where there are fewer rows than parameters, the closed form in `N x N` is the full matrix."""
    network, params, state, batch = fitted
    few = {name: array[:7] for name, array in batch.items()}
    thin = bayes.laplace(
        network, params, state, few, bayes.categorical(), structure="full", prior_precision=0.7
    )
    assert thin.blocks[0].thin  # 21 rows, 33 parameters
    flat, back = jax.flatten_util.ravel_pytree(params)
    network_rows = lambda v: network.apply(back(v), state, few["image"])[0]["logits"]  # noqa: E731
    jacobian, p = (
        np.asarray(jax.jit(f)(flat), float)
        for f in (jax.jacobian(network_rows), lambda v: jax.nn.softmax(network_rows(v)))
    )
    precision = 0.7 * np.eye(33)
    for j, probs in zip(jacobian, p):
        precision += j.T @ (np.diag(probs) - np.outer(probs, probs)) @ j
    for i, spread in enumerate(thin.function(few["image"])[1]):
        want = jacobian[i] @ np.linalg.inv(precision) @ jacobian[i].T
        assert np.allclose(spread, want, atol=1e-4)
    log_det = np.linalg.slogdet(precision)[1] - 33 * np.log(0.7)
    fit = np.log(p[np.arange(7), few["label"]]).sum()
    want = fit - 0.5 * (log_det + 0.7 * (np.asarray(flat) ** 2).sum())
    assert np.isclose(thin.log_evidence, want, atol=1e-3)
    draws = np.asarray(thin.predictive(KEY, few["image"][:1], 8000, chunk=500)["logits"])[:, 0]
    want = thin.function(few["image"][:1])[1][0]
    assert np.allclose(np.cov(draws.T), want, atol=0.1 * np.abs(want).max())


def test_a_full_matrix_too_large_is_refused(fitted, monkeypatch):
    network, params, state, batch = fitted
    monkeypatch.setattr("jaxmed.bayes.posteriors._curvature._MOST", 1000)
    with pytest.raises(ValueError, match="33 parameters and 30 examples is too large: use kron"):
        bayes.laplace(network, params, state, batch, bayes.categorical(), structure="full")


def test_linen_and_nnx_agree_where_the_network_is_the_same():
    x = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    batch = {"image": x, "label": (x[:, 0] > 0).astype(int)}
    one, two = jm.from_linen(nn.Dense(2)), jm.from_nnx(lambda r: nnx.Linear(3, 2, rngs=r))
    params, _ = one.init(KEY, x)
    _, state = two.init(KEY, x)
    fits = [
        bayes.laplace(
            net, params, s, batch, bayes.categorical(), structure="full", prior_precision=1.0
        )
        for net, s in ((one, {}), (two, state))
    ]
    assert np.isclose(fits[0].log_evidence, fits[1].log_evidence, atol=1e-5)


def test_gradient_moments_keep_the_trace(fitted):
    """Where no Linen layer is seen, Kronecker factors still sum to the exact diagonal's total."""
    network, params, state, batch = fitted
    hidden = jm.from_functions(
        lambda key, x: params, lambda p, x: network.apply(p, state, x)[0], stateful=False
    )
    conv = jm.from_linen(jm.networks.cnn(2, features=(3,), norm="none"))
    images = np.random.default_rng(0).normal(size=(4, 5, 5, 1)).astype(np.float32)
    p, s = conv.init(KEY, images)
    two = {"image": images, "label": np.array([0, 1, 1, 0])}
    for net, params_, state_, data in ((hidden, params, {}, batch), (conv, p, s, two)):
        kron, diag = (
            bayes.laplace(
                net, params_, state_, data, bayes.categorical(), structure=k, prior_precision=1.0
            )
            for k in ("kron", "diag")
        )
        conv_only = [b for b in kron.blocks if "conv" in b.paths[0]]
        for block in conv_only:
            want = next(b for b in diag.blocks if b.paths == block.paths)
            assert np.isclose(block.values.sum(), want.values.sum(), rtol=1e-3)


def test_the_evidence_chooses_the_precision(fitted):
    network, params, state, batch = fitted
    q = bayes.laplace(network, params, state, batch, bayes.categorical(), structure="full")
    grid = [q.evidence_at(q.prior_precision * f) for f in (0.5, 1.0, 2.0)]
    assert grid[1] == max(grid)
    assert 0 < q.effective_parameters < q.parameters


@pytest.mark.parametrize("structure", [pytest.param("kron", marks=pytest.mark.slow), "diag"])
def test_held_out_examples_choose_the_precision_by_one_curvature(fitted, structure, monkeypatch):
    network, params, state, batch = fitted
    rng = np.random.default_rng(5)
    held = {"image": rng.normal(size=(25, 2)).astype("f4"), "label": rng.integers(0, 3, 25)}
    calls = []

    def counted(*given):
        calls.append(given)
        return curvature(*given)

    monkeypatch.setattr("jaxmed.bayes.posteriors._laplace.curvature", counted)
    q = bayes.laplace(
        network, params, state, batch, bayes.categorical(), structure=structure,
        prior_precision="validation", validation=held,
    )  # fmt: skip
    assert q.validation[q.prior_precision] == max(q.validation.values())
    mean, spread = q.function(held["image"])
    draws = np.random.default_rng(0).normal(size=(20_000, 25, 3))
    f = mean + np.einsum("bij,nbj->nbi", np.linalg.cholesky(spread + 1e-9 * np.eye(3)), draws)
    p = bayes.softmax_samples(f).mean(0)[np.arange(25), held["label"]]
    assert np.isclose(np.log(p).mean(), q.validation[q.prior_precision], atol=0.02)
    q.at(0.7).function(held["image"][:2])
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["kron", "diag", "full"])
def test_another_precision_is_what_a_new_fit_would_be(fitted, structure):
    network, params, state, batch = fitted
    one, other = (
        bayes.laplace(
            network, params, state, batch, bayes.categorical(), structure=structure,
            prior_precision=tau,
        )
        for tau in (3.0, 0.7)
    )  # fmt: skip
    one = one.at(0.7)
    x = batch["image"][:5]
    for a, b in zip(one.function(x), other.function(x)):
        assert np.allclose(a, b, rtol=1e-5)
    assert one.log_evidence == other.log_evidence
    a, b = (q.predictive(KEY, x, 2)["logits"] for q in (one, other))
    assert np.allclose(a, b)


def test_segmentation_by_random_signs():
    """The estimate of a map's curvature is right on average."""

    class PerVoxel(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="head")(x)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 3, 3, 2)).astype(np.float32)
    batch = {"image": x, "mask": rng.integers(0, 2, (150, 3, 3))}
    network = jm.from_linen(PerVoxel())
    params, state = network.init(KEY, x)
    maps = bayes.laplace(
        network, params, state, batch, bayes.categorical(target="mask"), structure="full",
        prior_precision=1.0,
    )  # fmt: skip
    flat = {"image": x.reshape(-1, 2), "label": batch["mask"].reshape(-1)}
    exact = bayes.laplace(
        network, params, state, flat, bayes.categorical(), structure="full", prior_precision=1.0
    )
    a, b = np.asarray(maps.blocks[0].values), np.asarray(exact.blocks[0].values)
    np.testing.assert_allclose(a, b, atol=0.03 * b.max())
    draws = maps.predictive(KEY, jnp.asarray(x[:1]), 3)["logits"]
    assert draws.shape == (3, 1, 3, 3, 2)


def test_padding_rows_do_not_count(fitted):
    network, params, state, batch = fitted
    padded = {k: np.concatenate([v, v[:6]]) for k, v in batch.items()}
    padded["weight"] = np.r_[np.ones(30), np.zeros(6)].astype(np.float32)
    fits = [
        bayes.laplace(
            network, params, state, b, bayes.categorical(), structure="diag", prior_precision=1.0
        )
        for b in (batch, padded)
    ]
    assert np.isclose(fits[0].log_evidence, fits[1].log_evidence, rtol=1e-5)
    assert fits[1].examples == 30


def test_bad_input(fitted):
    network, params, state, batch = fitted

    def fit(**o):
        return bayes.laplace(network, params, state, batch, bayes.categorical(), **o)

    with pytest.raises(ValueError, match=r"one of .*diag.*full.*kron"):
        fit(structure="banded")
    with pytest.raises(ValueError, match="no parameter matches 'tail'"):
        fit(subset="tail")
    with pytest.raises(ValueError, match="must be positive"):
        fit(prior_precision=-1.0)
    for options in ({"prior_precision": "validation"}, {"validation": batch}):
        with pytest.raises(ValueError, match="validation goes with"):
            fit(**options)
    broken = jax.tree.map(lambda v: v * jnp.nan, params)
    with pytest.raises(ValueError, match="log likelihood at the parameters given is nan"):
        bayes.laplace(
            network, broken, state, batch, bayes.categorical(), structure="diag", subset="head"
        )
    deep = jm.from_linen(nn.Sequential([nn.Dense(3), nn.Dense(3)]))
    p, s = deep.init(KEY, batch["image"])
    with pytest.raises(ValueError, match="the last layer is not clear"):
        bayes.laplace(deep, p, s, batch, bayes.categorical(), subset="last_layer")


def test_criteria_warn_where_counting_means_nothing(fitted):
    network, params, state, batch = fitted
    few = {k: v[:8] for k, v in batch.items()}
    q = bayes.laplace(
        network, params, state, few, bayes.categorical(), structure="full", prior_precision=1.0
    )
    found = bayes.network_criteria(q)
    assert found.counted is None
    assert any("meaningless" in note for note in found.notes)
    assert found.effective_parameters < 16
