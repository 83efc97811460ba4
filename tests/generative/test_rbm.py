"""Restricted Boltzmann machines against everything that can be enumerated."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

import jaxmed as jm
from jaxmed.generative import (
    binarised,
    contrastive_divergence,
    free_energy,
    gibbs,
    pseudo_likelihood,
    rbm,
    sample,
    score_matching,
)
from jaxmed.testing import check_network

D, H = 3, 3
STATES = jnp.asarray(list(itertools.product((0.0, 1.0), repeat=D)))
KEY = jax.random.key(0)


def machine(seed=0, scale=1.0, pixels=D, hidden=H, gaussian=False):
    rng = np.random.default_rng(seed)
    params = {
        "kernel": scale * rng.normal(size=(pixels, hidden)),
        "visible_bias": scale * rng.normal(size=pixels),
        "hidden_bias": scale * rng.normal(size=hidden),
    }
    if gaussian:
        params["visible_log_scale"] = 0.3 * rng.normal(size=pixels)
    return {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}


def energies(params):
    """The energy of every (v, h), by the formula."""
    v, h = STATES[:, None], STATES[None]
    return (
        -(v @ params["visible_bias"])
        - h @ params["hidden_bias"]
        - jnp.einsum("aqi,ij,qbj->ab", v, params["kernel"], h)
    )


def log_likelihood(params, rows):
    return (-free_energy(params, rows)).mean() - logsumexp(-energies(params))


def whole(params, own=()):
    return {"net": params, "obj": dict(own)}


def gradient_of(objective, params, batch, own=(), key=KEY, network=None):
    network = network or rbm(params["hidden_bias"].size)
    loss = lambda p, own: objective.loss(network, whole(p), whole({}, own), batch, key)[0]  # noqa: E731
    return jax.jit(jax.grad(loss))(params, dict(own))


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_it_keeps_the_laws_of_a_network(visible):
    held = check_network(rbm(4, visible=visible), jax.random.uniform(KEY, (5, 2, 3, 1)))
    assert "gradients are finite" in held


def test_free_energy_is_the_sum_over_hidden_units():
    params = machine()
    expected = -logsumexp(-energies(params), axis=1)
    np.testing.assert_allclose(free_energy(params, STATES), expected, rtol=1e-5)
    features = rbm(H).apply(params, {}, STATES)[0]["features"]
    joint = jnp.exp(-energies(params))
    np.testing.assert_allclose(features, joint @ STATES / joint.sum(1, keepdims=True), rtol=1e-5)


def test_gaussian_pixels_are_a_mixture_of_gaussians():
    """A component for each hidden state: its weight and mean in closed form."""
    params = machine(gaussian=True)
    w, b, c = params["kernel"], params["visible_bias"], params["hidden_bias"]
    sigma = jnp.exp(params["visible_log_scale"])
    means = b + STATES @ w.T
    weights = STATES @ c + ((means**2 - b**2) / (2 * sigma**2)).sum(1)
    log_z = logsumexp(weights) + jnp.log(sigma * jnp.sqrt(2 * jnp.pi)).sum()
    v = 2 * jax.random.normal(KEY, (7, D))
    parts = norm.logpdf(v[:, None], means, sigma).sum(-1)
    expected = logsumexp(parts + jax.nn.log_softmax(weights), axis=1)
    np.testing.assert_allclose(-free_energy(params, v) - log_z, expected, rtol=1e-4, atol=1e-4)


def transitions(params):
    """P(v -> v') of one Gibbs step, from the joint distribution alone."""
    joint = np.exp(-np.asarray(energies(params)))
    up, down = joint / joint.sum(1, keepdims=True), joint / joint.sum(0, keepdims=True)
    return up @ down.T, joint.sum(1) / joint.sum()


def test_gibbs_steps_have_the_transitions_of_detailed_balance():
    params = machine(1)
    matrix, stationary = transitions(params)
    flow = stationary[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-6)
    n = 4000
    for start in (0, 5):
        drawn = gibbs(jax.random.key(start), params, jnp.tile(STATES[start], (n, 1)), steps=2)
        codes = np.asarray(drawn @ jnp.array([4, 2, 1.0]), int)
        expected = np.asarray(matrix @ matrix)[start]
        error = np.bincount(codes, minlength=8) / n - expected
        assert (np.abs(error) < 5 * np.sqrt(expected * (1 - expected) / n) + 1e-6).all()


def test_gaussian_gibbs_keeps_the_mean():
    """Of the exact mixture, when it begins there."""
    params = machine(2, 0.6, gaussian=True)
    w, b, c = params["kernel"], params["visible_bias"], params["hidden_bias"]
    sigma = jnp.exp(params["visible_log_scale"])
    means = b + STATES @ w.T
    share = jax.nn.softmax(STATES @ c + ((means**2 - b**2) / (2 * sigma**2)).sum(1))
    n = 4000
    which = jax.random.choice(KEY, 8, (n,), p=share)
    v = means[which] + sigma * jax.random.normal(jax.random.key(1), (n, D))
    after = gibbs(jax.random.key(2), params, v, steps=3)
    error = after.mean(0) - share @ means
    assert (jnp.abs(error) < 5 * after.std(0) / n**0.5).all()


def test_the_gradient_is_that_of_the_likelihood_where_chains_are_exact_draws():
    """Data minus model expectations, in every parameter."""
    params, n = machine(3, 0.7), 20_000
    data = STATES[jnp.array([1, 3, 3, 6])]
    _, stationary = transitions(params)
    chains = STATES[jax.random.choice(KEY, 8, (n,), p=stationary)]
    objective = contrastive_divergence(centre=False)
    own = {"chains": chains, "key": KEY, "step": jnp.zeros((), jnp.int32)}
    found = gradient_of(objective, params, {"image": data}, own)
    exact = jax.jit(jax.grad(lambda p: -log_likelihood(p, data)))(params)
    for name, value in exact.items():
        np.testing.assert_allclose(found[name], value, atol=5 * 0.5 / n**0.5, err_msg=name)
    # And exactly that of the difference of free energies.
    gap = lambda p: free_energy(p, data).mean() - free_energy(p, chains).mean()  # noqa: E731
    plain = jax.jit(jax.grad(gap))(params)
    for name, value in plain.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


@pytest.mark.parametrize("gaussian", [False, True])
def test_a_centred_step_is_the_step_of_the_centred_machine(gaussian):
    params = machine(4, gaussian=gaussian)
    batch = {"image": jax.random.uniform(KEY, (6, D))}
    objective = contrastive_divergence(offset_rate=0.0, binarise="none", chains=5)
    network = rbm(H, visible="gaussian" if gaussian else "bernoulli")
    _, own = objective.init(KEY, network, params, {}, batch)
    mu, lam = jnp.array([0.2, 0.5, 0.9]), jnp.array([0.1, 0.3, 0.6])
    own["offsets"] = {"visible": mu, "hidden": lam}
    step = gradient_of(objective, params, batch, own, network=network)

    scaled = mu / jnp.exp(2 * params["visible_log_scale"]) if gaussian else mu

    def ordinary(centred):
        w = centred["kernel"]
        return {
            **centred,
            "visible_bias": centred["visible_bias"] - w @ lam,
            "hidden_bias": centred["hidden_bias"] - w.T @ scaled,
        }

    w = params["kernel"]
    start = {
        **params,
        "visible_bias": params["visible_bias"] + w @ lam,
        "hidden_bias": params["hidden_bias"] + w.T @ scaled,
    }

    def gap(centred):
        p = ordinary(centred)
        return free_energy(p, batch["image"]).mean() - free_energy(p, own["chains"]).mean()

    rate = 1e-2
    slope = jax.jit(jax.grad(gap))(start)
    moved = ordinary(jax.tree.map(lambda p, g: p - rate * g, start, slope))
    for name in ("kernel", "visible_bias", "hidden_bias"):
        # The biases' steps in W's own change are of second order.
        np.testing.assert_allclose((params[name] - moved[name]) / rate, step[name], atol=2e-4)


def test_chains_go_on_after_the_optimizers_step():
    batch = {"image": STATES}
    run = jm.learner(rbm(H), contrastive_divergence(chains=4, steps=2), optax.sgd(0.1))
    first = run.init(KEY, batch)
    state, _ = jax.jit(run.step)(first, batch)
    own, old = state.state["obj"], first.state["obj"]
    expected = gibbs(jm.stream(old["key"], 0), state.params["net"], old["chains"], steps=2)
    np.testing.assert_array_equal(own["chains"], expected)
    assert int(own["step"]) == 1
    # Chains at the data have no state.
    plain = contrastive_divergence(persistent=False, centre=False)
    assert plain.init(KEY, rbm(H), first.params["net"], {}, batch) == ({}, {})


def test_learning_by_persistent_chains_raises_the_exact_likelihood():
    data = jnp.tile(jnp.array([[1.0, 1, 0], [0, 0, 1]]), (8, 1))
    run = jm.learner(rbm(H), contrastive_divergence(chains=64, steps=2), optax.sgd(0.4))
    state = run.init(KEY, {"image": data})
    measure = jax.jit(lambda state: log_likelihood(state.params["net"], data))
    before = measure(state)
    state, _ = jax.lax.scan(lambda s, _: run.step(s, {"image": data}), state, None, length=600)
    after = measure(state)
    # Three fair coins: 3 log 2; two equal patterns, the best there is: log 2.
    assert before < -2.0
    assert -1.4 < after < -np.log(2)


def test_sparsity_draws_hidden_units_to_their_activity():
    params, batch = machine(5), {"image": STATES}
    without = gradient_of(contrastive_divergence(centre=False, persistent=False), params, batch)
    sparse = contrastive_divergence(centre=False, persistent=False, sparsity=2.0, activity=0.2)
    found = gradient_of(sparse, params, batch)
    mean = lambda p: rbm(H).apply(p, {}, STATES)[0]["features"].mean(0)  # noqa: E731
    penalty = jax.grad(lambda p: 2 * jnp.square(0.2 - mean(p)).sum())(params)
    for name, value in penalty.items():
        np.testing.assert_allclose(found[name] - without[name], value, atol=1e-5)


def test_pseudo_likelihood_is_the_product_of_conditionals():
    params = machine(6)
    p = jnp.exp(-free_energy(params, STATES))
    expected = []
    for v in np.asarray(STATES, int):
        total = 0.0
        for i in range(D):
            other = v.copy()
            other[i] = 1 - v[i]
            code = lambda u: int(u @ [4, 2, 1])  # noqa: E731
            total -= np.log(p[code(v)] / (p[code(v)] + p[code(other)]))
        expected.append(total)
    for pixels in (None, D):
        objective = pseudo_likelihood(pixels=pixels)
        of = lambda: objective.loss(rbm(H), whole(params), whole({}), {"image": STATES}, KEY)  # noqa: E731, B023
        found, _ = jax.jit(of)()
        np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)
    some = pseudo_likelihood(pixels=1)
    of = lambda key: some.loss(rbm(H), whole(params), whole({}), {"image": STATES}, key)[0]  # noqa: E731
    values = jax.jit(jax.vmap(of))(jax.random.split(KEY, 2000))
    assert abs(values.mean() - np.mean(expected)) < 5 * values.std() / 2000**0.5


