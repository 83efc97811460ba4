"""Normalisations against Flax's own, NumPy, and hand-worked values."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.networks import BatchNorm, GroupNorm, InstanceNorm, NoNorm, make_norm
from jaxmed.networks.layers._norm import moments

SHAPES = [(4, 6, 8), (3, 5, 4, 8), (2, 3, 4, 5, 8)]


def images(shape, offset=3.0):
    return offset + 2.0 * jax.random.normal(jax.random.key(0), shape)


def pairs():
    """Each lean module, and Flax's of the same name."""
    mine = {"batch": BatchNorm(), "instance": InstanceNorm(), "group": GroupNorm(4)}
    flax = {
        "batch": nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5),
        "instance": nn.GroupNorm(num_groups=None, group_size=1, epsilon=1e-5),
        "group": nn.GroupNorm(num_groups=4, epsilon=1e-5),
    }
    return [(name, mine[name], flax[name]) for name in mine]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "mine", "flax"), pairs())
def test_output_and_gradients_are_flaxs(name, mine, flax, shape):
    x = images(shape)
    weights = jax.random.normal(jax.random.key(1), shape)
    params = {
        "scale": jnp.linspace(0.5, 2.0, shape[-1]),
        "bias": jnp.linspace(-1.0, 1.0, shape[-1]),
    }
    state = {"batch_stats": {"mean": jnp.full(8, 1.0), "var": jnp.full(8, 2.0)}}
    state = state if name == "batch" else {}
    mutable = list(state)

    def output(module, params, x, **options):
        out = module.apply({"params": params, **state}, x, mutable=mutable, **options)
        return out[0] if isinstance(out, tuple) else out

    @partial(jax.jit, static_argnums=0)
    def all_of(mine_first, params, x):
        run = partial(output, mine, train=True) if mine_first else partial(output, flax)
        y, back = jax.vjp(run, params, x)
        return y, *back(weights)

    got, wanted = all_of(True, params, x), all_of(False, params, x)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5), got, wanted)


def test_running_statistics_are_torchs():
    # One channel, values 0, 2, 4, 6: mean 3, biased variance 5, unbiased 20/3.
    x = jnp.array([0.0, 2.0, 4.0, 6.0]).reshape(2, 2, 1)
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x)
    assert variables["batch_stats"]["mean"] == 0.0
    assert variables["batch_stats"]["var"] == 1.0
    y, state = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(state["batch_stats"]["mean"], 0.3, rtol=1e-6)
    np.testing.assert_allclose(state["batch_stats"]["var"], 0.9 + 0.1 * 20 / 3, rtol=1e-6)
    np.testing.assert_allclose(y.ravel(), np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=1e-5)
    # In evaluation the running ones are used, and nothing changes.
    y = norm.apply({**variables, **state}, x)
    np.testing.assert_allclose(
        y.ravel(), (np.array([0, 2, 4, 6]) - 0.3) / np.sqrt(0.9 + 2 / 3), rtol=1e-5
    )


def test_a_mapped_axis_gives_the_whole_batchs_statistics():
    x = images((8, 5, 3))
    norm, mapped = BatchNorm(), BatchNorm(axis_name="devices")
    variables = norm.init(jax.random.key(0), x)
    options = {"train": True, "mutable": ["batch_stats"]}
    whole, state = jax.jit(partial(norm.apply, **options))(variables, x)
    apply = jax.vmap(partial(mapped.apply, **options), in_axes=(None, 0), axis_name="devices")
    parts, states = jax.device_get(jax.jit(apply)(variables, x.reshape(4, 2, 5, 3)))
    np.testing.assert_allclose(parts.reshape(8, 5, 3), whole, rtol=1e-4, atol=1e-5)
    for part in range(4):
        jax.tree.map(
            lambda a, b, p=part: np.testing.assert_allclose(a[p], b, rtol=1e-5), states, state
        )


@pytest.mark.parametrize("norm", [InstanceNorm(), GroupNorm(2), BatchNorm()])
def test_a_mean_of_a_hundred_deviations(norm):
    x = 100.0 + jax.random.normal(jax.random.key(2), (2, 40, 40, 4))

    @jax.jit
    def normed(x):
        variables = norm.init(jax.random.key(0), x)
        return norm.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    y = normed(x)
    x = np.asarray(x, np.float64).reshape(2, 40, 40, 2, 2)
    axes = {InstanceNorm: (1, 2), BatchNorm: (0, 1, 2), GroupNorm: (1, 2, 4)}[type(norm)]
    wanted = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    np.testing.assert_allclose(y, wanted.reshape(y.shape), atol=1e-2)


def test_a_constant_channel_is_finite_with_its_gradient():
    x = jnp.full((2, 6, 6, 3), 7.0)
    norm = InstanceNorm()
    variables = norm.init(jax.random.key(0), x)
    y, gradient = jax.jit(jax.value_and_grad(lambda x: norm.apply(variables, x).sum()))(x)
    assert abs(y) < 0.1  # rounding, times 1 / sqrt(epsilon)
    assert np.isfinite(gradient).all()


def test_moments_in_half_precision_are_accumulated_in_float32():
    x = jnp.full((1, 5000, 1), 1.0, jnp.bfloat16)
    mean, variance = moments(x, (1,))
    assert mean.dtype == variance.dtype == jnp.float32
    assert mean.item() == 1.0
    assert variance.item() == 0.0


@pytest.mark.parametrize("name", ["batch", "instance", "group", "none"])
def test_dtypes(name):
    x = images((2, 4, 4, 6))
    norm = make_norm(name, dtype=jnp.bfloat16)
    y, variables = jax.eval_shape(norm.init_with_output, jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype("float32")}
    whole, _ = jax.eval_shape(make_norm(name).init_with_output, jax.random.key(0), x)
    assert whole.dtype == jnp.float32


def test_no_norm_is_the_identity():
    x = images((2, 4, 6))
    np.testing.assert_array_equal(NoNorm().apply({}, x, train=True), x)


def test_groups_are_at_most_those_asked_for():
    x = images((2, 5, 12))
    four, variables = GroupNorm(4).init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(GroupNorm(8).apply(variables, x), four)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"norm must be one of .*'batch'.* got 'layer'"):
        make_norm("layer")
    with pytest.raises(ValueError, match=r"group of one value .*\(2, 1, 1, 4\)"):
        InstanceNorm().init(jax.random.key(0), jnp.ones((2, 1, 1, 4)))
