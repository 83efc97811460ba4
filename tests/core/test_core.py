"""Networks from Linen, NNX and functions; random streams; tree tools; the learner's step."""

from __future__ import annotations

import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxmed as jm
from jaxmed.core import (
    flatten_paths,
    label_paths,
    path_mask,
    share_passes,
    stream,
    transplant,
    unflatten_paths,
    weighted_mean,
)
from jaxmed.core._inputs import warn_if_channels_first
from jaxmed.testing import check_learner, check_network

IMAGE = jax.random.normal(jax.random.key(7), (8, 6, 6, 2))
KEY = jax.random.key(0)


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return {"features": x.mean((1, 2)), "logits": nn.Dense(3)(x.mean((1, 2)))}


class DeterministicNet(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic: bool):
        return nn.Dropout(0.5, deterministic=deterministic)(nn.Dense(3)(x.mean((1, 2))))


class NNXNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.first = nnx.Dropout(0.5, rngs=rngs)
        self.second = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        x = self.second(self.first(self.norm(self.conv(x))))
        return self.head(x.mean((1, 2)))


NETWORKS = {
    "linen": lambda: jm.from_linen(LinenNet()),
    "linen told deterministic": lambda: jm.from_linen(DeterministicNet()),
    "nnx": lambda: jm.from_nnx(NNXNet),
    "functions": lambda: jm.from_functions(
        lambda key, x: {"w": jax.random.normal(key, (x.shape[-1], 3))},
        lambda params, x: x.mean((1, 2)) @ params["w"],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_the_laws(name):
    check_network(NETWORKS[name](), IMAGE)


@pytest.mark.parametrize("name", ["linen", "nnx"])
def test_training_updates_running_statistics_and_drops_units(name):
    network = NETWORKS[name]()
    params, state = network.init(KEY, IMAGE)
    one, after = network.apply(params, state, IMAGE, key=stream(KEY, 1), train=True)
    two, _ = network.apply(params, state, IMAGE, key=stream(KEY, 2), train=True)
    assert not np.allclose(one["logits"], two["logits"])
    moved = jax.tree.map(lambda a, b: not np.allclose(a, b), _floats(state), _floats(after))
    assert any(jax.tree.leaves(moved))


def _floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def test_nnx_layers_of_dropout_draw_apart():
    class Two(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return {"first": self.first(x), "second": self.second(x)}

    network = jm.from_nnx(Two)
    params, state = network.init(KEY, jnp.ones((1, 64)))
    endpoints, _ = network.apply(params, state, jnp.ones((1, 64)), key=KEY, train=True)
    assert not np.array_equal(endpoints["first"], endpoints["second"])


def test_networks_refuse_what_is_not_one():
    with pytest.raises(TypeError, match=r"nnx\.Module"):
        jm.from_nnx(lambda rngs: 3)
    with pytest.raises(ValueError, match="mode must be"):
        jm.from_linen(LinenNet(), mode="evaluation")


def test_streams_depend_on_names_alone():
    assert stream(KEY, "a") != stream(KEY, "b")
    assert stream(KEY, "a", 3) == stream(stream(KEY, "a"), 3)
    # Pinned: the stream of a name must not change between versions or processes.
    assert jax.random.key_data(stream(KEY, "dropout")).tolist() == PINNED
    assert jax.jit(lambda step: stream(KEY, step))(jnp.int32(4)) == stream(KEY, 4)


PINNED = [3816102375, 3615500909]


@pytest.mark.parametrize("bad", [1.5, True, None])
def test_a_stream_is_named_by_a_string_or_an_integer(bad):
    with pytest.raises(TypeError, match="string or an integer"):
        stream(KEY, bad)


def test_streams_need_a_typed_key():
    with pytest.raises(TypeError, match=r"jax\.random\.key\(seed\)"):
        stream(jax.random.PRNGKey(0), "a")


def test_passes_are_not_shared_between_traces_or_modes():
    calls = []

    def apply(params, state, inputs, *, key=None, train=False):
        calls.append(train)
        return {"logits": inputs * params}, state

    shared = share_passes(jm.core.Network(None, apply))
    image = jnp.ones((2, 3))

    def body(x):
        inside = jax.lax.cond(True, lambda: shared.apply(x, {}, image)[0]["logits"], lambda: image)
        first = shared.apply(x, {}, image)[0]["logits"]
        again = shared.apply(x, {}, image)[0]["logits"]
        training = shared.apply(x, {}, image, train=True)[0]["logits"]
        return inside + first + again + training

    np.testing.assert_allclose(jax.jit(body)(2.0), 8.0)
    assert calls == [False, False, True]  # in the cond, outside it, in training


def test_weighted_mean_ignores_padding_whatever_it_holds():
    values = jnp.array([1.0, 5.0, jnp.nan])
    weight = jnp.array([1.0, 3.0, 0.0])
    assert float(weighted_mean(values, weight)) == 4.0
    assert float(weighted_mean(values, jnp.zeros(3))) == 0.0
    gradient = jax.grad(lambda v: weighted_mean(v, weight))(values)
    np.testing.assert_allclose(gradient, [0.25, 0.75, 0.0])
    with pytest.raises(ValueError, match=r"one value per example"):
        weighted_mean(jnp.ones((3, 2)), None)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        weighted_mean(values, jnp.ones(2))


TREE = {"trunk": {"conv": {"kernel": jnp.ones((3, 4)), "bias": jnp.zeros(4)}}, "head": jnp.ones(2)}


def test_paths_flatten_and_back():
    flat = flatten_paths(TREE)
    assert sorted(flat) == ["head", "trunk/conv/bias", "trunk/conv/kernel"]
    assert jax.tree.structure(unflatten_paths(flat)) == jax.tree.structure(TREE)


def test_labels_partition_the_optimizer():
    labels = label_paths({"^trunk": "frozen"}, default="trained")
    optimizer = optax.partition({"frozen": optax.set_to_zero(), "trained": optax.sgd(1.0)}, labels)
    updates, _ = optimizer.update(TREE, optimizer.init(TREE))
    assert float(jnp.abs(updates["trunk"]["conv"]["kernel"]).sum()) == 0
    np.testing.assert_allclose(updates["head"], -TREE["head"])
    assert path_mask("kernel$")(TREE)["trunk"]["conv"] == {"kernel": True, "bias": False}


def test_transplant_renames_selects_and_keeps_dtypes():
    source = {"encoder": {"conv": {"kernel": np.full((3, 4), 2.0), "bias": np.full(4, 3.0)}}}
    new = transplant(TREE, source, rename={"^encoder": "trunk"}, only="kernel$")
    np.testing.assert_allclose(new["trunk"]["conv"]["kernel"], 2.0)
    np.testing.assert_allclose(new["trunk"]["conv"]["bias"], 0.0)
    assert new["trunk"]["conv"]["kernel"].dtype == jnp.float32


def test_transplant_names_what_does_not_fit():
    wrong = {"head": np.ones(3), "neck": np.ones(1)}
    with pytest.raises(ValueError, match=r"head has the shape \(2,\), not \(3,\).*neck.*not in"):
        transplant(TREE, wrong)
    with pytest.raises(ValueError, match="copied nothing"):
        transplant(TREE, wrong, strict=False)


def test_a_learner_steps_as_plain_gradient_descent():
    network = jm.from_functions(
        lambda key, x: {"w": jnp.zeros((2,))}, lambda params, x: x @ params["w"]
    )
    batch = {"image": jnp.array([[1.0, 2.0], [3.0, -1.0]]), "label": jnp.array([1.0, 2.0])}
    run = jm.learner(network, jm.supervised(jm.losses.mse), optax.sgd(0.1))
    state = run.init(KEY, batch)
    state, metrics = run.step(state, batch)
    x, y = np.asarray(batch["image"]), np.asarray(batch["label"])
    np.testing.assert_allclose(state.params["net"]["w"], 0.1 * 2 * x.T @ y / 2, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], np.mean(y**2), rtol=1e-6)
    assert "several devices equal one" not in check_learner(run, batch)


@pytest.mark.parametrize(
    "given", [LinenNet(), nnx.Linear, lambda x: x], ids=["linen", "nnx", "function"]
)
def test_a_learner_says_how_a_network_is_made(given):
    with pytest.raises(TypeError, match=r"jaxmed\.from_linen"):
        jm.learner(given, jm.supervised(jm.losses.cross_entropy), optax.sgd(0.1))


def test_a_learner_names_the_array_it_misses():
    run = jm.learner(NETWORKS["linen"](), jm.supervised(jm.losses.cross_entropy), optax.sgd(0.1))
    with pytest.raises(KeyError, match=r"batch has no 'image'.*label"):
        run.init(KEY, {"label": jnp.zeros(2)})


def test_an_optimizer_may_look_at_the_loss():
    run = jm.learner(NETWORKS["functions"](), jm.supervised(jm.losses.cross_entropy), optax.lbfgs())
    batch = {"image": IMAGE, "label": jnp.arange(8) % 3}
    state = run.init(KEY, batch)
    step = jax.jit(run.step)
    losses = []
    for _ in range(3):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0]


class Normed(nn.Module):
    """BatchNorm alone, which keeps the moments of its inputs."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(2)(nn.BatchNorm(use_running_average=not train, momentum=0.5)(x))


def test_running_statistics_move_by_the_share_of_real_rows():
    """The one real row of a padded batch has no variance to tell of."""
    objective = jm.supervised(jm.losses.cross_entropy)
    run = jm.learner(jm.from_linen(Normed()), objective, optax.sgd(0.0))
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    label = np.zeros(4, np.int32)
    whole = {"image": rows, "label": label, "weight": np.ones(4, np.float32)}
    state = run.init(jax.random.key(0), whole)
    step = jax.jit(run.step)

    def moments(batch):
        return step(state, batch)[0].state["net"]["batch_stats"]["BatchNorm_0"]

    old = state.state["net"]["batch_stats"]["BatchNorm_0"]
    padded = {**whole, "image": rows[[0, 0, 0, 0]], "weight": np.float32([1, 0, 0, 0])}
    found = moments(padded)
    # A quarter of the way that a full batch goes: (1 - 0.5) / 4.
    np.testing.assert_allclose(found["var"], 0.875 * old["var"], rtol=1e-5)
    np.testing.assert_allclose(found["mean"], 0.125 * rows[0], rtol=1e-5, atol=1e-7)
    full, unweighted = moments(whole), {k: v for k, v in whole.items() if k != "weight"}
    for name, value in moments(unweighted).items():
        np.testing.assert_array_equal(full[name], value)
    np.testing.assert_allclose(full["var"], 0.5 * old["var"] + 0.5 * rows.var(0), rtol=1e-5)
    # A batch of padding alone changes nothing.
    nothing = moments({**whole, "weight": np.zeros(4, np.float32)})
    np.testing.assert_array_equal(nothing["var"], old["var"])


@pytest.mark.parametrize(
    ("shape", "warns"),
    [
        ((2, 3, 16, 16), True),
        ((2, 1, 12, 14, 16), True),
        ((2, 16, 16, 3), False),
        ((2, 3, 16, 1), False),
        ((2, 3, 16), False),
        ((2, 3), False),
    ],
)
def test_images_that_look_channels_first_are_warned_of_once(shape, warns):
    first = [warnings.catch_warnings(record=True) for _ in range(2)]
    seen = []
    for catching in first:
        with catching as caught:
            warnings.simplefilter("always")
            warn_if_channels_first({"image": jax.ShapeDtypeStruct(shape, jnp.float32)})
        seen.append([str(w.message) for w in caught])
    assert [len(found) for found in seen] == [int(warns), 0]
    if warns:
        assert "channels last" in seen[0][0]
        assert str((shape[0], *shape[2:], shape[1])) in seen[0][0]
