"""A trained network on images of another kind: batch statistics and entropy."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import Tiny, make_batch

import jaxmed as jm
from jaxmed.paradigms import batch_statistics, coral, dann, mmd, pretrained, tent
from jaxmed.testing import check_learner


class Shifted(nn.Module):
    """A normalised linear classifier: what a scanner adds and scales, it takes out again."""

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train, epsilon=1e-6)(x)
        return {"logits": nn.Dense(2)(x)}


def trained():
    """A network trained on two blobs, its variables, and the blobs as another scanner has them."""
    rng = np.random.default_rng(0)
    y = jnp.arange(64) % 2
    x = jnp.asarray(rng.normal(size=(64, 3)) + 3.0 * np.asarray(y)[:, None], jnp.float32)
    network = jm.from_linen(Shifted())
    run = jm.learner(network, jm.supervised(jm.losses.cross_entropy), optax.adam(0.1))
    batch = {"image": x, "label": y}
    state, step = run.init(jax.random.key(0), batch), jax.jit(run.step)
    for _ in range(60):
        state, _ = step(state, batch)
    return network, run.predicting.get(state), {"image": 5 * x - 20, "label": y}


def accuracy(network, variables, batch):
    logits = network.apply(variables.params, variables.state, batch["image"])[0]["logits"]
    return float((logits.argmax(-1) == batch["label"]).mean())


def test_batch_statistics_take_out_what_a_scanner_does():
    network, variables, batch = trained()
    assert accuracy(network, variables, batch) < 0.7
    assert accuracy(batch_statistics(network), variables, batch) > 0.95


def test_batch_statistics_are_those_of_training_and_change_no_state():
    network = jm.from_linen(Tiny(norm="batch"))
    x = make_batch((6, 6))["image"]
    params, state = network.init(jax.random.key(0), x)
    found, after = batch_statistics(network).apply(params, state, x)
    expected, _ = network.apply(params, state, x, key=jax.random.key(1), train=True)
    np.testing.assert_array_equal(found["logits"], expected["logits"])
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_a_rate_of_zero_leaves_batch_statistics_alone():
    network, variables, batch = trained()
    run = tent(pretrained(network, *variables), optax.sgd(0.0))
    state, _ = jax.jit(run.step)(run.init(jax.random.key(0), batch), batch)
    bare = batch_statistics(network).apply(*variables, batch["image"])[0]["logits"]
    np.testing.assert_array_equal(run.predict(state, batch["image"])["logits"], bare)


def test_scales_and_biases_alone_learn_and_entropy_falls():
    network, variables, batch = trained()
    run = tent(pretrained(network, *variables), optax.sgd(0.1), keep=None, recover=None)
    state, step = run.init(jax.random.key(0), batch), jax.jit(run.step)
    entropies = []
    for _ in range(10):
        state, metrics = step(state, batch)
        entropies.append(float(metrics["entropy"]))
    assert entropies == sorted(entropies, reverse=True)
    net, begun = state.params["net"], variables.params
    np.testing.assert_array_equal(net["Dense_0"]["kernel"], begun["Dense_0"]["kernel"])
    np.testing.assert_array_equal(net["Dense_0"]["bias"], begun["Dense_0"]["bias"])
    assert (net["BatchNorm_0"]["scale"] != begun["BatchNorm_0"]["scale"]).any()


def test_labels_and_padding_change_nothing():
    network, variables, batch = trained()
    run = tent(pretrained(network, *variables), optax.sgd(0.1), keep=None)
    first, step = run.init(jax.random.key(0), batch), jax.jit(run.step)
    state, metrics = step(first, batch)
    for other in ({"image": batch["image"]}, {**batch, "label": 1 - batch["label"]}):
        again, same = step(first, other)
        jax.tree.map(np.testing.assert_array_equal, again.params, state.params)
        assert same["entropy"] == metrics["entropy"]
    weight = jnp.ones(64).at[:32].set(0.0)
    _, half = step(first, {**batch, "weight": weight})
    logits = run.predict(first, batch["image"])["logits"][32:]
    p = jax.nn.softmax(logits)
    np.testing.assert_allclose(half["entropy"], -(p * jnp.log(p)).sum(-1).mean(), rtol=1e-4)


def test_undecided_images_do_not_count():
    network, variables, batch = trained()
    logits = batch_statistics(network).apply(*variables, batch["image"])[0]["logits"]
    p = jax.nn.softmax(logits)
    entropies = -(p * jnp.log(p + 1e-30)).sum(-1)
    share = float(jnp.median(entropies) / jnp.log(2.0))
    run = tent(pretrained(network, *variables), optax.sgd(0.1), keep=share)
    _, metrics = run.step(run.init(jax.random.key(0), batch), batch)
    counted = entropies[entropies < share * jnp.log(2.0)]
    np.testing.assert_allclose(metrics["kept"], len(counted) / 64, atol=1e-6)
    np.testing.assert_allclose(metrics["entropy"], counted.mean(), rtol=1e-4)


def test_a_collapse_begins_anew():
    network, variables, batch = trained()
    source = pretrained(network, *variables)
    p = jax.nn.softmax(batch_statistics(network).apply(*variables, batch["image"])[0]["logits"])
    begun = float(-(p * jnp.log(p + 1e-30)).sum(-1).mean() / jnp.log(2.0))
    run = tent(source, optax.sgd(1.0, momentum=0.9), keep=None, recover=begun / 2)
    state, step = run.init(jax.random.key(0), batch), jax.jit(run.step)
    recovered = False
    for _ in range(300):
        state, metrics = step(state, batch)
        if metrics["recovered"]:
            recovered = True
            break
    assert recovered
    jax.tree.map(np.testing.assert_array_equal, state.params["net"], variables.params)
    assert all(not leaf.any() for leaf in jax.tree.leaves(state.opt_state))
    after, _ = step(state, batch)
    assert int(after.state["obj"]["since"]) == 1


def test_a_batch_of_padding_says_nothing():
    network, variables, batch = trained()
    run = tent(pretrained(network, *variables), optax.sgd(0.1), recover=1.0)
    first = run.init(jax.random.key(0), batch)
    state, metrics = run.step(first, {**batch, "weight": jnp.zeros(64)})
    assert float(metrics["recovered"]) == 0
    assert int(state.state["obj"]["since"]) == 0


def test_the_laws_hold():
    held = check_learner(
        tent(jm.from_linen(Tiny(norm="group")), optax.sgd(0.1)), make_batch((6, 6))
    )
    assert "a step is compiled once" in held


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keep": 0.0}, "keep is a share"),
        ({"recover": 2.0}, "recover is a share"),
        ({"only": "nothing"}, "no layers that match 'nothing'"),
    ],
)
def test_mistakes_are_told(options, told):
    network = jm.from_linen(Tiny(norm="batch"))
    with pytest.raises(ValueError, match=told):
        tent(network, optax.sgd(0.1), **options).init(jax.random.key(0), make_batch((6, 6)))


def test_one_class_has_no_entropy():
    network, given = jm.from_linen(Tiny(1, norm="group")), make_batch((6, 6))
    plain = jm.supervised(jm.losses.mse, target="value")
    for run in (
        tent(network, optax.sgd(0.1)),
        jm.learner(network, jm.paradigms.entropy_minimisation(plain), optax.sgd(0.1)),
    ):
        state = run.init(jax.random.key(0), given)
        with pytest.raises(ValueError, match="two classes or more"):
            run.step(state, given)


def test_a_network_without_normalisation_is_refused():
    run = tent(jm.from_linen(Tiny()), optax.sgd(0.1))
    with pytest.raises(ValueError, match="no layers with a scale can learn"):
        run.init(jax.random.key(0), make_batch((6, 6)))


def identity(width=3):
    """A network whose features are the images, times a weight that can be learned."""
    return jm.from_functions(
        lambda key, x: {"w": jnp.ones(width), "head": jnp.zeros((width, 2))},
        lambda params, x: {"features": x * params["w"], "logits": x @ params["head"]},
    )


def domains(shift=0.0, scale=1.0, n=32):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 3)) + 2.0 * y[:, None] * [0, 1, 0]
    other = rng.normal(size=(n, 3)) * [scale, 1, 1] + [shift, 0, 0] + y[:, None] * [0, 2, 0]
    return {
        "image": jnp.asarray(x, jnp.float32), "label": jnp.asarray(y),
        "unlabelled": jnp.asarray(other, jnp.float32),
        "weight_unlabelled": jnp.ones(n).at[-4:].set(0.0),
    }  # fmt: skip


def alignment(objective, batch):
    run = jm.learner(identity(), objective, optax.sgd(0.1))
    return run.step(run.init(jax.random.key(0), batch), batch)[1]


def test_distances_of_domains_are_their_formulas():
    batch = domains(shift=1.0, scale=2.0)
    s, t = np.asarray(batch["image"]), np.asarray(batch["unlabelled"])[:-4]
    cost = jm.supervised(jm.losses.cross_entropy)
    covariance = lambda x: np.cov(x.T, bias=True)  # noqa: E731
    expected = np.square(covariance(s) - covariance(t)).sum() / (4 * 9)
    np.testing.assert_allclose(alignment(coral(cost), batch)["alignment"], expected, rtol=1e-4)

    padded = {**batch, "weight_unlabelled": jnp.ones(32)}
    t = np.asarray(batch["unlabelled"])
    both = np.concatenate([s, t])
    squared = ((both[:, None] - both[None]) ** 2).sum(-1)
    kernel = np.mean(
        [np.exp(-squared / (c * np.median(squared))) for c in (0.25, 0.5, 1, 2, 4)], axis=0
    )
    expected = kernel[:32, :32].mean() + kernel[32:, 32:].mean() - 2 * kernel[:32, 32:].mean()
    found = alignment(mmd(cost), padded)["alignment"]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    same = {**padded, "unlabelled": padded["image"]}
    for make in (coral, mmd):
        np.testing.assert_allclose(alignment(make(cost), same)["alignment"], 0, atol=1e-5)


def adapted(objective, batch, steps=250):
    run = jm.learner(identity(), objective, optax.adam(0.02))
    state, step = run.init(jax.random.key(0), batch), jax.jit(run.step)
    _, first = step(state, batch)
    for _ in range(steps):
        state, metrics = step(state, batch)
    return first, metrics, np.abs(np.asarray(state.params["net"]["w"]))


@pytest.mark.parametrize("make", [coral, mmd])
def test_domains_come_nearer(make):
    objective = make(jm.supervised(jm.losses.cross_entropy), weight=1.0)
    first, metrics, w = adapted(objective, domains(shift=2.0, scale=1.5))
    assert metrics["alignment"] < 0.3 * first["alignment"]
    if make is mmd:  # which sees the mean
        assert w[0] < 0.5 * w[1:].min()


def test_a_critic_tells_domains_apart_until_features_hide_them():
    batch, cost = domains(shift=2.0), jm.supervised(jm.losses.cross_entropy)
    _, alone, _ = adapted(dann(cost, weight=0.0), batch)
    _, hidden, _ = adapted(dann(cost, weight=1.0), batch)
    assert hidden["domain_loss"] > alone["domain_loss"] + 0.1


@pytest.mark.slow
def test_a_critic_whose_gradient_is_not_handed_on_changes_no_feature():
    batch = domains(shift=2.0)
    plain = jm.learner(identity(), jm.supervised(jm.losses.cross_entropy), optax.sgd(0.1))
    run = jm.learner(
        identity(), dann(jm.supervised(jm.losses.cross_entropy), weight=0.0), optax.sgd(0.1)
    )
    first, state = plain.init(jax.random.key(0), batch), run.init(jax.random.key(0), batch)
    for _ in range(40):
        first, _ = plain.step(first, batch)
        state, metrics = run.step(state, batch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        first.params["net"], state.params["net"],
    )  # fmt: skip
    assert metrics["domain_accuracy"] > 0.75
    with pytest.raises(ValueError, match="hidden unit"):
        dann(jm.supervised(jm.losses.cross_entropy), hidden=0)
