"""Transfer: where networks begin, what of them stays, and how far the rest may go."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxmed as jm
from jaxmed.core import flatten_paths, stream
from jaxmed.paradigms import adapters, frozen, l2_sp, lora, merge_lora, pretrained
from jaxmed.testing import check_learner, check_network, check_objective

CLASSIFY = jm.supervised(jm.losses.cross_entropy)


class Tiny(nn.Module):
    classes: int = 3

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = nn.Conv(4, (3,) * (x.ndim - 2), name="stem")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm")(x))
        x = nn.Dropout(0.3, deterministic=not train)(x)
        x = x.mean(tuple(range(1, x.ndim - 1)))
        return {"features": x, "logits": nn.Dense(self.classes, name="head")(x)}


class TinyNNX(nnx.Module):
    """Layers in a list: NNX names them by integers."""

    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.List([nnx.Conv(1, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs)])
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        for layer in self.stem:
            x = layer(x)
        x = nnx.relu(x).mean((1, 2))
        return {"features": x, "logits": self.head(x)}


NETWORKS = {
    "2D": (lambda: jm.from_linen(Tiny()), (4, 4)),
    "3D": (lambda: jm.from_linen(Tiny()), (3, 3, 3)),
    "NNX": (lambda: jm.from_nnx(TinyNNX), (4, 4)),
}
WRAPS = {
    "frozen": lambda network: frozen(network, "stem"),
    "lora": lambda network: lora(network, rank=2, learns="^head"),
    "adapters": lambda network: adapters(network, width=2, learns="^head"),
    "frozen lora": lambda network: frozen(lora(network, rank=2), "/a$"),
}


def make_batch(spatial=(4, 4), size: int = 8) -> dict:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(size, *spatial, 1)).astype(np.float32)
    return {"image": jnp.asarray(image), "label": jnp.arange(size) % 3}


def train(network, objective=CLASSIFY, steps: int = 3, optimizer=None, batch=None):
    batch = make_batch() if batch is None else batch
    run = jm.learner(network, objective, optimizer or optax.adamw(0.05, weight_decay=0.1))
    first = run.init(jax.random.key(0), batch)
    state, step = first, jax.jit(run.step)
    for _ in range(steps):
        state, metrics = step(state, batch)
    return run, first, state, metrics


def brief(names, *chosen) -> list:
    return [pytest.param(n, marks=() if n in chosen else pytest.mark.slow) for n in names]


@pytest.mark.parametrize("wrap", brief(WRAPS, "frozen", "lora", "frozen lora"))
@pytest.mark.parametrize("network", brief(NETWORKS, "2D"))
def test_wrapped_networks_keep_the_laws(wrap, network):
    make, spatial = NETWORKS[network]
    check_network(WRAPS[wrap](make()), make_batch(spatial)["image"])


@pytest.mark.parametrize("network", brief(NETWORKS, "2D", "NNX"))
def test_what_is_frozen_stays_and_the_rest_is_as_without(network):
    make, spatial = NETWORKS[network]
    plain, batch = make(), make_batch(spatial)
    _, first, state, _ = train(frozen(plain, "stem"), batch=batch)
    for path, leaf in flatten_paths(first.state["net"]["frozen"]).items():
        np.testing.assert_array_equal(leaf, flatten_paths(state.state["net"]["frozen"])[path])
    for path, leaf in flatten_paths(first.params["net"]).items():
        moved = np.abs(flatten_paths(state.params["net"])[path] - leaf).max()
        assert moved > 0, path
    # An optimizer that leaves the same parameters alone takes the same steps.
    rule = jm.train.freeze(optax.adamw(0.05, weight_decay=0.1), "^net/stem")
    _, _, same, _ = train(plain, batch=batch, optimizer=rule)
    expected = flatten_paths(same.params["net"])
    for path, leaf in flatten_paths(state.params["net"]).items():
        np.testing.assert_allclose(leaf, expected[path], rtol=1e-4, atol=1e-5)


def test_a_frozen_trunk_in_evaluation_keeps_its_statistics():
    trunk = frozen(jm.from_linen(Tiny()), evaluate=True)
    _, first, state, _ = train(jm.with_heads(trunk, {"grade": nn.Dense(3)}), objective=_grade())
    for a, b in zip(jax.tree.leaves(first.state), jax.tree.leaves(state.state)):
        np.testing.assert_array_equal(a, b)
    assert sorted(flatten_paths(state.params["net"])) == ["heads/grade/bias", "heads/grade/kernel"]


def _grade():
    return jm.supervised(jm.losses.cross_entropy, output="grade")


def test_a_pretrained_network_begins_there():
    source = jm.from_linen(Tiny(classes=5))
    batch = make_batch()
    params, state = source.init(jax.random.key(7), batch["image"])
    state = jax.tree.map(lambda x: x + 1, state)
    network = pretrained(jm.from_linen(Tiny()), params, state, only="^(?!head)")
    fresh, _ = jm.from_linen(Tiny()).init(jax.random.key(1), batch["image"])
    begun, begun_state = network.init(jax.random.key(1), batch["image"])
    np.testing.assert_array_equal(begun["stem"]["kernel"], params["stem"]["kernel"])
    np.testing.assert_array_equal(begun["head"]["kernel"], fresh["head"]["kernel"])
    np.testing.assert_array_equal(jax.tree.leaves(begun_state), jax.tree.leaves(state))
    with pytest.raises(ValueError, match=r"head/bias has the shape \(3,\)"):
        pretrained(jm.from_linen(Tiny()), params).init(jax.random.key(0), batch["image"])


@pytest.mark.parametrize("network", brief(NETWORKS, "2D", "NNX"))
def test_lora_is_a_change_of_low_rank(network):
    make, spatial = NETWORKS[network]
    plain, batch = make(), make_batch(spatial)
    adapted = lora(plain, rank=2, learns="head")
    params, state = jax.jit(adapted.init)(jax.random.key(0), batch["image"])
    begin, _ = jax.jit(adapted.apply)(params, state, batch["image"])
    same, _ = jax.jit(plain.apply)(merge_lora(params, state), state["network"], batch["image"])
    np.testing.assert_allclose(begin["logits"], same["logits"], rtol=1e-5)

    _, first, last, _ = train(adapted, batch=batch)
    before = flatten_paths(merge_lora(first.params["net"], first.state["net"]))
    after = flatten_paths(merge_lora(last.params["net"], last.state["net"]))
    assert before.keys() == after.keys()
    for path, leaf in after.items():
        change = np.asarray(leaf - before[path])
        if path.startswith("head"):
            assert np.abs(change).max() > 0
        elif path.endswith("kernel"):
            rank = np.linalg.matrix_rank(change.reshape(-1, change.shape[-1]), tol=1e-5)
            assert rank == min(2, change.size // change.shape[-1])
        else:
            assert not change.any()


def test_alpha_scales_the_change():
    plain, batch = jm.from_linen(Tiny()), make_batch()
    network = lora(plain, rank=2, alpha=6.0)
    params, state = network.init(jax.random.key(0), batch["image"])
    params = jax.tree.map(jnp.ones_like, params)
    found, _ = network.apply(params, state, batch["image"])
    merged = merge_lora(params, state, scale=3.0)
    expected = state["frozen"]["head"]["kernel"] + 3.0 * 2.0  # ones (4, 2) @ ones (2, 3)
    np.testing.assert_allclose(merged["head"]["kernel"], expected, rtol=1e-5)
    same, _ = plain.apply(merged, state["network"], batch["image"])
    np.testing.assert_allclose(found["logits"], same["logits"], rtol=1e-4)


@pytest.mark.parametrize("network", brief(NETWORKS, "NNX"))
def test_adapters_begin_as_nothing_and_learn_alone(network):
    make, spatial = NETWORKS[network]
    plain, batch = make(), make_batch(spatial)
    _, first, last, _ = train(adapters(plain, width=2, learns="^head"), batch=batch)
    params, state = first.params["net"], first.state["net"]
    whole = {**state["frozen"], **params["learns"]}
    key = jax.random.key(2)
    found, after = adapters(plain).apply(params, state, batch["image"], key=key, train=True)
    own = stream(key, "network")
    expected = plain.apply(whole, state["network"], batch["image"], key=own, train=True)
    jax.tree.map(np.testing.assert_array_equal, (found, after["network"]), expected)
    jax.tree.map(np.testing.assert_array_equal, last.state["net"]["frozen"], state["frozen"])
    for path, leaf in flatten_paths(params).items():
        assert np.abs(flatten_paths(last.params["net"])[path] - leaf).max() > 0, path


@pytest.mark.parametrize(
    ("layer", "rank"),
    [
        (nn.Conv(3, (3, 3)), 2),
        pytest.param(nn.Conv(3, (2, 2, 2)), 3, marks=pytest.mark.slow),
        pytest.param(nn.Dense(3), 0, marks=pytest.mark.slow),
    ],
)
def test_an_adapter_is_a_bottleneck_beside_its_layer(layer, rank):
    rng = np.random.default_rng(1)
    image = jnp.asarray(rng.normal(size=(2, *(4, 3, 2)[:rank], 5)), jnp.float32)
    plain = jm.from_linen(layer)
    for activation in (jax.nn.gelu, None):
        network = adapters(plain, width=2, activation=activation)
        params, state = network.init(jax.random.key(0), image)
        params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), params)
        kernel, bias = state["frozen"]["kernel"], jnp.arange(3.0)
        state["frozen"]["bias"] = bias
        y = plain.apply({"kernel": kernel, "bias": 0 * bias}, {}, image)[0]["logits"]
        down, up = (params["adapters"]["kernel"][name] for name in ("down", "up"))
        inner = y @ down["kernel"] + down["bias"]
        inner = inner if activation is None else activation(inner)
        expected = y + inner @ up["kernel"] + up["bias"] + bias
        found, _ = network.apply(params, state, image)
        np.testing.assert_allclose(found["logits"], expected, rtol=1e-4, atol=1e-5)


# How a kernel may come to be multiplied.
PRODUCTS = {
    "standardised": lambda x, w: x @ ((w - w.mean(0)) / w.std()),
    "turned": lambda x, w: jnp.einsum("...i,oi->...o", x, w.T.astype(x.dtype)),
    "twice": lambda x, w: (x @ w) @ w,
    "compiled": lambda x, w: jax.jit(jnp.matmul)(x, w),
    "recomputed": lambda x, w: jax.checkpoint(lambda x, w: jnp.sin(x @ w))(x, w),
}


@pytest.mark.parametrize("product", brief(PRODUCTS, "standardised", "recomputed"))
def test_adapters_find_a_kernel_wherever_it_is_multiplied(product):
    plain = jm.from_functions(
        lambda key, x: {"kernel": jax.random.normal(key, (4, 4))},
        lambda params, x: PRODUCTS[product](x, params["kernel"]),
    )
    network, x = adapters(plain, width=2), jnp.ones((2, 4))
    params, state = network.init(jax.random.key(0), x)

    def total(params):
        return jax.jit(network.apply)(params, state, x)[0]["logits"].sum()

    value, slope = jax.value_and_grad(total)(params)
    np.testing.assert_allclose(value, plain.apply(state["frozen"], {}, x)[0]["logits"].sum(), 1e-5)
    assert (slope["adapters"]["kernel"]["up"]["kernel"] != 0).all()


def test_adapters_do_not_reach_into_loops():
    def apply(params, x):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, params["kernel"])[0]

    looped = jm.from_functions(lambda key, x: {"kernel": jnp.ones((2, 4, 4))}, apply)
    with pytest.raises(ValueError, match=r"finds \['kernel'\].*outside of loops"):
        adapters(looped).init(jax.random.key(0), jnp.ones((2, 4)))


def test_l2_sp_is_the_distance_from_the_start():
    batch = make_batch()
    source, state = jm.from_linen(Tiny()).init(jax.random.key(3), batch["image"])
    network = pretrained(jm.from_linen(Tiny()), source, state)
    objective = l2_sp(CLASSIFY, weight=0.3, rest=0.2)
    own, own_state = objective.init(jax.random.key(0), network, source, state, batch)
    moved = jax.tree.map(lambda x: x + 0.5, source)
    params, states = {"net": moved, "obj": own}, {"net": state, "obj": own_state}
    key = jax.random.key(1)
    plain, _ = CLASSIFY.loss(
        network, {"net": moved, "obj": {}}, {"net": state, "obj": {}}, batch, key
    )
    value, (_, metrics) = objective.loss(network, params, states, batch, key)
    head = flatten_paths(moved["head"]).values()
    count = sum(x.size for x in jax.tree.leaves(source)) - sum(x.size for x in head)
    decay = sum(float(jnp.square(x).sum()) for x in head)
    np.testing.assert_allclose(metrics["distance"], 0.5 * np.sqrt(count), rtol=1e-5)
    expected = plain + 0.15 * 0.25 * count + 0.1 * decay
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_transfer_objectives_keep_the_laws():
    network, batch = lora(jm.from_linen(Tiny()), rank=2, learns="^head"), make_batch()
    check_objective(l2_sp(CLASSIFY, only=""), network, batch)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPS)
def test_transfer_on_eight_devices_equals_one(wrap):
    network = WRAPS[wrap](jm.from_linen(Tiny()))
    run = jm.learner(network, jm.mean_teacher(CLASSIFY, inputs="image"), optax.sgd(0.1))
    assert "several devices equal one" in check_learner(run, make_batch())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: frozen(net, "encoder"), r"no parameter matches 'encoder'.*stem/kernel"),
        (lambda net: lora(net, only="decoder"), "no parameter matches 'decoder'"),
        (lambda net: lora(net, only="stem"), r"finds \['stem/bias'\]"),
        (lambda net: lora(net, learns="tail"), "no parameter matches 'tail'"),
        (lambda net: lora(net, rank=0), "rank"),
        (lambda net: adapters(net, width=0), "width"),
        (lambda net: adapters(net, only="scale$"), r"finds \['norm/scale'\]"),
        (lambda net: adapters(net, learns="tail"), "no parameter matches 'tail'"),
        (lambda net: l2_sp(CLASSIFY, weight=-1), "negative"),
    ],
)
def test_what_matches_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(jm.from_linen(Tiny())).init(jax.random.key(0), make_batch()["image"])
    network, batch = jm.from_linen(Tiny()), make_batch()
    params, state = network.init(jax.random.key(0), batch["image"])
    with pytest.raises(ValueError, match="only='tail'"):
        l2_sp(CLASSIFY, only="tail").init(jax.random.key(0), network, params, state, batch)


def test_a_layer_is_changed_before_its_bias_and_rectifier_in_one_pass_or_one_by_one():
    from jaxmed import ops
    from jaxmed.core import from_functions
    from jaxmed.paradigms.transfer._layers import layers_changed

    rng = np.random.default_rng(0)
    params = {
        "kernel": jnp.asarray(rng.normal(size=(3, 3, 1, 2)), jnp.float32),
        "bias": jnp.asarray(rng.normal(size=2), jnp.float32),
    }
    x = jnp.asarray(rng.normal(size=(1, 5, 5, 1)), jnp.float32)

    def in_one_pass(params, x):
        y = ops.conv(x, params["kernel"], bias=params["bias"], activation="relu")
        return {"logits": y}

    network = from_functions(lambda key, x: params, in_one_pass)
    changed = layers_changed(network, {"kernel"}, lambda path, y: 2 * y)
    found = changed(params, {}, x)[0]["logits"]
    wanted = jax.nn.relu(2 * ops.conv(x, params["kernel"]) + params["bias"])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
