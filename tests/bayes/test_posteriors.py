"""The contract, and the posteriors that come of training runs."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxmed as jm
from jaxmed import bayes
from jaxmed.core import from_functions

KEY = jax.random.key(0)


def line(weights):
    """y = w x, with a set of members."""
    net = from_functions(lambda key, x: {"w": jnp.ones(1)}, lambda p, x: x * p["w"])
    return bayes.members(net, {"w": jnp.asarray(weights)[:, None]}, {})


def test_a_set_is_given_whole_in_order_by_default():
    q = line([1.0, 2.0, 3.0])
    assert q.sample(KEY)["w"][:, 0].tolist() == [1, 2, 3]
    assert q.predictive(KEY, jnp.ones((2, 1)))["logits"].shape == (3, 2, 1)


def test_fewer_samples_than_members_are_different_ones_and_more_repeat():
    q = line(np.arange(10.0))
    few = q.sample(KEY, 4)["w"][:, 0].tolist()
    assert len(set(few)) == 4
    assert q.sample(KEY, 25)["w"].shape == (25, 1)
    assert set(q.sample(KEY, 25)["w"][:, 0].tolist()) <= set(range(10))


def test_sample_and_predictive_agree_under_a_key():
    q = line(np.arange(10.0))
    w = q.sample(KEY, 4)["w"][:, 0]
    assert np.allclose(q.predictive(KEY, jnp.ones((1, 1)), 4)["logits"][:, 0, 0], w)


@pytest.mark.parametrize("chunk", [1, 2, 3, 50])
def test_the_chunk_changes_nothing(chunk):
    q = line(np.arange(7.0))
    want = q.predictive(KEY, jnp.ones((2, 1)))["logits"]
    assert jnp.array_equal(q.predictive(KEY, jnp.ones((2, 1)), chunk=chunk)["logits"], want)


def test_predictions_of_many_inputs_do_not_depend_on_the_batch():
    q, x = line([1.0, 2.0]), np.arange(7.0, dtype=np.float32)[:, None]
    one, two = (bayes.predict_samples(q, KEY, x, size=s) for s in (3, 7))
    assert np.array_equal(one, two)
    assert np.array_equal(one[:, :, 0], [x[:, 0], 2 * x[:, 0]])


def test_what_is_drawn_once_for_all_inputs_predicts_the_same():
    net = jm.from_functions(lambda key, x: {}, lambda p, x: p["w"] * x)
    draw = lambda content, key, i: ({"w": jax.random.normal(key)}, {})  # noqa: E731
    each, once = (bayes.make_posterior(net, {}, draw, draw_once=b) for b in (False, True))
    x = np.arange(7.0, dtype=np.float32)[:, None]
    one, two = (bayes.predict_samples(q, KEY, x, 5, size=3) for q in (each, once))
    assert one.shape == (5, 7, 1)
    assert np.allclose(one, two)
    assert (each.draw_once, once.draw_once) == (False, True)


def test_errors_name_what_is_wrong():
    q = line([1.0])
    with pytest.raises(KeyError, match=r"no endpoint 'mask'.*logits"):
        q.predictive(KEY, jnp.ones((1, 1)), outputs=("mask",))
    with pytest.raises(ValueError, match="n must be at least 1"):
        q.sample(KEY, 0)
    with pytest.raises(ValueError, match="leading axis of members"):
        bayes.members(from_functions(None, None), {"a": np.ones(2), "b": np.ones(3)}, {})
    with pytest.raises(ValueError, match="they diverged"):
        bayes.predict_samples(line([1.0, np.nan]), KEY, np.ones((1, 1), np.float32))


def test_a_posterior_made_elsewhere_will_do():
    class Theirs:
        def sample(self, key, n=None):
            return {}

        def predictive(self, key, inputs, n=None, **options):
            assert not set(options) - {"outputs", "chunk"}
            return {"logits": jnp.stack([inputs, 2 * inputs])}

    found = bayes.predict_samples(Theirs(), KEY, np.ones((3, 1), np.float32), size=2)
    assert found[:, :, 0].tolist() == [[1] * 3, [2] * 3]
    joint = bayes.mixture([Theirs(), line([5.0, 5.0])])
    found = joint.predictive(KEY, jnp.ones((1, 1)), 4)["logits"]
    assert sorted(found[:, 0, 0].tolist()) == [1, 2, 5, 5]


class Net(nn.Module):
    """BatchNorm and dropout: what each must and must not do in prediction."""

    rate: float = 0.5

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(16)(x))
        return nn.Dense(2)(nn.Dropout(self.rate, deterministic=not train)(x))


@pytest.fixture(scope="module")
def net():
    network = jm.from_linen(Net())
    x = jax.random.normal(KEY, (8, 4))
    params, state = network.init(KEY, x)
    return network, params, state, x


def test_dropout_draws_while_batchnorm_rests(net):
    network, params, state, x = net
    q = bayes.mc_dropout(network, params, state, x)
    whole = q.predictive(KEY, x, 3)["logits"]
    assert not jnp.allclose(whole[0], whole[1])
    # With batch statistics a row would depend on the rows beside it. Masks are drawn for a batch:
    # the same batch with another last row has the same masks.
    other = x.at[-1].set(100.0)
    assert jnp.allclose(q.predictive(KEY, other, 3)["logits"][:, :-1], whole[:, :-1], atol=1e-6)
    # What is dropped comes before a linear layer: draws are right on average.
    draws = np.asarray(q.predictive(KEY, x, 2000, chunk=500)["logits"])
    still = jax.jit(network.apply)(params, state, x)[0]["logits"]
    errors = draws.std(0) / np.sqrt(2000)
    assert np.abs((draws.mean(0) - still) / errors).max() < 4


def test_dropout_that_is_not_there_is_named(net):
    _, params, state, x = net
    none = jm.from_linen(Net(rate=0.0))
    with pytest.raises(ValueError, match="rate of 0"):
        bayes.mc_dropout(none, params, state, x)
    dense = jm.from_linen(nn.Dense(2))
    with pytest.raises(ValueError, match="no dropout"):
        bayes.mc_dropout(dense, *dense.init(KEY, x), x)


def test_dropout_of_an_nnx_network():
    class Small(nnx.Module):
        def __init__(self, norm, rngs):
            self.dense = nnx.Linear(4, 2, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs) if norm else None

        def __call__(self, x):
            x = x if self.norm is None else self.norm(x)
            return self.dense(self.drop(x))

    x = jnp.ones((2, 4))
    plain = jm.from_nnx(lambda rngs: Small(False, rngs))
    draws = bayes.mc_dropout(plain, *plain.init(KEY, x), x).predictive(KEY, x, 2)["logits"]
    assert not jnp.allclose(draws[0], draws[1])
    normed = jm.from_nnx(lambda rngs: Small(True, rngs))
    with pytest.raises(ValueError, match="running statistics"):
        bayes.mc_dropout(normed, *normed.init(KEY, x), x)


def problem():
    """Three classes in the plane."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 48)
    x = (rng.normal(size=(48, 2)) + 2 * np.stack([np.cos(2 * y), np.sin(2 * y)], 1)).astype("f4")
    return {"image": jnp.asarray(x), "label": jnp.asarray(y)}


