"""Random filters: their geometry, each pooling, and least squares on what is drawn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed.networks import random_convolutions
from jaxmed.networks.vision._random_convolutions import normal_fan_in, orthonormal
from jaxmed.paradigms import closed_form
from jaxmed.testing import check_network

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"maps": (3, 4), "kernel": (3, 2), "window": 2, "pooling": ("sqrt", "stochastic")},
         (8, 8)),
        pytest.param(
            {"maps": (3,), "kernel": 3, "window": 2, "units": 5, "pooling": "max"}, (4, 6, 4),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"maps": (4,), "kernel": 3, "window": 3, "pooling": "average", "both": False,
             "units": 5, "orthogonal": False},
            (9,), marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_laws(options, shape):
    network = jm.from_linen(random_convolutions(**options))
    x = jax.random.normal(KEY, (3, *shape, 2))
    x = x.at[0].set(0)  # an image of one value: no slope is infinite
    check_network(network, x)
    features = network.apply(*network.init(KEY, x), x)[0]["features"]
    if not options.get("both", True):
        assert features.shape == (3, options["units"])


@pytest.mark.parametrize("shape", [(5, 5, 2, 7), (2, 2, 1, 9), (3, 4, 4)])
def test_filters_are_orthonormal(shape):
    flat = np.asarray(orthonormal(KEY, shape)).reshape(-1, shape[-1])
    fan, out = flat.shape
    if fan >= out:
        np.testing.assert_allclose(flat.T @ flat, np.eye(out), atol=1e-5)
    else:
        np.testing.assert_allclose(flat @ flat.T, np.eye(fan) * out / fan, atol=1e-5)
        assert np.square(flat).sum(0).mean() == pytest.approx(1, rel=1e-5)
    other = np.asarray(normal_fan_in(KEY, (5, 5, 4, 60)))
    assert other.std() == pytest.approx(0.1, rel=0.05)


def maps(pooling, train=False, key=None):
    """The maps, and the parameters; of many keys at once, all maps."""
    network = jm.from_linen(random_convolutions(maps=(3,), kernel=3, window=4, pooling=pooling))

    @jax.jit
    def run(key):
        params, state = network.init(KEY, X)
        return network.apply(params, state, X, key=key, train=train)[0]["pyramid"][0], params

    found, params = run(key) if key is None else jax.vmap(run, out_axes=(0, None))(key)
    return np.asarray(found), params


def test_each_pooling_is_its_formula():
    params = maps("max")[1]
    plain = jm.ops.conv(X, params["conv1"]["kernel"], padding=[(1, 1), (1, 1)])
    blocks = np.asarray(plain).reshape(4, 2, 4, 2, 4, 3).transpose(0, 1, 3, 5, 2, 4)
    blocks = blocks.reshape(4, 2, 2, 3, 16)
    up = np.maximum(blocks, 0)
    expected = {
        "sqrt": np.sqrt(np.square(blocks).sum(-1)),
        "max": blocks.max(-1),
        "average": blocks.mean(-1),
        "stochastic": np.square(up).sum(-1) / up.sum(-1),
    }
    for pooling, value in expected.items():
        np.testing.assert_allclose(maps(pooling)[0], value, rtol=1e-4, atol=1e-5)
    drawn = maps("stochastic", True, jax.random.split(jax.random.key(0), 40))[0]
    assert (np.abs(drawn[..., None] - up).min(-1) < 1e-5).all()
    error = drawn.std(0) / np.sqrt(len(drawn))
    np.testing.assert_array_less(np.abs(drawn.mean(0) - expected["stochastic"]), 5 * error + 1e-3)


def test_training_may_be_on_what_is_drawn_and_prediction_is_on_what_is_expected():
    trunk = jm.from_linen(random_convolutions(maps=(6,), kernel=3, window=4, pooling="stochastic"))
    batch = {"image": X, "label": jnp.arange(4) % 2}
    sums = {}
    for draw in (False, True):
        machine = closed_form(trunk, ridge=1.0, classes=2, draw=draw)
        # Traced each time: what is drawn may come of the key alone.
        state, again = (
            jax.jit(lambda key, batch: machine.step(machine.init(key, batch), batch)[0])(KEY, batch)  # noqa: B023
            for _ in range(2)
        )
        np.testing.assert_array_equal(state.params["obj"]["hh"], again.params["obj"]["hh"])
        sums[draw] = np.asarray(state.params["obj"]["mean_h"])
        expected = jax.jit(machine.network.apply)(*machine.predicting.get(state), X)[0]["features"]
        found = jax.jit(machine.predict)(state, X)["features"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(sums[False], expected.mean(0), rtol=1e-5)
    assert np.abs(sums[True] - sums[False]).max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "softest"}, r"pooling must be among .* got \['softest'\]"),
        ({"maps": (2, 2), "kernel": (3,)}, r"kernel must be one value or 2"),
        ({"window": 9}, "window .* is larger"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        jm.from_linen(random_convolutions(**options)).init(KEY, X)