def test_score_matching_is_its_formula():
    params, network = machine(7, gaussian=True), rbm(H, visible="gaussian")
    v = jax.random.normal(KEY, (5, D))
    one = lambda x: -free_energy(params, x[None])[0]  # noqa: E731

    @jax.jit
    def formula():
        score = jax.vmap(jax.grad(one))(v)
        trace = jnp.trace(jax.vmap(jax.hessian(one))(v), axis1=1, axis2=2)
        return (0.5 * (score**2).sum(1) + trace).mean()

    expected = formula()

    def value(objective, key=KEY):
        return objective.loss(network, whole(params), whole({}), {"image": v}, key)[0]

    found = jax.jit(lambda: value(score_matching()))()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    keys = jax.random.split(KEY, 3000)
    slices = score_matching(method="sliced")
    sliced = jax.jit(jax.vmap(lambda key: value(slices, key)))(keys)
    assert abs(sliced.mean() - expected) < 5 * sliced.std() / 3000**0.5


def test_denoising_fits_the_density_of_noisy_images():
    """For a single Gaussian: the best variance is the images' and the noise's together."""
    network = rbm(1, visible="gaussian")
    v = 1.3 * jax.random.normal(KEY, (4000, 1))
    objective = score_matching(method="denoising", noise=0.7)

    def value(log_scale):
        params = {
            "kernel": jnp.zeros((1, 1)),
            "visible_bias": jnp.zeros(1),
            "hidden_bias": jnp.zeros(1),
            "visible_log_scale": log_scale[None],
        }
        return objective.loss(network, whole(params), whole({}), {"image": v}, KEY)[0]

    grid = jnp.linspace(0.8, 2.2, 57)
    best = grid[jnp.argmin(jax.jit(jax.vmap(value))(jnp.log(grid)))]
    assert abs(best - (1.3**2 + 0.7**2) ** 0.5) < 0.1