def test_an_ensemble_is_its_members():
    batch = problem()
    network = jm.from_linen(nn.Dense(3))
    five = jm.ensemble(
        jm.learner(network, jm.supervised(jm.losses.cross_entropy), optax.sgd(0.1)), 5
    )
    state = jax.jit(five.step)(five.init(KEY, batch), batch)[0]
    q = bayes.ensemble_posterior(network, state)
    want = jax.jit(five.predict)(state, batch["image"])["logits"]
    found = q.predictive(KEY, batch["image"])["logits"]
    assert found.shape == (5, 48, 3)
    assert jnp.allclose(found, want, atol=1e-6)


def test_snapshots_and_swag_of_a_run():
    batch = problem()
    network = jm.from_linen(nn.Dense(3))
    rate = bayes.cyclical_rate(0.5, 4)
    learner = jm.learner(network, jm.supervised(jm.losses.cross_entropy), optax.sgd(rate))
    start = learner.init(KEY, batch)
    last, params, states = bayes.trajectory(learner, start, lambda step: batch, steps=12, every=4)
    assert int(last.step) == 12
    assert params["kernel"].shape == (3, 2, 3)
    assert np.allclose(params["kernel"][-1], last.params["net"]["kernel"])
    assert bayes.members(network, params, states).predictive(KEY, batch["image"])["logits"].shape

    # SWAG's draws have its moments.
    rng = np.random.default_rng(1)
    draws = {"kernel": rng.normal(size=(6, 2, 3)), "bias": rng.normal(size=(6, 3))}
    q = bayes.swag(network, draws, {}, rank=4)
    found = q.sample(KEY, 20_000)
    flat = np.concatenate([found["bias"], found["kernel"].reshape(20_000, -1)], axis=1)
    rows = np.concatenate([draws["bias"], draws["kernel"].reshape(6, -1)], axis=1)
    moments = bayes.swag_moments(rows, rank=4)
    want = np.asarray(moments.covariance())
    assert np.allclose(flat.mean(0), moments.mean, atol=0.05)
    assert np.allclose(np.cov(flat.T), want, atol=0.04 * want.max())
    mean = bayes.swag(network, draws, {}, scale=0.0).sample(KEY, 2)
    assert np.allclose(mean["kernel"], draws["kernel"].mean(0), atol=1e-6)


