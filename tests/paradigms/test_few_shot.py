"""Few-shot learning: episodes, against NumPy and finite differences."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxmed as jm
from jaxmed.core import from_functions
from jaxmed.paradigms import EPISODE, MASKED_EPISODE, maml, matching, prototype_segmenter
from jaxmed.paradigms import prototypical as proto
from jaxmed.testing import check_learner, check_network, check_objective

WAYS, SHOTS, QUERIES = 3, 2, 2
IDENTITY = from_functions(lambda key, x: {}, lambda params, x: {"features": x})
LEARN = jm.supervised(jm.losses.cross_entropy, target="query_label", inputs=EPISODE)


def make_episodes(image=(5,), episodes: int = 8, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    own = np.arange(WAYS)
    return {
        "support": jnp.asarray(rng.normal(size=(episodes, WAYS * SHOTS, *image)), jnp.float32),
        "support_label": jnp.tile(np.repeat(own, SHOTS), (episodes, 1)),
        "query": jnp.asarray(rng.normal(size=(episodes, WAYS * QUERIES, *image)), jnp.float32),
        "query_label": jnp.tile(np.repeat(own, QUERIES), (episodes, 1)),
        "weight": jnp.ones(episodes).at[-1].set(0.0),
    }


def given(batch, names=EPISODE):
    return {name: batch[name] for name in names}


def run(network, inputs, seed: int = 0):
    params, state = network.init(jax.random.key(seed), inputs)
    return jax.tree.map(np.asarray, network.apply(params, state, inputs)[0])


def cosines(a, b):
    a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    return a @ b.T


def test_prototypes_are_means_and_logits_distances():
    batch = make_episodes()
    found = run(proto(IDENTITY, WAYS, scale=0.5), given(batch))
    turned = run(proto(IDENTITY, WAYS, distance="cosine", scale=10.0), given(batch))
    for e in range(8):
        s, y, q = (np.asarray(batch[name][e]) for name in EPISODE)
        means = np.stack([s[y == k].mean(0) for k in range(WAYS)])
        distances = ((q[:, None] - means) ** 2).sum(-1)
        np.testing.assert_allclose(found["prototypes"][e], means, rtol=1e-5)
        np.testing.assert_allclose(found["logits"][e], -0.5 * distances, rtol=1e-5)
        np.testing.assert_allclose(turned["logits"][e], 10 * cosines(q, means), rtol=1e-4)


def test_matching_is_attention_to_the_support():
    batch = make_episodes()
    found = run(matching(IDENTITY, WAYS, scale=4.0), given(batch))
    for e in range(8):
        s, y, q = (np.asarray(batch[name][e]) for name in EPISODE)
        a = np.exp(4.0 * cosines(q, s))
        a /= a.sum(1, keepdims=True)
        p = np.stack([a[:, y == k].sum(1) for k in range(WAYS)], 1)
        np.testing.assert_allclose(np.exp(found["logits"][e]), p, rtol=1e-4)
        np.testing.assert_allclose(found["attention"][e], a, rtol=1e-4)


@pytest.mark.parametrize("make", [proto, matching])
def test_padding_of_the_support_changes_nothing(make):
    batch = given(make_episodes())
    padded = {
        **batch,
        "support": jnp.pad(batch["support"], ((0, 0), (0, 3), (0, 0)), constant_values=7.0),
        "support_label": jnp.pad(batch["support_label"], ((0, 0), (0, 3)), constant_values=-1),
    }
    network = make(IDENTITY, WAYS)
    np.testing.assert_allclose(
        run(network, padded)["logits"], run(network, batch)["logits"], rtol=1e-4, atol=1e-5
    )


def linear(ways: int = WAYS):
    def init(key, x):
        return {"w": jax.random.normal(key, (x.shape[-1], ways)), "b": jnp.zeros(ways)}

    return from_functions(init, lambda params, x: x @ params["w"] + params["b"])


@pytest.mark.parametrize("strategy", ["unroll", "vmap", "scan"])
def test_maml_takes_gradient_steps_on_the_support(strategy):
    batch = make_episodes()
    network = maml(linear(), one_hot_error, steps=3, rate=0.2, strategy=strategy)
    params, state = network.init(jax.random.key(0), given(batch))
    found, _ = network.apply(params, state, given(batch))
    for e in range(8):
        s, y, q = (np.asarray(batch[name][e], np.float64) for name in EPISODE)
        w, b, target = (
            np.asarray(params["w"], np.float64),
            np.zeros(WAYS),
            np.eye(WAYS)[y.astype(int)],
        )
        for _ in range(3):
            error = 2 * (s @ w + b - target) / target.size
            w, b = w - 0.2 * s.T @ error, b - 0.2 * error.sum(0)
        np.testing.assert_allclose(found["logits"][e], q @ w + b, rtol=1e-3, atol=1e-4)


def one_hot_error(outputs, labels, *, where=None):
    values = jnp.square(outputs - jax.nn.one_hot(labels, WAYS)).mean(1)
    return values if where is None else jnp.where(where, values, 0)


class Small(nn.Module):
    """A convolution of the library's own, of any rank."""

    norm: bool = False

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = jnp.tanh(jm.networks.Conv(3, 3, name="stem")(x))
        if self.norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        features = x.mean(tuple(range(1, x.ndim - 1)))
        return {
            "features": features,
            "pyramid": (x,),
            "logits": nn.Dense(WAYS, name="head")(features),
        }


class SmallNNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.List([nnx.Conv(1, 3, (3, 3), rngs=rngs)])
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.head = nnx.Linear(3, WAYS, rngs=rngs)

    def __call__(self, x):
        features = nnx.tanh(self.stem[0](x)).mean((1, 2))
        return {"features": features, "logits": self.head(self.drop(features))}


@pytest.mark.parametrize(
    ("image", "first_order"),
    [
        ((4, 4, 1), False),
        pytest.param((3, 3, 3, 1), False, marks=pytest.mark.slow),
        ((4, 4, 1), True),
    ],
)
def test_the_meta_gradient_is_of_second_order_through_convolutions(image, first_order):
    batch = make_episodes(image, episodes=2)
    network = maml(
        jm.from_linen(Small()), jm.losses.cross_entropy, steps=2, rate=0.5, first_order=first_order
    )
    params, state = network.init(jax.random.key(0), given(batch))

    @jax.jit
    def value(params):
        logits = network.apply(params, state, given(batch), key=jax.random.key(1), train=True)[0]
        return jm.losses.cross_entropy(logits["logits"], batch["query_label"]).mean()

    slope = jax.jit(jax.grad(value))(params)
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), params)
    move = lambda h: jax.tree.map(lambda p, d: p + h * d, params, direction)  # noqa: E731
    numeric = (value(move(1e-2)) - value(move(-1e-2))) / 2e-2
    pairs = zip(jax.tree.leaves(slope), jax.tree.leaves(direction))
    along = sum(jnp.vdot(g, d) for g, d in pairs)
    if first_order:
        assert abs(along - numeric) > 0.02 * abs(numeric)
    else:
        np.testing.assert_allclose(along, numeric, rtol=5e-3, atol=1e-4)


def test_anil_adapts_the_head_alone():
    batch = make_episodes((4, 4, 1), episodes=2)
    network = maml(jm.from_linen(Small()), jm.losses.cross_entropy, rate=5.0, only="^head")
    params, state = network.init(jax.random.key(0), given(batch))
    adapted, _ = network.apply(params, state, given(batch))
    for e in range(2):
        plain, _ = jm.from_linen(Small()).apply(params, state, batch["query"][e])
        np.testing.assert_allclose(adapted["features"][e], plain["features"], rtol=1e-5)
        assert np.abs(adapted["logits"][e] - plain["logits"]).max() > 1e-3


def test_meta_learning_learns_what_the_tasks_share():
    """Tasks are linear in one feature of twelve, the same in all: it is found from few shots."""
    rng = np.random.default_rng(0)

    def draw(n: int):
        x = rng.normal(size=(n, WAYS * (SHOTS + QUERIES), 12)).astype(np.float32)
        y = np.tile(np.repeat(np.arange(WAYS), SHOTS + QUERIES), (n, 1))
        order = np.stack([rng.permutation(WAYS) for _ in range(n)])
        x[..., 0] = 3.0 * (order[np.arange(n)[:, None], y] - 1) + 0.1 * x[..., 0]
        support = np.tile(np.arange(SHOTS + QUERIES) < SHOTS, WAYS)
        parts = {"support": x[:, support], "support_label": y[:, support]}
        parts |= {"query": x[:, ~support], "query_label": y[:, ~support]}
        return jax.tree.map(jnp.asarray, parts)

    network = proto(jm.from_linen(jm.networks.mlp(hidden=(8,))), WAYS)
    learner = jm.learner(network, LEARN, optax.adam(3e-3), inputs=EPISODE)
    test, first = draw(64), draw(8)
    state, step = learner.init(jax.random.key(0), first), jax.jit(learner.step)
    predict = jax.jit(learner.predict)
    right = lambda s: (predict(s, given(test))["logits"].argmax(-1) == test["query_label"]).mean()  # noqa: E731
    before = right(state)
    for _ in range(150):
        state, _ = step(state, draw(8))
    assert before < 0.8 < 0.95 < right(state)


