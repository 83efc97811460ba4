"""Laws of fusion: one modality is itself, order is nothing, what is missing has no influence."""

from __future__ import annotations

from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import networks
from jaxmed.paradigms import fuse, fuse_channels

HOWS = ("concat", "mean", "product", "attention", "film")
ROWS = 4


class Trunk(nn.Module):
    """A vector, a pyramid of two maps and a voxel-wise answer from an image."""

    scale: float = 1.0

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        fine = nn.Dense(3, name="fine")(x) * self.scale
        coarse = fine[:, ::2, ::2]
        return {
            "features": jnp.tanh(coarse.mean((1, 2))),
            "pyramid": (fine, coarse),
            "logits": nn.Dense(2, name="head")(fine),
        }


def made(how: str, names=("a", "b", "c"), **options):
    reads = ("features", "pyramid") if how in ("concat", "film") else "features"
    options = {"reads": reads, **options}
    trunks = {name: Trunk(1.0 + "abc".index(name)) for name in names}
    return fuse(trunks, how, main="a" if how == "film" else None, **options)


def inputs(names=("a", "b", "c"), present=None):
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=(ROWS, 4, 4, 2)).astype(np.float32) for name in "abc"}
    given = {name: given[name] for name in names}
    return given if present is None else {**given, "present": np.asarray(present, np.float32)}


PRESENT = [[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 0, 0]]


@cache
def ready(how: str, names=("a", "b", "c")):
    """A fused network with parameters that are not where they begin, compiled once."""
    network = made(how, names, classes=2)
    given = inputs(names, np.ones((ROWS, len(names))))
    params, state = jax.jit(network.init)(jax.random.key(0), given)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    params = tree.unflatten([x + 0.3 * rng.normal(size=x.shape).astype(np.float32) for x in leaves])

    def total(params, given):
        found, _ = network.apply(params, state, given, train=True)
        answers = [found[name] for name in ("features", "pyramid", "logits") if name in found]
        return sum((x**2).sum() for x in jax.tree.leaves(answers)), found

    return params, state, jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))


@pytest.mark.parametrize("how", HOWS)
def test_one_modality_fused_is_itself(how):
    params, state, run = ready(how, ("a",))
    (_, found), _ = run(params, inputs(("a",), np.ones((ROWS, 1))))
    alone, _ = jm.from_linen(Trunk()).apply(
        params["streams"]["a"], state["a"], inputs(("a",))["a"], train=True
    )
    for name in {"features", "pyramid"} & set(found):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), found[name], alone[name]
        )


@pytest.mark.parametrize("how", HOWS)
def test_what_is_missing_has_no_influence_and_no_gradient(how):
    params, _, run = ready(how)
    given = inputs(present=PRESENT)
    dirty = {k: v.copy() for k, v in given.items()}
    for row, kept in enumerate(PRESENT):
        for name, here in zip("abc", kept, strict=True):
            if not here:
                dirty[name][row] = np.nan
    (value, found), (slope, by_input) = run(params, given)
    (again, other), (slope_again, by_dirty) = run(params, dirty)
    assert np.isfinite(value)
    assert value == again
    jax.tree.map(np.testing.assert_array_equal, (found, slope), (other, slope_again))
    for row, kept in enumerate(PRESENT):
        for name, here in zip("abc", kept, strict=True):
            assert (np.abs(by_dirty[name][row]).max() > 0) == bool(here)
            np.testing.assert_array_equal(by_input[name][row], by_dirty[name][row])


@pytest.mark.parametrize("how", HOWS)
def test_a_modality_that_nobody_has_teaches_its_network_nothing(how):
    params, _, run = ready(how)
    _, (slope, _) = run(params, inputs(present=[[1, 0, 1]] * ROWS))
    assert all(not np.any(x) for x in jax.tree.leaves(slope["streams"]["b"]))
    assert any(np.any(x) for x in jax.tree.leaves(slope["streams"]["c"]))


def test_nothing_present_is_zero():
    for how in ("mean", "product", "attention"):
        params, _, run = ready(how)
        (_, found), (slope, _) = run(params, inputs(present=np.zeros((ROWS, 3))))
        np.testing.assert_array_equal(found["features"], 0)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


def test_the_order_of_names_does_not_matter():
    one, two = (made("concat", names, classes=2) for names in (("a", "b", "c"), ("c", "a", "b")))
    given = inputs(present=PRESENT)
    for network in (one, two):
        network.init(jax.random.key(3), given)
    first, second = (network.init(jax.random.key(3), given) for network in (one, two))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    turned = {name: given[name] for name in ("present", "c", "a", "b")}
    jax.tree.map(
        np.testing.assert_array_equal,
        one.apply(*first, given)[0],
        two.apply(*second, turned)[0],
    )


def test_a_name_draws_alone_and_never_all_are_hidden():
    """What is hidden of a depends on its name, its rate and the key; so does a resumed run."""

    def seen(names, drop, key):
        network = fuse({n: nn.Dense(2) for n in names}, "mean", reads="logits", drop=drop)
        given = {n: jnp.ones((200, 1)) for n in names}
        params, state = network.init(jax.random.key(0), given)
        return np.asarray(network.apply(params, state, given, key=key, train=True)[0]["present"])

    key = jax.random.key(5)
    three, two = seen("abc", 0.5, key), seen("ac", {"a": 0.5}, key)
    assert 0.4 < 1 - two[:, 0].mean() < 0.6
    # Where not all would have been hidden, a is hidden in the one as in the other.
    clear = ~three.all(1)
    np.testing.assert_array_equal(three[clear, 0], two[clear, 0])
    assert three.any(1).all()
    assert seen("a", 0.9, key).all()
    assert not np.array_equal(three, seen("abc", 0.5, jax.random.key(6)))


