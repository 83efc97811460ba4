"""Recurrent networks against loops, torch, and what each may see."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from benchmarks._peers import torch_recurrent
from jaxmed import networks
from jaxmed.networks.recurrent._cells import conv_sweep, md_gates, md_sweep
from jaxmed.testing import check_network

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(3, 6, 4)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def made(module, x):
    network = jm.from_linen(module)
    params, state = jax.jit(network.init)(KEY, x)
    return network._replace(apply=jax.jit(network.apply)), params, state


def run_cell(kind, params, x):
    """One example's steps by NumPy, from Flax's parameters."""
    p = jax.tree.map(np.asarray, params)
    h = c = np.zeros(p["hn" if kind == "gru" else "hi"]["kernel"].shape[0])
    steps = []
    for row in x:
        if kind == "lstm":
            g = {k: row @ p[f"i{k}"]["kernel"] + h @ p[f"h{k}"]["kernel"] + p[f"h{k}"]["bias"]
                 for k in "ifgo"}  # fmt: skip
            c = sigmoid(g["f"]) * c + sigmoid(g["i"]) * np.tanh(g["g"])
            h = sigmoid(g["o"]) * np.tanh(c)
        else:
            g = {k: row @ p[f"i{k}"]["kernel"] + p[f"i{k}"]["bias"] for k in "rzn"}
            r, z = (sigmoid(g[k] + h @ p[f"h{k}"]["kernel"]) for k in "rz")
            new = np.tanh(g["n"] + r * (h @ p["hn"]["kernel"] + p["hn"]["bias"]))
            h = (1 - z) * new + z * h
        steps.append(h)
    return np.stack(steps)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_both_ways_and_padding_are_the_plain_recursion(cell):
    length = np.array([6, 2, 4])
    padded = np.where(np.arange(6)[:, None] < length[:, None, None], SERIES, np.nan)
    network, params, state = made(
        networks.recurrent(2, features=(3,), cell=cell, bidirectional=True), SERIES
    )
    found = network.apply(params, state, {"image": padded, "length": length})[0]
    for i, n in enumerate(length):
        there = run_cell(cell, params["layer1"][cell], SERIES[i, :n])
        back = run_cell(cell, params["layer1_back"][cell], SERIES[i, :n][::-1])[::-1]
        steps = found["pyramid"][0][i]
        np.testing.assert_allclose(steps[:n], np.concatenate([there, back], -1), atol=1e-5)
        assert not np.asarray(steps[n:]).any()
        ends = np.concatenate([there[-1], back[0]])
        np.testing.assert_allclose(found["features"][i], ends, atol=1e-5)
    if cell == "lstm":
        assert np.asarray(params["layer1"]["lstm"]["hf"]["bias"]).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "pooling",
    ["last", "attention", *(pytest.param(p, marks=pytest.mark.slow) for p in ("mean", None))],
)
def test_a_padded_sequence_is_the_short_one(pooling):
    module = networks.recurrent(2, features=(3, 4), cell="gru", pooling=pooling)
    network, params, state = made(module, SERIES)
    short = network.apply(params, state, SERIES[:, :4])[0]
    for given in (
        {"length": np.array([4, 4, 4])},
        {"mask": np.arange(6)[None] < np.full((3, 1), 4)},
    ):
        found = network.apply(params, state, {"image": SERIES, **given})[0]
        np.testing.assert_allclose(found["features"], short["features"], atol=1e-6)
        logits = found["logits"][:, :4] if pooling is None else found["logits"]
        np.testing.assert_allclose(logits, short["logits"], atol=1e-6)
    none = network.apply(params, state, {"image": SERIES, "length": np.array([0, 4, 6])})[0]
    assert not np.asarray(none["features"][0]).any()


def test_nothing_later_is_seen_one_way():
    module = networks.recurrent(2, features=(3, 3), pooling=None)
    network, params, state = made(module, SERIES)
    slopes = jax.jit(
        jax.jacobian(lambda x: network.apply(params, state, x)[0]["logits"][0].sum(-1))
    )(SERIES[:1])[:, 0].any(-1)
    np.testing.assert_array_equal(slopes, np.tri(6, dtype=bool))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_with_the_same_weights(cell, bidirectional):
    """Two layers, every step and the ends, and slopes."""
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    module = networks.recurrent(features=(3, 3), cell=cell, bidirectional=bidirectional)
    network, params, state = made(module, SERIES)
    params = jax.tree.map(lambda p: p + 0.1 * RNG.normal(size=p.shape).astype(np.float32), params)
    peer = torch_recurrent(torch, module, 4, params)
    given = torch.tensor(SERIES, requires_grad=True)
    steps, ends = peer(given)
    steps.square().sum().backward()
    last = (ends[0] if cell == "lstm" else ends)[-1 - bidirectional :]
    last = np.concatenate(last.detach().numpy(), axis=-1)
    found, _ = network.apply(params, state, SERIES)
    np.testing.assert_allclose(found["pyramid"][0], steps.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(found["features"], last, atol=1e-5)
    slope = jax.jit(
        jax.grad(lambda x: jnp.square(network.apply(params, state, x)[0]["pyramid"][0]).sum())
    )(SERIES)
    np.testing.assert_allclose(slope, given.grad.numpy(), atol=1e-5)


def test_parts_are_read_one_by_one_and_then_in_order():
    records = RNG.normal(size=(2, 3, 6, 4)).astype(np.float32)
    inner, outer = networks.recurrent(features=(3,)), networks.recurrent(2, features=(5,))
    module = networks.hierarchical(inner, outer)
    network, params, state = made(module, records)
    given = {"image": records, "length": np.array([3, 2]), "inner_length": np.full((2, 3), 4)}
    found = network.apply(params, state, given)[0]
    of_inner, of_outer = (jax.jit(jm.from_linen(m).apply) for m in (inner, outer))
    within = of_inner(params["inner"], {}, records.reshape(6, 6, 4)[:, :4])[0]
    parts = within["features"].reshape(2, 3, 3)
    for i, n in enumerate((3, 2)):
        alone = of_outer(params["outer"], {}, parts[i : i + 1, :n])[0]
        np.testing.assert_allclose(found["logits"][i], alone["logits"][0], atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_convolutional_sweep_is_the_loop(cell):
    gates = {"lstm": 4, "gru": 3}[cell]
    driven = RNG.normal(size=(1, 3, 4, 5, gates * 2)).astype(np.float32)
    kernel = 0.3 * RNG.normal(size=(3, 1, 2, gates * 2)).astype(np.float32)
    bias = RNG.normal(size=gates * 2).astype(np.float32)
    sweep = partial(conv_sweep, cell=cell, axis=2, reverse=True, remat=False)
    found = jax.jit(sweep)(driven, kernel, bias)
    h = c = np.zeros((1, 3, 5, 2))
    for at in reversed(range(4)):
        wide = np.pad(h, [(0, 0), (1, 1), (0, 0), (0, 0)])
        carried = sum(wide[:, k : k + 3] @ kernel[k, 0] for k in range(3)) + bias
        if cell == "lstm":
            i, f, g, o = np.split(driven[:, :, at] + carried, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (xr, xz, xn), (hr, hz, hn) = np.split(driven[:, :, at], 3, -1), np.split(carried, 3, -1)
            z = sigmoid(xz + hz)
            h = (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h
        np.testing.assert_allclose(found[:, :, at], h, atol=1e-5)


@pytest.mark.parametrize("cell", ["graves", "stable"])
@pytest.mark.parametrize("spatial", [(5,), (4, 3), (2, 4), (2, 3, 2)])
def test_diagonals_are_the_loop_over_places(cell, spatial):
    axes, width = len(spatial), 2
    driven = RNG.normal(size=(1, *spatial, md_gates(cell, axes) * width)).astype(np.float32)
    kernels = RNG.normal(size=(axes, width, md_gates(cell, axes) * width)).astype(np.float32)
    found = jax.jit(partial(md_sweep, cell=cell, remat=False))(driven, kernels)[0]
    h, c = {}, {}
    for place in itertools.product(*map(range, spatial)):
        near = [tuple(p - (i == axis) for i, p in enumerate(place)) for axis in range(axes)]
        hs, cs = ([tree.get(n, np.zeros(width)) for n in near] for tree in (h, c))
        gates = driven[(0, *place)] + sum(v @ k for v, k in zip(hs, kernels, strict=True))
        i, g, o, *forget = np.split(gates, md_gates(cell, axes))
        if cell == "graves":
            state = sigmoid(i) * np.tanh(g) + sum(
                sigmoid(f) * v for f, v in zip(forget, cs, strict=True)
            )
        else:
            keep, weights = sigmoid(forget[0]), np.exp(forget[1:])
            old = (weights / weights.sum(0) * cs).sum(0)
            state = (1 - keep) * sigmoid(i) * np.tanh(g) + keep * old
        c[place], h[place] = state, sigmoid(o) * np.tanh(state)
        np.testing.assert_allclose(found[place], h[place], atol=1e-5)


def test_one_axis_of_a_multi_dimensional_cell_is_the_lstm():
    network, params, state = made(networks.recurrent(features=(3,)), SERIES)
    own = params["layer1"]["lstm"]
    across = jnp.concatenate([own[f"i{k}"]["kernel"] for k in "igof"], -1)
    along = jnp.concatenate([own[f"h{k}"]["kernel"] for k in "igof"], -1)
    bias = jnp.concatenate([own[f"h{k}"]["bias"] for k in "igof"])
    found = md_sweep(SERIES @ across + bias, along[None], cell="graves", remat=True)
    expected = network.apply(params, state, SERIES)[0]["pyramid"][0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_stable_state_does_not_grow_where_the_other_does():
    """With gates that remember, and next to nothing coming in, over the ways through an image."""
    far = {}
    for cell in ("graves", "stable"):
        gates = md_gates(cell, 2)
        driven = jnp.full((1, 24, 24, gates), 3.0).at[..., 0].set(-12.0)
        found = jax.jit(partial(md_sweep, cell=cell, remat=False))(driven, jnp.zeros((2, 1, gates)))
        far[cell] = float(found[0, -1, -1, 0])
    assert far["graves"] > 0.9
    assert 0 < far["stable"] < 1e-5


def test_a_pyramid_sees_what_lies_in_it_and_nothing_else():
    size, at = 9, 6
    x = jnp.asarray(RNG.normal(size=(1, size, size, size, 1)), jnp.float32)
    module = networks.pyramid_lstm(features=(2,), axes=(1,), directions="forward", kernel=3)
    network, params, state = made(module, x)
    slopes = jax.jit(
        jax.grad(lambda x: network.apply(params, state, x)[0]["pyramid"][0][0, at, 4, 4].sum())
    )(x)[0, ..., 0]
    z, i, j = np.indices((size,) * 3)
    # A step back along the axis is a voxel more each way, for the input's window and each carry.
    inside = (z <= at) & (np.maximum(abs(i - 4), abs(j - 4)) <= at - z + 1)
    np.testing.assert_array_equal(np.asarray(slopes) != 0, inside)


@pytest.mark.parametrize("make", [networks.mdgru, networks.mdlstm])
def test_a_turned_image_with_turned_directions_gives_the_turned_map(make):
    x = jnp.asarray(RNG.normal(size=(1, 4, 5, 2)), jnp.float32)
    network, params, state = made(make(features=(3,)), x)
    found = network.apply(params, state, x)[0]["pyramid"][0]
    names = {"axis1": "axis1_back", "axis1_back": "axis1", "corner1": "corner3",
             "corner3": "corner1", "corner2": "corner4", "corner4": "corner2"}  # fmt: skip
    turned = {}
    for name, value in params["sweeps1"].items():
        place = next((p for p in sorted(names, key=len, reverse=True) if name.startswith(p)), "")
        if name in ("axis2_input", "axis2_carried", "axis2_back_input", "axis2_back_carried"):
            value = value[::-1]  # their windows lie along the axis that is turned
        turned[(names[place] + name.removeprefix(place)) if place else name] = value
    other = network.apply({**params, "sweeps1": turned}, state, x[:, ::-1])[0]["pyramid"][0]
    np.testing.assert_allclose(other[:, ::-1], found, atol=1e-5)


BOTH = {"features": (3,), "bidirectional": True, "pooling": "attention", "dropout": 0.3}
LAWFUL = {
    "recurrent": (networks.recurrent(2, **BOTH),
                  {"image": SERIES, "length": np.int32([6, 1, 3])}),
    "mdgru": (networks.mdgru(2, features=(3,), drop_connect=0.3), RNG.normal(size=(2, 3, 4, 3, 1))),
    "mdlstm": (networks.mdlstm(2, features=(3,), remat=True), RNG.normal(size=(2, 4, 3, 1))),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n != "recurrent" else ()) for n in LAWFUL]
)
def test_laws(name):
    module, x = LAWFUL[name]
    x = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32 if v.dtype == float else v.dtype), x)
    check_network(jm.from_linen(module), x)


@pytest.mark.slow
def test_a_segmenter_learns_to_tell_what_lies_far_away():
    """Whether the first row is bright, told at every voxel: no small window sees both."""
    bright = np.arange(8) % 2
    image = RNG.normal(size=(8, 7, 3, 1)).astype(np.float32) * 0.1
    image[:, 0] += bright[:, None, None]
    mask = np.broadcast_to(bright[:, None, None], (8, 7, 3)).astype(np.int32)
    batch = {"image": image, "mask": mask}
    network = jm.from_linen(networks.conv_gru(2, features=(6,)))
    run = jm.learner(network, jm.supervised(jm.losses.dice_ce, target="mask"), optax.adam(0.03))
    state, step = jax.jit(run.init)(KEY, batch), jax.jit(run.step)
    for _ in range(60):
        state, _ = step(state, batch)
    found = run.predict(state, image)["logits"].argmax(-1)
    assert (np.asarray(found) == mask).mean() > 0.95


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (networks.recurrent(2), np.zeros((2, 0, 3)), "with a step or more"),
        (networks.recurrent(2, cell="rnn"), SERIES, "cell must be 'lstm' or 'gru'"),
        (networks.recurrent(2, pooling="max"), SERIES, "pooling must be"),
        (networks.recurrent(2), {"image": SERIES, "length": np.ones((3, 1))},
         "one number a sequence"),
        (networks.recurrent(2), {"image": SERIES, "mask": np.ones((3, 5))}, r"must be \(3, 6\)"),
        (networks.recurrent(2), {"image": SERIES, "mask": np.ones((3, 6)), "length": np.ones(3)},
         "not both"),
        (networks.hierarchical(networks.recurrent(), networks.recurrent(2)),
         np.zeros((2, 0, 5, 1)), "with a step or more"),
        (networks.mdgru(2, layer="rnn"), np.zeros((1, 2, 2, 1)), "layer must be"),
        (networks.mdgru(2, axes=(3,)), np.zeros((1, 2, 2, 1)), "axes must be among 1 to 2"),
        (networks.mdgru(2, drop_connect=1.0), np.zeros((1, 2, 2, 1)), "drop_connect must be"),
        (networks.mdlstm(2, cell="other"), np.zeros((1, 2, 2, 1)), "cell must be"),
        (networks.mdlstm(2, directions="back"), np.zeros((1, 2, 2, 1)), "directions must be"),
        (networks.mdlstm(2), np.zeros((1, 2, 0, 1)), "nothing to sweep over"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused(module, x, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(jm.from_linen(module).init, KEY, x)