def test_samples_come_from_the_machine():
    params = machine(8)
    _, stationary = transitions(params)
    drawn = sample(KEY, params, 4000, steps=20, means=False)
    codes = np.asarray(drawn @ jnp.array([4, 2, 1.0]), int)
    error = np.bincount(codes, minlength=8) / 4000 - np.asarray(stationary)
    assert (np.abs(error) < 5 * np.sqrt(stationary * (1 - stationary) / 4000)).all()
    means = sample(KEY, params, 50, steps=3)
    assert ((means > 0) & (means < 1)).all()


def test_binary_pixels_of_grey_values():
    grey = jnp.array([[0.0, 0.2, 0.5, 1.0]])
    assert binarised(None, grey, "threshold").tolist() == [[0, 0, 1, 1]]
    assert binarised(None, grey, "none").tolist() == np.float32([[0, 0.2, 0.5, 1]]).tolist()
    drawn = binarised(KEY, jnp.tile(grey, (4000, 1)))
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(0), grey[0], atol=0.04)
    with pytest.raises(ValueError, match=r"from -1 to 1: scale them"):
        binarised(KEY, 2 * grey - 1)
    with pytest.raises(ValueError, match="needs a random key"):
        binarised(None, grey)
    found = jax.jit(lambda x: binarised(KEY, x))(jnp.array([[0.5, 2.0], [0.5, 0.5]]))
    assert np.isnan(found).any(1).tolist() == [True, False]


