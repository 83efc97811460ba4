"""The gradient to an input of few channels: native and plain forms, against a sum in float64."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxmed import ops
from jaxmed.ops.convolution import _native as native
from jaxmed.ops.convolution._geometry import Geometry
from jaxmed.ops.convolution._primitive import bilinear

CALL = "@jaxmed_few_channels("


@pytest.fixture
def library():
    if isinstance(native.library(), str):
        pytest.skip(f"no native convolution: {native.library()}")


def _normal(seed, shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _expected(y, kernel, g):
    """What each tap adds to the voxels under it, in float64."""
    y, kernel = np.float64(y), np.float64(kernel)
    extents = [n + lo + hi for n, (lo, hi) in zip(g.spatial, g.padding, strict=True)]
    x = np.zeros((len(y), *extents, kernel.shape[-2]))
    for tap in itertools.product(*map(range, g.window)):
        under = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, g.dilation, g.output, g.strides, strict=True)
        )
        x[(slice(None), *under)] += y @ kernel[tap].T
    inner = tuple(slice(lo, lo + n) for n, (lo, _) in zip(g.spatial, g.padding, strict=True))
    return x[(slice(None), *inner)]


@st.composite
def gradients(draw, channels, outs):
    """Geometries with odd ends, and lines shorter and longer than the voxels of a tile."""
    rank = draw(st.integers(1, 3))
    axis = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * rank))  # noqa: E731
    spatial = (*axis(1, 5)[1:], draw(st.integers(1, 40)))
    window, dilation = axis(1, 4), axis(1, 2)
    padding = draw(st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * rank))
    g = Geometry(spatial, window, axis(1, 3), padding, dilation)
    batch, channels, out = draw(st.integers(1, 3)), draw(channels), draw(outs)
    seed = draw(st.integers(0, 99))
    return g, _normal(seed, (batch, *g.output, out)), _normal(seed, (*window, channels, out))


def _equal(actual, expected):
    assert actual.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual / scale, expected / scale, atol=2e-6)


def test_native_form_equals_the_sum_over_taps(library):
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(gradients(st.integers(1, 8), st.sampled_from([4, 8, 12, 16, 48])))
    def check(case):
        g, y, kernel = case
        if 0 in g.output or g.tiles:
            return
        run = jax.jit(partial(bilinear, "input", geometry=g, form="auto"))
        assert CALL in run.lower(y, kernel).as_text()
        _equal(run(y, kernel), _expected(y, kernel, g))

    check()


def test_plain_form_of_one_channel_equals_the_sum_over_taps():
    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(gradients(st.just(1), st.integers(1, 4)))
    def check(case):
        g, y, kernel = case
        if 0 in g.output:
            return
        run = jax.jit(partial(bilinear, "input", geometry=g, form="pure"))
        _equal(run(y, kernel), _expected(y, kernel, g))

    check()


@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_not_a_number_reaches_its_windows_alone(library, stride):
    g = Geometry((3, 30), (3, 3), (stride,) * 2, ((1, 1), (1, 1)), (1, 1))
    y, kernel = _normal(0, (2, *g.output, 8)), _normal(1, (3, 3, 3, 8))
    y[0, 0, -1, 3], y[1, -1, 0, 7] = np.nan, np.inf
    x = bilinear("input", jnp.asarray(y), jnp.asarray(kernel), g, form="auto")
    expected = _expected(y, kernel, g)
    for test in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(test(x), test(expected))
    assert 0 < np.isfinite(x).sum() < x.size


@pytest.mark.parametrize(
    ("channels", "out", "options", "few"),
    [
        (1, 32, {}, True),
        (8, 4, {"stride": 2}, True),
        (3, 16, {"dilation": 2, "padding": "VALID"}, True),
        (9, 16, {}, False),  # more channels
        (3, 6, {}, False),  # no whole vector of output channels
        (4, 8, {"groups": 2}, False),
        (4, 8, {"stride": 3, "padding": "VALID"}, False),  # windows that tile: a product
    ],
)
def test_auto_takes_it_for_few_channels(library, channels, out, options, few):
    x = jax.ShapeDtypeStruct((2, 9, 9, channels), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, channels // options.get("groups", 1), out), jnp.float32)

    def text(form):
        with ops.config(conv=form):
            run = jax.jit(jax.grad(lambda x, k: ops.conv(x, k, **options).sum()))
            return run.lower(x, kernel).as_text()

    assert (CALL in text("auto")) == few
    assert CALL not in text("onednn")
    assert CALL not in text("pure")


def test_every_derivative_and_stack_equals_xla(library):
    xs, kernels = jnp.asarray(_normal(0, (3, 2, 5, 6, 2))), jnp.asarray(_normal(1, (3, 3, 3, 2, 4)))

    def everything(conv):
        def gradient(x, kernel):
            return jax.grad(lambda x: (jnp.sin(conv(x, kernel)) ** 2).sum())(x)

        def run(xs, kernels):
            x, kernel = xs[0], kernels[0]
            return {
                "forward over reverse": jax.jvp(gradient, (x, kernel), (xs[1], kernels[1] / 3)),
                "reverse over reverse": jax.grad(lambda x, k: (gradient(x, k) ** 2).sum(), (0, 1))(
                    x, kernel
                ),
                "vmap inputs": jax.vmap(gradient, (0, None))(xs, kernel),
                "vmap kernels": jax.vmap(gradient, (None, 0))(x, kernels),
                "vmap both": jax.vmap(gradient)(xs, kernels),
                "map": jax.lax.map(lambda pair: gradient(*pair), (xs, kernels)),
            }

        return jax.jit(run)

    def computed(form):
        with ops.config(conv=form):
            run = everything(partial(ops.conv, stride=(1, 2)))
            return run.lower(xs, kernels).as_text(), run(xs, kernels)

    text, actual = computed("auto")
    assert CALL in text
    expected = computed("xla")[1]
    for name, values in expected.items():
        for a, e in zip(jax.tree.leaves(actual[name]), jax.tree.leaves(values), strict=True):
            scale = float(jnp.abs(e).max())
            np.testing.assert_allclose(a / scale, e / scale, atol=1e-5, err_msg=name)


@pytest.mark.devices(8)
@pytest.mark.parametrize("members", [False, True])
def test_devices_divide_it_and_change_no_bit(library, members):
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Auto,))
    y = jnp.asarray(_normal(0, (16, 6, 7, 8)))
    kernel = jnp.asarray(_normal(1, (8, 3, 3, 2, 8) if members else (3, 3, 2, 8)))
    g = Geometry((6, 7), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    one = partial(bilinear, "input", geometry=g, form="auto")
    run = jax.jit(jax.vmap(one, (None, 0)) if members else one)
    expected = run(y, kernel)
    everywhere, divided = (NamedSharding(mesh, spec) for spec in (P(), P("devices")))
    y = jax.device_put(y, everywhere if members else divided)
    kernel = jax.device_put(kernel, divided if members else everywhere)
    np.testing.assert_array_equal(run(y, kernel), expected)
    text = run.lower(y, kernel).compile().as_text()
    assert "all-gather(" not in text
    assert "jaxmed_few_channels" in text