def test_channels_that_are_missing_have_no_influence_and_are_not_background():
    network = fuse_channels(networks.cnn(2, features=(3,)))
    scan = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype(np.float32)
    present = np.array([[1, 1], [1, 0], [0, 1]])
    params, state = network.init(jax.random.key(0), {"image": scan, "present": present})
    dirty = np.where(present[:, None, None], scan, np.nan).astype(np.float32)
    apply = jax.jit(lambda x: network.apply(params, state, x)[0]["logits"])
    found = apply({"image": dirty, "present": present})
    np.testing.assert_array_equal(found, apply({"image": scan, "present": present}))
    empty = apply({"image": np.nan_to_num(dirty), "present": np.ones((3, 2))})
    assert np.abs(found - empty)[1:].min() > 0
    slope = jax.grad(lambda x: (apply({"image": x, "present": present}) ** 2).sum())(dirty)
    np.testing.assert_array_equal(np.abs(slope).max((1, 2)) > 0, present > 0)


def test_records_of_numbers_and_categories_with_gaps():
    rows = np.array([[50.0, 0, np.nan], [70, 2, 5], [np.nan, np.nan, 5]], np.float32)
    module = networks.tabular((0, 3, 0), 2, fitted_to=rows, hidden=(4,))
    assert module.center == (60.0, 0.0, 5.0)
    assert module.scale == (10.0, 1.0, 1.0)
    network = jm.from_linen(module)
    params, state = network.init(jax.random.key(0), rows)
    apply = jax.jit(lambda x: network.apply(params, state, x)[0]["logits"])
    assert np.isfinite(apply(rows)).all()
    # A missing category is one that is unknown, and a missing number is not the mean.
    unknown, mean = rows.copy(), rows.copy()
    unknown[2, 1], mean[2, 0] = 7, 60.0
    np.testing.assert_array_equal(apply(unknown), apply(rows))
    assert np.abs(apply(mean) - apply(rows))[2].max() > 1e-4
    assert np.isfinite(jax.grad(lambda x: apply(x).sum())(rows)).all()


def test_what_neither_knows_is_learned_and_saved():
    """A label that is equal signs: learned from both, not from one, and from a description."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 256, 2)).astype(np.float32)
    label = ((a[:, 0] > 0) == (b[:, 0] > 0)).astype(np.int32)
    batch = {"a": a, "b": b, "label": label, "present": np.ones((256, 2), np.float32)}
    trunk, names = networks.mlp(hidden=(16,)), ("a", "b", "present")
    network = fuse({"a": trunk, "b": trunk}, "product", classes=2, drop=0.1)
    objective = jm.supervised(jm.losses.cross_entropy, inputs=names)
    one = jm.learner(network, objective, optax.adam(0.03), inputs=names)
    state, step = one.init(jax.random.key(0), batch), jax.jit(one.step)
    for _ in range(200):
        state, _ = step(state, batch)
    given = {name: batch[name] for name in names}
    both = one.predict(state, given)["logits"]
    assert np.mean(np.argmax(both, 1) == label) > 0.95
    alone = one.predict(state, {**given, "present": np.float32([[1, 0]] * 256)})["logits"]
    assert np.mean(np.argmax(alone, 1) == label) < 0.7
    again = jm.inference.build(jm.inference.describe(network))
    same = again.apply(state.params["net"], state.state["net"], given)[0]["logits"]
    np.testing.assert_array_equal(same, both)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fuse({}), "at least one"),
        (lambda: fuse({"present": nn.Dense(2)}), "cannot be named"),
        (lambda: fuse({"a": nn.Dense(2)}, "sum"), "no way to fuse"),
        (lambda: fuse({"a": nn.Dense(2)}, "film"), "main=None"),
        (lambda: fuse({"a": nn.Dense(2)}, "mean", main="a"), "no other has one"),
        (lambda: fuse({"a": nn.Dense(2)}, drop={"b": 0.1}), "drop names 'b'"),
        (lambda: fuse({"a": nn.Dense(2)}, drop=1.0), "must lie in"),
        (lambda: fuse({"a": nn.Dense(2)}, reads="logits", classes=2), "needs fused 'features'"),
        (lambda: fuse({"a": nn.Dense(2), "b": nn.Dense(3)}, "mean", reads="logits").init(
            jax.random.key(0), {"a": jnp.ones((2, 1)), "b": jnp.ones((2, 1))}), "give width="),
        (lambda: fuse({"a": nn.Dense(2)}, reads="logits").init(jax.random.key(0), jnp.ones((2, 1))),
         "given a dict"),
        (lambda: fuse({"a": nn.Dense(2)}, reads="logits").init(
            jax.random.key(0), {"a": jnp.ones((2, 1)), "present": jnp.ones((2, 3))}),
         "a column each for a in this order"),
        (lambda: networks.tabular((0, 2), fitted_to=np.ones((3, 3))), "fitted_to must be"),
    ],
)  # fmt: skip
def test_odd_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_missing_name_is_told():
    network = fuse({"a": nn.Dense(2), "b": nn.Dense(2)}, reads="logits")
    with pytest.raises(KeyError, match="'b'"):
        network.init(jax.random.key(0), {"a": jnp.ones((2, 1))})
    with pytest.raises(KeyError, match="features"):
        fuse({"a": nn.Dense(2)}).init(jax.random.key(0), {"a": jnp.ones((2, 1))})
