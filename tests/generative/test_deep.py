"""Belief networks and deep Boltzmann machines against everything that can be enumerated."""

from __future__ import annotations

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import norm

import jaxmed as jm
from jaxmed.core import Variables
from jaxmed.generative import (
    above,
    as_rbm,
    belief_network,
    contrastive_divergence,
    deep_boltzmann,
    fit_layers,
    from_rbms,
    generate,
    log_likelihood,
    log_partition,
    rbm,
    stochastic_approximation,
    wake_sleep,
)
from jaxmed.inference import build, describe
from jaxmed.paradigms import pretrained
from jaxmed.testing import check_network

KEY = jax.random.key(0)
SIZES = (3, 2, 2, 2)
IMAGES = np.random.default_rng(0).integers(0, 2, (6, 3, 1)).astype(np.float32)


def states(n):
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)), np.float32)


def deep(sizes=SIZES, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    pairs = enumerate(itertools.pairwise(sizes))
    return {
        "kernels": {str(i): np.float32(scale * rng.normal(size=pair)) for i, pair in pairs},
        "biases": {str(i): np.float32(rng.normal(size=size)) for i, size in enumerate(sizes)},
    }


def log_joint(params, sizes=SIZES):
    """Minus the energy of every state of all layers, (states of layer 0, of layer 1, ...)."""
    total = np.zeros([2**size for size in sizes])
    for i, size in enumerate(sizes):
        shape = [1] * len(sizes)
        shape[i] = 2**size
        total += (states(size) @ params["biases"][str(i)]).reshape(shape)
    for i in range(len(sizes) - 1):
        table = states(sizes[i]) @ params["kernels"][str(i)] @ states(sizes[i + 1]).T
        shape = [1] * len(sizes)
        shape[i : i + 2] = table.shape
        total += table.reshape(shape)
    return total


def restricted(pixels, hidden, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        "kernel": np.float32(scale * rng.normal(size=(pixels, hidden))),
        "visible_bias": np.float32(rng.normal(size=pixels)),
        "hidden_bias": np.float32(rng.normal(size=hidden)),
    }


@pytest.mark.parametrize("make", [belief_network, deep_boltzmann])
def test_they_keep_the_laws_of_a_network(make):
    held = check_network(make((4, 3)), jax.random.uniform(KEY, (5, 2, 3, 1)))
    assert "gradients are finite" in held


def test_a_deep_machine_is_a_restricted_one_of_its_odd_and_even_layers():
    params = deep()
    exact = logsumexp(log_joint(params))
    assert log_partition(None, as_rbm(params)).value == pytest.approx(exact, abs=1e-5)


def test_mean_field_is_a_bound_that_is_tight_without_upper_layers():
    params = deep(scale=1.5)
    network = deep_boltzmann(SIZES[1:], mean_field=30)
    log_p = logsumexp(log_joint(params), axis=(1, 2, 3)) - logsumexp(log_joint(params))
    log_z = log_partition(None, as_rbm(params))
    bound = jax.jit(lambda p, x: network.apply(p, {}, x)[0])
    found = -np.asarray(bound(params, states(3))["free_energy_bound"]) - log_z.value
    assert (found < log_p + 1e-5).all()
    assert (log_p - found).max() > 1e-3
    # Each solved layer raises it, so that more steps are never worse.
    few = deep_boltzmann(SIZES[1:], mean_field=1).apply(params, {}, states(3))[0]
    assert (-np.asarray(few["free_energy_bound"]) - log_z.value <= found + 1e-5).all()
    said = log_likelihood(network, Variables(params, {}), states(3), log_z, binarise="none")
    assert said.name == "log-likelihood, lower bound"
    assert said.value == pytest.approx(found.mean(), abs=1e-5)

    free = {**params, "kernels": {**params["kernels"], "1": 0 * params["kernels"]["1"]}}
    log_p = logsumexp(log_joint(free), axis=(1, 2, 3)) - logsumexp(log_joint(free))
    ends = bound(free, states(3))
    log_z = log_partition(None, as_rbm(free)).value
    assert (-np.asarray(ends["free_energy_bound"]) - log_z <= log_p + 1e-5).all()
    # Without the top's interactions too, nothing is left out.
    free["kernels"]["2"] = 0 * free["kernels"]["2"]
    log_p = logsumexp(log_joint(free), axis=(1, 2, 3)) - logsumexp(log_joint(free))
    log_z = log_partition(None, as_rbm(free)).value
    exact = -np.asarray(bound(free, states(3))["free_energy_bound"]) - log_z
    np.testing.assert_allclose(exact, log_p, atol=1e-5)


def test_one_hidden_layer_is_a_restricted_machine():
    params = restricted(3, 4, 0)
    one = {
        "kernels": {"0": params["kernel"]},
        "biases": {"0": params["visible_bias"], "1": params["hidden_bias"]},
    }
    ends, _ = deep_boltzmann((4,)).apply(one, {}, IMAGES)
    expected, _ = rbm(4).apply(params, {}, IMAGES)
    np.testing.assert_allclose(ends["features"], expected["features"], rtol=1e-5)
    np.testing.assert_allclose(ends["free_energy_bound"], expected["free_energy"], atol=1e-5)

    # And learns alike: the same step of both, on the same chains.
    options = {"chains": 5, "offset_rate": 0.0, "binarise": "none"}
    batch = {"image": IMAGES}

    def step(objective, network, params, start):
        _, own = objective.init(KEY, network, params, {}, batch)
        state = {"net": {}, "obj": {**own, **start}}
        loss = lambda p: objective.loss(network, {"net": p, "obj": {}}, state, batch, KEY)[0]  # noqa: E731
        return jax.jit(jax.grad(loss))(params)

    chains = jnp.asarray(states(3)[1:6])
    mean, half = IMAGES.reshape(6, 3).mean(0), np.full(4, 0.3, np.float32)
    start = {"chains": chains, "offsets": {"visible": mean, "hidden": half}}
    single = step(contrastive_divergence(**options), rbm(4), params, start)
    start = {"chains": chains, "offsets": {"0": mean, "1": half}}
    found = step(stochastic_approximation(**options), deep_boltzmann((4,)), one, start)
    np.testing.assert_allclose(found["kernels"]["0"], single["kernel"], atol=1e-5)
    np.testing.assert_allclose(found["biases"]["0"], single["visible_bias"], atol=1e-5)
    np.testing.assert_allclose(found["biases"]["1"], single["hidden_bias"], atol=1e-5)


def test_the_gradient_is_data_minus_model_in_every_layer():
    """With chains at all states, each as often as the machine draws it."""
    sizes = (2, 2, 2)
    params = deep(sizes)
    network = deep_boltzmann(sizes[1:], mean_field=60)
    batch = {"image": IMAGES[:, :2]}
    joint = np.exp(log_joint(params, sizes) - logsumexp(log_joint(params, sizes)))
    share = joint.sum(1)  # of pixels and top: layers of even place
    n = 4000
    counts = np.floor(share * n).astype(int)
    rows = [
        np.concatenate([states(2)[i], states(2)[j]])
        for i, j in itertools.product(range(4), repeat=2)
        for _ in range(counts[i, j])
    ]
    objective = stochastic_approximation(centre=False, chains=2, binarise="none")
    state = {"net": {}, "obj": {"chains": jnp.asarray(np.array(rows)), "key": KEY, "step": 0}}

    def loss(params):
        return objective.loss(network, {"net": params, "obj": {}}, state, batch, KEY)[0]

    def bound(params):
        log_z = jax.nn.logsumexp(jnp.stack([-e for e in _all_energies(params, sizes)]))
        return network.apply(params, {}, batch["image"])[0]["free_energy_bound"].mean() + log_z

    found, exact = jax.jit(jax.grad(loss))(params), jax.jit(jax.grad(bound))(params)
    for actual, expected in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(actual, expected, atol=5e-3)


def _all_energies(params, sizes):
    from jaxmed.generative.energy._deep_boltzmann import energy

    combined = list(itertools.product(*[states(size) for size in sizes]))
    layers = [jnp.asarray(np.array([state[i] for state in combined])) for i in range(len(sizes))]
    return energy(params, layers)


def test_greedy_layers_are_learners_on_what_those_below_see():
    batches = jm.data.batches({"image": IMAGES}, 3, seed=0)
    objective = contrastive_divergence(chains=4)
    learners = [jm.learner(rbm(n), objective, optax.sgd(0.1)) for n in (4, 2)]
    first, second = fit_layers(learners, batches, epochs=(2, 1), seed=1, progress=False)
    assert first.step == 4
    assert second.step == 2
    lower = first.state.params["net"]
    seen = rbm(4).apply(lower, {}, IMAGES)[0]["features"]
    upper = above(learners[1], [(learners[0], first.state)])
    found = upper.predict(second.state, IMAGES)["features"]
    expected = rbm(2).apply(second.state.params["net"], {}, seen)[0]["features"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    params = from_rbms([lower, second.state.params["net"]])
    np.testing.assert_allclose(
        belief_network((4, 2)).apply(params, {}, IMAGES)[0]["features"], expected, rtol=1e-5
    )


@pytest.mark.slow
def test_layers_go_on_where_they_were(tmp_path):
    batches = jm.data.batches({"image": IMAGES}, 3, seed=0)
    objective = contrastive_divergence(chains=4)
    learners = [jm.learner(rbm(n), objective, optax.sgd(0.1)) for n in (4, 2)]
    options = {"seed": 1, "progress": False}
    whole = fit_layers(learners, batches, epochs=(2, 3), **options)
    begun = fit_layers(learners, batches, epochs=(2, 1), out=tmp_path, **options)
    assert begun[1].step == 2
    found = fit_layers(learners, batches, epochs=(2, 3), out=tmp_path, **options)
    assert found[1].step == whole[1].step == 6
    for one, other in zip(found, whole, strict=True):
        for a, b in zip(jax.tree.leaves(one.state.params), jax.tree.leaves(other.state.params)):
            np.testing.assert_array_equal(a, b)


def test_images_are_drawn_from_the_top_downwards():
    """Their mean is that of the enumerated network."""
    lower, top = restricted(2, 3, 1), restricted(3, 2, 2)
    params = from_rbms([lower, top])
    h, g = states(3), states(2)
    weight = (h @ top["visible_bias"])[:, None] + g @ top["hidden_bias"] + h @ top["kernel"] @ g.T
    share = np.exp(logsumexp(weight, axis=1) - logsumexp(weight))
    expected = share @ expit(lower["visible_bias"] + h @ lower["kernel"].T)
    drawn = np.asarray(generate(KEY, params, 4000, steps=30))
    assert (np.abs(drawn.mean(0) - expected) < 5 * drawn.std(0) / 4000**0.5).all()


def test_wake_sleep_learns_each_way_from_what_the_other_draws():
    """Expectations over all states of what is drawn awake, and of what is dreamt."""
    lower, top, n = restricted(2, 3, 1), restricted(3, 2, 2), 6000
    params = from_rbms([lower, top])
    params["up"]["0"] = {"kernel": lower["kernel"] + 1, "bias": lower["hidden_bias"] - 1}
    image, h, g = np.float32([1.0, 0.0]), states(3), states(2)
    batch = {"image": np.tile(image, (n, 1))}

    def loss(params):
        whole = {"net": params, "obj": {}}, {"net": {}, "obj": {}}
        return wake_sleep().loss(belief_network((3, 2)), *whole, batch, KEY)[0]

    found = jax.jit(jax.grad(loss))(params)
    up, down = params["up"]["0"], params["down"]["0"]
    seen = expit(up["bias"] + image @ up["kernel"])
    awake = np.prod(np.where(h == 1, seen, 1 - seen), axis=1)
    slope = expit(down["bias"] + h @ down["kernel"]) - image
    np.testing.assert_allclose(found["down"]["0"]["bias"], awake @ slope, atol=0.04)
    kernel = np.einsum("s,si,sj->ij", awake, h, slope)
    np.testing.assert_allclose(found["down"]["0"]["kernel"], kernel, atol=0.04)

    joint = np.exp(
        (h @ top["visible_bias"])[:, None] + g @ top["hidden_bias"] + h @ top["kernel"] @ g.T
    )
    step = (joint / joint.sum(1, keepdims=True)) @ (joint / joint.sum(0, keepdims=True)).T
    dreamt, v = awake @ step, states(2)
    drawn = expit(down["bias"] + h @ down["kernel"])
    pixels = np.prod(np.where(v[None] == 1, drawn[:, None], 1 - drawn[:, None]), axis=2)
    both = dreamt[:, None] * pixels  # of hidden states and images
    slope = expit(up["bias"] + v @ up["kernel"])[None] - h[:, None]
    expected = np.einsum("sv,svj->j", both, slope)
    np.testing.assert_allclose(found["up"]["0"]["bias"], expected, atol=0.04)
    kernel = np.einsum("sv,vi,svj->ij", both, v, slope)
    np.testing.assert_allclose(found["up"]["0"]["kernel"], kernel, atol=0.04)
    # The top's: of the free energies there.
    np.testing.assert_allclose(found["top"]["visible_bias"], (dreamt - awake) @ h, atol=0.04)


def test_gaussian_pixels_lie_below_binary_units():
    lower, top = restricted(3, 4, 1), restricted(4, 2, 2)
    lower["visible_log_scale"] = np.float32([0.3, -0.2, 0.1])
    params = from_rbms([lower, top])
    v = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    ends, _ = belief_network((4, 2), visible="gaussian").apply(params, {}, v)
    expected, _ = rbm(4, visible="gaussian").apply(lower, {}, v)
    np.testing.assert_allclose(ends["layers"][0], expected["features"], rtol=1e-5)

    # Recognition that is certain of a state: what it costs to give the pixels back from there.
    state = np.float32([1, 0, 1, 1])
    params["up"]["0"] = {"kernel": 0 * lower["kernel"], "bias": 100 * (state - 0.5)}
    whole = {"net": params, "obj": {}}, {"net": {}, "obj": {}}
    _, (_, metrics) = wake_sleep().loss(belief_network((4, 2)), *whole, {"image": v}, KEY)
    sigma = np.exp(lower["visible_log_scale"])
    mean = lower["visible_bias"] + lower["kernel"] @ state
    expected = -norm.logpdf(v, mean, sigma).sum(1).mean()
    assert float(metrics["wake"]) == pytest.approx(expected, rel=1e-5)
    # Drawn pixels are means, one for each of the lowest layer's states.
    drawn = np.asarray(generate(KEY, params, 50, steps=2))
    means = lower["visible_bias"] + states(4) @ lower["kernel"].T
    assert (np.abs(drawn[:, None] - means).max(-1).min(-1) < 1e-5).all()


@pytest.mark.parametrize("kind", ["belief", "boltzmann"])
def test_they_are_tuned_by_plain_supervised_learning(kind):
    network = belief_network((4, 2)) if kind == "belief" else deep_boltzmann((4, 2))
    start, _ = network.init(KEY, IMAGES)
    run = jm.learner(
        jm.with_heads(pretrained(network, start), {"label": nn.Dense(2)}),
        jm.supervised(jm.losses.cross_entropy, output="label"),
        optax.adam(0.05),
    )
    batch = {"image": IMAGES, "label": IMAGES[:, 0, 0].astype(np.int32)}
    state, step = run.init(KEY, batch), jax.jit(run.step)
    for _ in range(80):
        state, metrics = step(state, batch)
    assert float(metrics["loss"]) < 0.2
    trunk = state.params["net"]["trunk"]
    moved = trunk["up"]["0"] if kind == "belief" else trunk["kernels"]
    first = start["up"]["0"] if kind == "belief" else start["kernels"]
    assert all((a != b).any() for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(first)))


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="layers of at least one unit"):
        belief_network(())
    with pytest.raises(ValueError, match="layers of at least one unit"):
        deep_boltzmann((3, 0))
    with pytest.raises(ValueError, match="layer 1 has 5 pixels, the one below it 4"):
        from_rbms([restricted(3, 4, 0), restricted(5, 2, 0)])
    with pytest.raises(ValueError, match="'kernels' and 'biases'"):
        as_rbm(restricted(3, 4, 0))
    with pytest.raises(ValueError, match="2 layers need as many epochs, got 3"):
        fit_layers([None, None], None, epochs=(1, 2, 3))  # pyright: ignore
    with pytest.raises(ValueError, match="needs a belief_network's parameters"):
        wake_sleep().loss(
            rbm(2), {"net": restricted(3, 2, 0), "obj": {}}, {}, {"image": IMAGES}, KEY
        )
    with pytest.raises(ValueError, match="the machine has 3 pixels, not 4"):
        deep_boltzmann(SIZES[1:]).apply(deep(), {}, jnp.ones((2, 4)))


@pytest.mark.parametrize(
    "network",
    [rbm(3, visible="gaussian"), belief_network((4, 2)), deep_boltzmann((4, 2), mean_field=3)],
)
def test_they_can_be_written_down_as_data(network):
    made = build(describe(network))
    params, state = network.init(KEY, IMAGES)
    found, expected = (one.apply(params, state, IMAGES)[0] for one in (made, network))
    np.testing.assert_array_equal(found["features"], expected["features"])


@pytest.mark.parametrize("centre", [True, False])
def test_no_slope_goes_back_through_the_mean_field_where_none_is_asked_for(centre):
    """A penalty of weight 0 would: it is no number that a compiler may leave out."""
    network, batch = deep_boltzmann((4, 3), mean_field=3), {"image": jnp.asarray(IMAGES)}

    def backwards(sparsity):
        objective = stochastic_approximation(chains=5, centre=centre, sparsity=sparsity)
        run = jm.learner(network, objective, optax.sgd(0.1))
        state = run.init(KEY, batch)
        return str(jax.make_jaxpr(run.step)(state, batch)).count("reverse=True")

    assert backwards(0.0) == 0
    assert backwards(0.1) > 0