def test_training_on_values_that_are_no_grey_ones_stops():
    batches = jm.data.batches({"image": np.full((4, D), 7.0, np.float32)}, 2, seed=0)
    run = jm.learner(rbm(2), contrastive_divergence(chains=2), optax.sgd(0.1))
    with pytest.raises(jm.train.NonFiniteLossError):
        jm.fit(run, batches, epochs=1, progress=False)


def test_what_is_wrong_is_said():
    params = machine()
    with pytest.raises(ValueError, match="at least one hidden unit"):
        rbm(0)
    with pytest.raises(ValueError, match="'bernoulli' or 'gaussian'"):
        rbm(3, visible="poisson")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="has 3 pixels, the images have 4"):
        free_energy(params, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="the parameters of no rbm"):
        sample(KEY, {"net": params}, 2)
    with pytest.raises(ValueError, match="at least one step"):
        contrastive_divergence(steps=0)
    with pytest.raises(ValueError, match="Gaussian pixels are no binary ones"):
        gradient_of(
            contrastive_divergence(centre=False, persistent=False, binarise="draw"),
            machine(gaussian=True),
            {"image": STATES},
            network=rbm(H, visible="gaussian"),
        )
    with pytest.raises(ValueError, match="so no 9 can be drawn"):
        gradient_of(pseudo_likelihood(pixels=9), params, {"image": STATES})