def test_swag_refreshes_batchnorm(net):
    network, params, state, x = net

    def stack(tree):
        return jax.tree.map(lambda v: jnp.stack([v, v]), tree)

    rows = 3 * x + 7
    q = bayes.swag(network, stack(params), stack(state), scale=0.0, refresh=jnp.stack([rows] * 600))
    found = q.predictive(KEY, rows, 1)["logits"][0]
    apply = jax.jit(network.apply)
    dry = apply(params, state, rows)[0]["logits"]
    assert not np.allclose(found, dry, atol=0.1)
    batch = apply(params, state, rows, key=KEY)[0]["logits"]
    np.testing.assert_allclose(batch, dry, rtol=1e-5, atol=1e-6)
    # Statistics converge to the batch's own, of which the pooled layer's output has mean 0.
    layers, rows = jax.device_get((params, rows))
    hidden = rows @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
    normed = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
    want = normed @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"]
    np.testing.assert_allclose(found, want, atol=0.05)


@pytest.mark.slow
def test_batch_ensemble_of_any_network():
    batch = problem()
    for network in (
        jm.from_linen(jm.networks.mlp(3, hidden=(4,), norm="batch")),
        jm.from_nnx(lambda rngs: nnx.Linear(2, 3, rngs=rngs)),
    ):
        four = bayes.batch_ensemble(network, 4)
        learner = jm.learner(four, jm.supervised(jm.losses.cross_entropy), optax.adam(0.01))
        state, metrics = jax.jit(learner.step)(learner.init(KEY, batch), batch)
        assert np.isfinite(metrics["loss"])
        params, own = state.params["net"], state.state["net"]
        q = bayes.batch_ensemble_posterior(network, params, own)
        each = q.predictive(KEY, batch["image"])["logits"]
        assert each.shape == (4, 48, 3)
        mean = jax.jit(learner.predict)(state, batch["image"])["logits"]
        each = np.asarray(each)
        np.testing.assert_allclose(each.mean(0), mean, atol=1e-5)
        assert not np.allclose(each[0], each[1])


def test_batch_ensemble_rows_keep_their_places():
    network = jm.from_linen(nn.Dense(3))
    x = problem()["image"]
    two = bayes.batch_ensemble(network, 2)
    params, state = two.init(KEY, x)
    train = jax.jit(lambda x: two.apply(params, state, x, key=KEY, train=True)[0]["logits"])
    dealt = np.asarray(train(x))
    posterior = bayes.batch_ensemble_posterior(network, params, state)
    each = np.asarray(posterior.predictive(KEY, x)["logits"])
    np.testing.assert_allclose(dealt[0::2], each[0, 0::2], atol=1e-6)
    np.testing.assert_allclose(dealt[1::2], each[1, 1::2], atol=1e-6)
    with pytest.raises(ValueError, match="cannot be dealt out to 2"):
        train(x[:3])


def test_a_packed_ensemble_costs_one_network_and_its_members_are_alone():
    batch = problem()
    make = lambda width: jm.from_linen(jm.networks.mlp(3, hidden=(width, width), norm="none"))  # noqa: E731
    recipe = jm.supervised(jm.losses.cross_entropy), optax.adam(0.01)
    packed = bayes.packed_ensemble(make, 16, 4, strategy="vmap")
    learner = packed.learner(*recipe)
    state = learner.init(KEY, batch)
    step = jax.jit(learner.step)
    for _ in range(3):
        state, _ = step(state, batch)
    q = packed.posterior(state)
    logits = q.predictive(KEY, batch["image"])["logits"]
    assert logits.shape == (4, 48, 3)
    # A hidden layer has alpha^2 / n = 1 times the single network's weights.
    single = make(16).init(KEY, batch["image"])[0]
    sizes = lambda params: {k: v.size for k, v in jm.core.flatten_paths(params).items()}  # noqa: E731
    hidden = [k for k, v in jm.core.flatten_paths(single).items() if v.shape == (16, 16)]
    assert len(hidden) == 1
    assert sizes(state.params["net"])[hidden[0]] == sizes(single)[hidden[0]]
    # A member is what it is without the others.
    alone = jm.learner(packed.network, *recipe)
    own = alone.init(jm.stream(KEY, "member", 2), batch)
    step = jax.jit(alone.step)
    for _ in range(3):
        own, _ = step(own, batch)
    single = jax.jit(alone.predict)(own, batch["image"])["logits"]
    np.testing.assert_allclose(single, np.asarray(logits)[2], atol=1e-5)
    with pytest.raises(ValueError, match="must be positive"):
        bayes.packed_ensemble(make, 16, 0)