def test_a_prototype_segmenter_compares_voxels_with_masked_means():
    rng = np.random.default_rng(0)
    pixels = from_functions(lambda key, x: {}, lambda params, x: {"pyramid": (x,)})
    batch = {
        "support": jnp.asarray(rng.normal(size=(2, 2, 4, 4, 3)), jnp.float32),
        "support_mask": jnp.asarray(rng.integers(0, 2, (2, 2, 4, 4))),
        "query": jnp.asarray(rng.normal(size=(2, 1, 4, 4, 3)), jnp.float32),
    }
    found = run(prototype_segmenter(pixels, 2, scale=5.0), batch)
    for e in range(2):
        s, m, q = (np.asarray(batch[name][e]) for name in MASKED_EPISODE)
        means = np.stack([s[m == k].mean(0) for k in range(2)])
        logits = 5 * cosines(q, means)
        np.testing.assert_allclose(found["logits"][e], logits, rtol=1e-4, atol=1e-4)
        guess = logits.argmax(-1)
        back = np.stack([q[guess == k].mean(0) for k in range(2)])
        np.testing.assert_allclose(found["support_logits"][e], 5 * cosines(s, back), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("spatial", [(8, 8), (4, 4, 4)])
def test_few_shot_segmentation_keeps_the_laws(spatial):
    rng = np.random.default_rng(0)
    batch = {
        "support": jnp.asarray(rng.normal(size=(8, 2, *spatial, 1)), jnp.float32),
        "support_mask": jnp.asarray(rng.integers(0, 2, (8, 2, *spatial))),
        "query": jnp.asarray(rng.normal(size=(8, 1, *spatial, 1)), jnp.float32),
        "query_mask": jnp.asarray(rng.integers(0, 2, (8, 1, *spatial))),
    }
    trunk = jm.from_linen(jm.networks.cnn(features=(4, 8), norm="group"))
    network = prototype_segmenter(trunk, 2)
    options = {"inputs": MASKED_EPISODE}
    objective = jm.weighted(
        {
            "query": jm.supervised(jm.losses.cross_entropy, target="query_mask", **options),
            "align": jm.supervised(
                jm.losses.cross_entropy, output="support_logits", target="support_mask", **options
            ),
        }
    )
    check_objective(objective, network, batch, **options)
    found = run(network, given(batch, MASKED_EPISODE))
    assert found["logits"].shape == (8, 1, *spatial, 2)


NETWORKS = {
    "prototypical": lambda trunk: proto(trunk, WAYS),
    "matching": lambda trunk: matching(trunk, WAYS),
    "maml": lambda trunk: maml(trunk, jm.losses.cross_entropy, strategy="vmap"),
}
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "trunk", "image"),
    [
        pytest.param("maml", "linen", (4, 4, 1), marks=SLOW),
        *[pytest.param(n, "linen", (3, 3, 3, 1), marks=SLOW) for n in NETWORKS],
        *[pytest.param(n, "batch_norm", (4, 4, 1), marks=SLOW) for n in ("prototypical", "maml")],
        *[pytest.param(n, "nnx", (4, 4, 1), marks=SLOW) for n in NETWORKS],
    ],
)
def test_few_shot_networks_keep_the_laws(name, trunk, image):
    trunks = {
        "linen": lambda: jm.from_linen(Small()),
        "batch_norm": lambda: jm.from_linen(Small(norm=True)),
        "nnx": lambda: jm.from_nnx(SmallNNX),
    }
    check_network(NETWORKS[name](trunks[trunk]()), given(make_episodes(image, episodes=2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_few_shot_learning_keeps_the_laws_and_is_the_same_on_eight_devices(name):
    network, batch = NETWORKS[name](jm.from_linen(Small())), make_episodes((4, 4, 1))
    learner = jm.learner(network, LEARN, optax.sgd(0.1), inputs=EPISODE)
    assert "several devices equal one" in check_learner(learner, batch, inputs=EPISODE)
    held = check_objective(LEARN, network, batch, inputs=EPISODE)
    assert "rows of weight 0 do not count" in held


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda batch: proto(IDENTITY, 1), "at least two classes"),
        (lambda batch: proto(IDENTITY, 2, distance="manhattan"), "distance must be"),
        (lambda batch: maml(linear(), one_hot_error, steps=0), "steps and rate"),
        (lambda batch: maml(linear(), one_hot_error, strategy="fast"), "strategy 'fast'"),
        (lambda batch: run(maml(linear(), one_hot_error, only="tail"), batch), "matches 'tail'"),
        (
            lambda batch: run(proto(IDENTITY, 3), {**batch, "query": batch["query"][..., 0]}),
            r"must agree but for the number of images",
        ),
        (
            lambda batch: run(proto(IDENTITY, 3), {**batch, "support_label": jnp.zeros((8, 1))}),
            r"support_label must have the shape \(8, 6\), got \(8, 1\)",
        ),
        (lambda batch: prototype_segmenter(IDENTITY, 1), "at least one structure"),
    ],
)
def test_what_is_no_episode_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(given(make_episodes()))
    with pytest.raises(KeyError, match=r"no 'query'.*support_label"):
        run(proto(IDENTITY, 3), given(make_episodes(), EPISODE[:2]))
