"""Bags of instances: poolings against NumPy, and what padding and order may not change."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from rows import quick_key

import jaxmed as jm
from jaxmed.core import from_functions
from jaxmed.networks.bags._pooling import pool
from jaxmed.paradigms.bags._multiple_instance import POOLINGS
from jaxmed.testing import check_learner, check_network, check_objective

BAG = jm.paradigms.BAG
SIZES = np.array([5, 1, 3, 2, 4, 5, 2, 3])
IDENTITY = from_functions(lambda key, x: {}, lambda params, x: {"features": x})
CLASSIFY = jm.supervised(jm.losses.cross_entropy, inputs=BAG)


def make_bags(instance=(4,), bags: int = 8, instances: int = 5, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "image": jnp.asarray(rng.normal(size=(bags, instances, *instance)), jnp.float32),
        "bag_mask": jnp.arange(instances) < SIZES[:bags, None],
        "label": jnp.asarray(rng.integers(0, 3, bags)),
        "weight": jnp.ones(bags).at[-1].set(0.0),
    }


def given(batch: dict) -> dict:
    return {name: batch[name] for name in BAG}


def softmax(x, axis=0):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def dense(layer, x):
    return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


# Each pooling as NumPy writes it for one bag without padding: (parameters, (n, f)) -> logits.


def by_hand_simple(kind):
    def logits(p, h):
        scores = dense(p["head"], h)
        if kind == "max":
            return scores.max(0)
        return scores.mean(0) if kind == "mean" else np.log(np.exp(2.0 * scores).mean(0)) / 2.0

    return logits


def by_hand_attention(p, h):
    gate = np.tanh(dense(p["attention_v"], h))
    if "attention_u" in p:
        gate = gate / (1 + np.exp(-dense(p["attention_u"], h)))
    return softmax(dense(p["attention_w"], gate)[:, 0])


def by_hand_additive(p, h):
    scaled = by_hand_attention(p, h)[:, None] * h
    return dense(p["score"], np.maximum(dense(p["score_hidden"], scaled), 0)).sum(0)


def by_hand_dual_stream(p, h):
    scores = dense(p["instance"], h)
    q = np.tanh(dense(p["query"], np.maximum(dense(p["query_hidden"], h), 0)))
    v = dense(p["value"], h)
    bags = []
    for c in range(scores.shape[1]):
        a = softmax(q @ q[scores[:, c].argmax()] / np.sqrt(q.shape[1]))
        bags.append(a @ v)
    return (scores.max(0) + dense(p["head"], np.concatenate(bags))) / 2


def by_hand_transformer(p, h):
    def norm(layer, x):
        m, v = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - m) / np.sqrt(v + 1e-6) * np.asarray(layer["scale"]) + np.asarray(layer["bias"])

    gelu = lambda x: np.asarray(nn.gelu(jnp.asarray(x)))  # noqa: E731
    x = np.concatenate([np.asarray(p["token"])[None], dense(p["embed"], h)])
    for name in ("block1", "block2"):
        q, k, v = np.split(dense(p[f"{name}_qkv"], norm(p[f"{name}_norm1"], x)), 3, axis=1)
        heads = [
            softmax(q[:, s] @ k[:, s].T / np.sqrt(4), 1) @ v[:, s] for s in (slice(4), slice(4, 8))
        ]
        x = x + dense(p[f"{name}_out"], np.concatenate(heads, 1))
        y = dense(p[f"{name}_mlp1"], norm(p[f"{name}_norm2"], x))
        x = x + dense(p[f"{name}_mlp2"], gelu(y))
    return dense(p["head"], norm(p["norm"], x)[0])


BY_HAND = {
    "additive": by_hand_additive,
    "attention": lambda p, h: dense(p["head"], by_hand_attention(p, h) @ h),
    "dual_stream": by_hand_dual_stream,
    "gated_attention": lambda p, h: dense(p["head"], by_hand_attention(p, h) @ h),
    "lse": by_hand_simple("lse"),
    "max": by_hand_simple("max"),
    "mean": by_hand_simple("mean"),
    "transformer": by_hand_transformer,
}
OPTIONS = {
    "lse": {"sharpness": 2.0},
    "transformer": {"width": 8, "heads": 2},
    "max": {},
    "mean": {},
}


def make(pooling: str, trunk=IDENTITY):
    return jm.multiple_instance(trunk, pooling, classes=3, **OPTIONS.get(pooling, {"hidden": 6}))


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_a_pooling_is_its_formula_and_blind_to_padding_and_order(pooling):
    network, batch = make(pooling), make_bags()
    params, state = network.init(quick_key(1), given(batch))
    run = jax.jit(lambda inputs: network.apply(params, state, inputs)[0])
    endpoints = run(given(batch))
    images = np.asarray(batch["image"])
    by_hand = [BY_HAND[pooling](params["pooling"], images[i, :n]) for i, n in enumerate(SIZES)]
    np.testing.assert_allclose(endpoints["logits"], by_hand, rtol=2e-4, atol=2e-5)

    # Padding may hold anything, and there may be any amount of it.
    mask = np.asarray(batch["bag_mask"])
    poisoned = np.where(mask[..., None], images, np.nan)
    same = run({"image": jnp.asarray(poisoned), "bag_mask": batch["bag_mask"]})
    np.testing.assert_array_equal(same["logits"], endpoints["logits"])
    wider = np.concatenate([poisoned, np.full_like(poisoned, np.inf)], axis=1)
    wider_mask = np.concatenate([mask, np.zeros_like(mask)], axis=1)
    wide = run({"image": jnp.asarray(wider), "bag_mask": jnp.asarray(wider_mask)})
    np.testing.assert_allclose(wide["logits"], endpoints["logits"], rtol=1e-5, atol=1e-6)

    order = np.random.default_rng(2).permutation(5)
    shuffled = run(jax.tree.map(lambda x: x[:, order], given(batch)))
    np.testing.assert_allclose(shuffled["logits"], endpoints["logits"], rtol=1e-4, atol=1e-5)
    for name in {"attention", "instance_logits"} & set(endpoints):
        np.testing.assert_allclose(
            shuffled[name], endpoints[name][:, order], rtol=1e-4, atol=1e-5, err_msg=name
        )
        assert not np.asarray(endpoints[name])[~mask].any()
    if "attention" in endpoints:
        np.testing.assert_allclose(endpoints["attention"].sum(1), 1.0, rtol=1e-5)


def test_an_additive_pooling_is_the_sum_of_its_instances():
    network, batch = make("additive"), make_bags()
    endpoints, _ = network.apply(*network.init(quick_key(), given(batch)), given(batch))
    np.testing.assert_allclose(endpoints["instance_logits"].sum(1), endpoints["logits"], rtol=1e-5)


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_an_empty_bag_gives_finite_values_and_gradients(pooling):
    network, batch = make(pooling), make_bags(bags=2)
    inputs = {"image": batch["image"] * jnp.nan, "bag_mask": jnp.zeros((2, 5), bool)}
    params, state = network.init(quick_key(), given(batch))

    def total(params):
        return sum(x.sum() for x in jax.tree.leaves(network.apply(params, state, inputs)[0]))

    value, gradient = jax.jit(jax.value_and_grad(total))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


class Patches(nn.Module):
    """A trunk for instances that are images, of any rank."""

    batch_norm: bool = False

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = nn.relu(nn.Conv(4, (3,) * (x.ndim - 2))(x))
        if self.batch_norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.3, deterministic=not train)(x)
        return {"features": x.mean(tuple(range(1, x.ndim - 1)))}


class PatchesNNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        return {"features": nnx.relu(self.norm(self.conv(x))).mean((1, 2))}


TRUNKS = {
    "2D": (lambda: jm.from_linen(Patches()), (4, 4, 1)),
    "3D with BatchNorm": (lambda: jm.from_linen(Patches(batch_norm=True)), (3, 3, 3, 1)),
    "NNX": (lambda: jm.from_nnx(PatchesNNX), (4, 4, 1)),
}


@pytest.mark.parametrize(
    "trunk",
    ["3D with BatchNorm", *(pytest.param(t, marks=pytest.mark.slow) for t in ("2D", "NNX"))],
)
def test_networks_on_bags_keep_the_laws(trunk):
    make_trunk, instance = TRUNKS[trunk]
    network = make("gated_attention", make_trunk())
    check_network(network, given(make_bags(instance)))


@pytest.mark.slow
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_learning_from_bags_keeps_the_laws_and_is_the_same_on_eight_devices(pooling):
    network, batch = make(pooling, TRUNKS["2D"][0]()), make_bags((4, 4, 1))
    held = check_objective(CLASSIFY, network, batch, inputs=BAG)
    assert "rows of weight 0 do not count" in held
    run = jm.learner(network, CLASSIFY, optax.sgd(0.1), inputs=BAG)
    assert "several devices equal one" in check_learner(run, batch, inputs=BAG)


@pytest.mark.parametrize(
    "make_objective",
    [
        lambda view: jm.mean_teacher(CLASSIFY, student_view=view),
        lambda view: jm.paradigms.pi_model(CLASSIFY, view=view),
    ],
)
def test_padding_of_unlabelled_bags_is_no_instance(make_objective):
    network = jm.multiple_instance(jm.from_linen(jm.networks.mlp(hidden=(4,))), "mean", classes=3)
    batch = make_bags((5,))
    mask = batch["bag_mask"][::-1]

    def view(key, shown):
        return {"image": shown["image"] + jax.random.normal(key, shown["image"].shape)}

    objective = make_objective(view)

    @jax.jit
    def consistency(unlabelled):
        full = {**batch, "unlabelled": unlabelled}
        key = quick_key()
        params, state = network.init(key, given(batch))
        own, kept = objective.init(key, network, params, state, full)
        moved = jax.tree.map(lambda leaf: leaf + 1.0, params)  # lest the teacher be the student
        whole = {"net": moved, "obj": own}, {"net": state, "obj": kept}
        return objective.loss(network, *whole, full, key)[1][1]["consistency"]

    image = batch["image"][::-1]
    other = jnp.where(mask[..., None] > 0, image, 77.0)
    found = consistency({"image": image, "bag_mask": mask})
    np.testing.assert_array_equal(consistency({"image": other, "bag_mask": mask}), found)
    assert consistency({"image": other, "bag_mask": jnp.ones_like(mask)}) != found
    with pytest.raises(ValueError, match="'unlabelled' has the shape"):
        consistency(image)


@pytest.mark.slow
def test_bags_stack_with_other_paradigms():
    network = jm.with_heads(
        jm.multiple_instance(TRUNKS["2D"][0](), "attention", hidden=4), {"logits": nn.Dense(3)}
    )
    batch = make_bags((4, 4, 1))
    batch["unlabelled"] = {name: batch[name][:, ::-1] for name in BAG}
    objective = jm.mean_teacher(CLASSIFY)
    several = jm.ensemble(jm.learner(network, objective, optax.sgd(0.1), inputs=BAG), 2)
    state, metrics = jax.jit(several.step)(several.init(quick_key(), batch), batch)
    assert np.isfinite(metrics["loss"])
    assert several.predict(state, given(batch))["logits"].shape == (2, 8, 3)


def test_of_equal_instances_one_has_the_whole_gradient_of_the_maximum():
    values = jnp.array([[[2.0], [2.0], [1.0], [9.0]]])
    mask = jnp.array([[True, True, True, False]])
    slope = jax.grad(lambda values: pool(values, mask, "max").sum())(values)
    np.testing.assert_array_equal(slope[0, :, 0], [1, 0, 0, 0])
    assert float(pool(values, mask, "max")[0, 0]) == 2


@pytest.mark.slow
def test_the_instance_that_decides_is_found():
    """A bag is positive if an instance's first feature is large; attention must say which."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 6, 3)).astype(np.float32)
    label = np.arange(64) % 2
    where = rng.integers(0, 6, 64)
    images[np.arange(64), where, 0] = np.where(label, 4.0, images[np.arange(64), where, 0])
    batch = {"image": jnp.asarray(images), "label": jnp.asarray(label)}
    trunk = jm.from_linen(jm.networks.mlp(hidden=(8,)))
    network = jm.multiple_instance(trunk, "gated_attention", classes=2, hidden=8)
    run = jm.learner(network, jm.supervised(jm.losses.cross_entropy), optax.adam(1e-2))
    state, step = run.init(quick_key(), batch), jax.jit(run.step)
    for _ in range(150):
        state, _ = step(state, batch)
    endpoints = run.predict(state, batch["image"])
    assert (endpoints["logits"].argmax(1) == label).mean() > 0.95
    positive = label == 1
    assert (endpoints["attention"].argmax(1) == where)[positive].mean() > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jm.multiple_instance(IDENTITY, "median"), r"unknown pooling 'median'.*attention"),
        (lambda: jm.multiple_instance(IDENTITY, "additive"), "give classes="),
        (lambda: jm.multiple_instance(IDENTITY, nn.Dense(2), classes=2), "one's own"),
        (lambda: run_on((8, 5, 4), (8, 4)), r"bag_mask must have the shape .*\(8, 5\)"),
        (lambda: run_on((8, 0, 4), (8, 0)), r"at least one instance, got \(8, 0, 4\)"),
        (lambda: run_on((8, 5), (8, 5)), r"\(bags, instances, \*instance\)"),
        (lambda: run_on((8, 5, 4, 4), (8, 5)), r"one vector per instance.*\(40, 4, 4\)"),
    ],
)
def test_what_is_no_bag_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def run_on(image, mask):
    inputs = {"image": jnp.zeros(image), "bag_mask": jnp.ones(mask)}
    make("mean").init(quick_key(), inputs)


def test_batches_of_ragged_bags_make_few_programs_and_predictions_in_order(tmp_path):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, 30)
    bags = [
        {"image": rng.normal(size=(n, 4)).astype(np.float32), "label": i % 3}
        for i, n in enumerate(sizes)
    ]
    batches = jm.data.bag_batches(bags, 4, buckets=(8, 40), seed=1)
    network = make("mean")
    run = jm.learner(network, CLASSIFY, optax.sgd(0.1), inputs=BAG)
    state = run.init(quick_key(), batches[0])
    traces = []
    step = jax.jit(lambda state, batch: (traces.append(1), run.step(state, batch))[1])
    for at in range(len(batches)):
        state, _ = step(state, batches[at])
    assert len(traces) <= 2
    params = state.params["net"]["pooling"]
    expected = [by_hand_simple("mean")(params, bag["image"]) for bag in bags]
    in_order = jm.data.bag_batches(bags, 4, shuffle=False)
    logits = jm.train.predict(run, state, in_order, inputs=BAG)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
