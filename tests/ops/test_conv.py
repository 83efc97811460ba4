"""The convolution family against lax: values, derivatives, transformations, in every form."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxmed import ops
from jaxmed.ops import build
from jaxmed.ops.convolution import _native as native
from jaxmed.ops.convolution import _pure as _conv_pure
from jaxmed.ops.convolution import _xla as _conv_xla
from jaxmed.ops.convolution._geometry import Geometry

FORMS = ["pure", "onednn"]
LAYOUTS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


def _need(form, dtype="float32"):
    """Skip where the machine cannot run a forced form: no library, or no kernel of the type."""
    if form == "onednn" and not build.available():
        pytest.skip(f"no native convolution: {native.library()}")
    if form == "onednn" and not build.available(dtype):
        pytest.skip(f"oneDNN has no fast {dtype} kernel on this processor")


def _normal(seed, shape, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def _close(actual, expected, tolerance=2e-4):
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        scale = max(1.0, np.abs(e).max(initial=0.0))
        np.testing.assert_allclose(a / scale, e / scale, atol=tolerance)


@st.composite
def convolutions(draw):
    rank = draw(st.integers(1, 3))
    axis = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * rank))  # noqa: E731
    window, dilation = axis(1, 3), axis(1, 2)
    padding = draw(st.sampled_from(["SAME", "VALID", "SAME_LOWER", "numbers"]))
    if padding == "numbers":
        padding = [draw(st.tuples(st.integers(-1, 3), st.integers(-1, 3))) for _ in range(rank)]
    return {
        "x": (draw(st.integers(1, 4)), *axis(6, 8), draw(st.integers(1, 3))),
        "window": window,
        "out": draw(st.integers(1, 3)),
        "stride": axis(1, 3),
        "dilation": dilation,
        "padding": padding,
        "groups": draw(st.sampled_from([1, 1, 2, 3])),
        "seed": draw(st.integers(0, 99)),
    }


def _with_gradients(fn):
    """Value and both gradients as one program."""

    def run(x, kernel):
        y, pullback = jax.vjp(fn, x, kernel)
        return y, *pullback(jnp.cos(y))

    return jax.jit(run)


@pytest.mark.parametrize("form", FORMS)
def test_equals_lax_with_gradients(form):
    _need(form)

    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(convolutions())
    def check(c):
        rank, groups = len(c["window"]), c["groups"]
        *lead, channels = c["x"]
        x = _normal(c["seed"], (*lead, channels * groups))
        kernel = _normal(c["seed"] + 1, (*c["window"], channels, c["out"] * groups))

        def ours(x, kernel):
            return ops.conv(
                x,
                kernel,
                stride=c["stride"],
                padding=c["padding"],
                dilation=c["dilation"],
                groups=groups,
            )

        def theirs(x, kernel):
            return lax.conv_general_dilated(
                x,
                kernel,
                c["stride"],
                c["padding"],
                rhs_dilation=c["dilation"],
                dimension_numbers=LAYOUTS[rank],
                feature_group_count=groups,
            )

        with ops.config(conv="auto" if form == "onednn" else form):
            _close(_with_gradients(ours)(x, kernel), _with_gradients(theirs)(x, kernel))

    check()


@pytest.mark.parametrize("form", FORMS)
def test_transpose_equals_lax_with_gradients(form):
    _need(form)

    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(convolutions(), st.booleans())
    def check(c, tiles):
        rank = len(c["window"])
        stride = c["window"] if tiles else c["stride"]
        dilation = (1,) * rank if tiles else c["dilation"]
        padding = c["padding"] if c["padding"] != "SAME_LOWER" else "SAME"
        x = _normal(c["seed"], (c["x"][0], *(n - 3 for n in c["x"][1:-1]), c["x"][-1]))
        kernel = _normal(c["seed"] + 1, (*c["window"], x.shape[-1], c["out"]))
        options = {"padding": padding}

        def ours(x, kernel):
            return ops.conv_transpose(x, kernel, stride=stride, dilation=dilation, **options)

        def theirs(x, kernel):
            return lax.conv_transpose(
                x,
                kernel,
                stride,
                padding,
                rhs_dilation=dilation,
                dimension_numbers=LAYOUTS[rank],
            )

        if 0 in jax.eval_shape(ours, x, kernel).shape:
            return
        with ops.config(conv="auto" if form == "onednn" else form):
            _close(_with_gradients(ours)(x, kernel), _with_gradients(theirs)(x, kernel))

    check()


def _transformed(fn):
    """Everything JAX can do to a convolution, as one program of stacks of x and kernels."""

    def loss(x, kernel):
        return (jnp.sin(fn(x, kernel)) ** 2).sum()

    gradients = jax.grad(loss, (0, 1))

    def run(xs, kernels):
        x, kernel = xs[0], kernels[0]
        return {
            "forward mode": jax.jvp(fn, (x, kernel), (xs[1], kernels[1])),
            "forward over reverse": jax.jvp(gradients, (x, kernel), (xs[1], kernels[1])),
            "reverse over reverse": jax.grad(
                lambda x, k: sum((g**2).sum() for g in gradients(x, k)), (0, 1)
            )(x, kernel),
            "vmap inputs": jax.vmap(gradients, (0, None))(xs, kernel),
            "vmap kernels": jax.vmap(gradients, (None, 0))(x, kernels),
            "vmap both": jax.vmap(gradients)(xs, kernels),
            "vmap inputs of kernels": jax.vmap(jax.vmap(fn, (None, 0)), (0, None))(xs, kernels),
            "vmap kernels of inputs": jax.vmap(jax.vmap(fn, (0, None)), (None, 0))(xs, kernels),
            "vmap both of inputs": jax.vmap(jax.vmap(fn, (0, None)))(
                jnp.stack([xs, -xs], 1), kernels
            ),
            "scan": lax.scan(lambda c, xk: (c + 1, gradients(*xk)), 0, (xs, kernels)),
            "map": lax.map(lambda xk: gradients(*xk), (xs, kernels)),
            "gradient of scan": jax.grad(
                lambda k: lax.scan(lambda c, x: (c + loss(x, k), None), 0.0, xs)[0]
            )(kernel),
            "while_loop": lax.while_loop(
                lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] + gradients(x, c[1])[1]), (0, kernel)
            ),
            "remat": jax.grad(jax.checkpoint(loss), (0, 1))(x, kernel),
        }

    return jax.jit(run)


@pytest.mark.parametrize(
    ("rank", "stride"), [(2, 2), pytest.param(3, 1, marks=pytest.mark.slow)], ids=["2D", "3D"]
)
@pytest.mark.parametrize("form", FORMS)
def test_transformations_equal_lax(form, rank, stride):
    _need(form)
    xs = _normal(0, (3, 2, *(5, 6, 4)[:rank], 2))
    kernels = _normal(1, (3, *(3,) * rank, 2, 3)) / 3
    theirs = partial(
        lax.conv_general_dilated,
        window_strides=(stride,) * rank,
        padding="SAME",
        dimension_numbers=LAYOUTS[rank],
    )
    with ops.config(conv=form):
        actual = _transformed(partial(ops.conv, stride=stride))(xs, kernels)
    expected = _transformed(theirs)(xs, kernels)
    for name, value in expected.items():
        try:
            _close(actual[name], value, 1e-3)
        except AssertionError as error:
            raise AssertionError(name) from error


@pytest.mark.parametrize("form", FORMS)
def test_vmap_over_kernels_is_no_grouped_convolution(form):
    _need(form)
    x, kernels = jnp.ones((2, 6, 6, 2)), jnp.ones((5, 3, 3, 2, 3))
    with ops.config(conv=form):
        gradients = jax.grad(lambda k: jax.vmap(partial(ops.conv, x))(k).sum())
        text = jax.jit(gradients).lower(kernels).as_text()
    assert "feature_group_count = 5" not in text
    assert "batch_group_count = 5" not in text


@pytest.mark.parametrize(
    ("stride", "dilation", "padding"),
    [((1, 1), (1, 1), ((1, 1), (1, 1))), ((2, 1), (1, 2), ((0, 2), (3, 0)))],
)
def test_kernel_gradient_by_products_of_taps_equals_lax(stride, dilation, padding):
    geometry = Geometry((5, 6), (3, 2), stride, padding, dilation)
    x = _normal(0, (3, 5, 6, 4))
    y = _normal(1, (3, *geometry.output, 5))
    forms = _conv_pure._kernel_by_taps, _conv_xla.xla_kernel
    _close(*jax.jit(lambda x, y: [f(x, y, geometry, None) for f in forms])(x, y))


def test_auto_takes_products_of_taps_where_they_are_faster():
    _need("onednn")

    def lowered(channels, size):
        x = jax.ShapeDtypeStruct((32, size, size, channels), jnp.float32)
        kernel = jax.ShapeDtypeStruct((3, 3, channels, channels), jnp.float32)
        return _with_gradients(ops.conv).lower(x, kernel).as_text()

    # Forward and gradient to the input are oneDNN's either way.
    assert lowered(64, 4).count("@jaxmed_conv(") == 3
    assert lowered(512, 8).count("@jaxmed_conv(") == 3
    few = lowered(512, 4)
    assert (few.count("@jaxmed_conv("), few.count("dot_general")) == (2, 9)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_keeps_type_and_is_near(form):
    _need(form, "bfloat16")
    x, kernel = _normal(0, (2, 6, 7, 8)), _normal(1, (3, 3, 8, 4))
    with ops.config(conv=form):
        run = _with_gradients(partial(ops.conv, stride=(1, 2)))
        half = run(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
        full = run(x, kernel)
    assert {v.dtype for v in half} == {jnp.dtype(jnp.bfloat16)}
    _close([v.astype(jnp.float32) for v in half], full, 0.03)


def test_float64_in_auto_form_and_refused_by_the_native_one():
    with jax.enable_x64(True):
        x, kernel = _normal(0, (2, 6, 5, 2), np.float64), _normal(1, (3, 3, 2, 3), np.float64)
        theirs = partial(
            lax.conv_general_dilated,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=LAYOUTS[2],
        )
        actual = _with_gradients(ops.conv)(x, kernel)
        _close(actual, _with_gradients(theirs)(x, kernel), 1e-12)
        with ops.config(conv="onednn"), pytest.raises(NotImplementedError, match="float64"):
            ops.conv(x, kernel)


def test_drop_in_for_flax():
    x = _normal(0, (2, 8, 8, 4))
    for options in (
        {"strides": 2},
        {"feature_group_count": 2},
        {"padding": 0},
        {"use_bias": False},
    ):
        plain = nn.Conv(6, (3, 3), **options)
        fast = nn.Conv(6, (3, 3), conv_general_dilated=ops.conv_general_dilated, **options)

        @jax.jit
        def both(x, plain=plain, fast=fast):
            params = plain.init(jax.random.key(0), x)
            return fast.apply(params, x), plain.apply(params, x)

        _close(*both(x))
    assert ops.conv_general_dilated(
        jnp.ones((1, 2, 8, 8)), jnp.ones((3, 2, 3, 3)), (1, 1), "SAME"
    ).shape == (1, 3, 8, 8)  # another layout: lax


def test_drop_in_with_spread_input_is_the_transposed_convolution():
    x, kernel = _normal(0, (2, 4, 5, 3)), _normal(1, (3, 3, 3, 2))
    arguments = {
        "window_strides": (1, 1),
        "padding": ((1, 2), (2, 1)),
        "lhs_dilation": (2, 3),
        "dimension_numbers": LAYOUTS[2],
    }
    forms = ops.conv_general_dilated, lax.conv_general_dilated
    _close(*jax.jit(lambda x, kernel: [f(x, kernel, **arguments) for f in forms])(x, kernel))


@pytest.mark.parametrize(
    ("x", "kernel", "options", "message"),
    [
        ((4, 4), (3, 3), {}, "with 1 to 3 spatial axes"),
        ((1, 4, 4, 2), (3, 2, 5), {}, "with 2 window axes"),
        ((1, 4, 4, 2), (3, 3, 3, 5), {}, "expected x channels = kernel channels_in times groups"),
        ((1, 4, 4, 2), (3, 3, 1, 5), {"groups": 2}, "channels_out a multiple of groups"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"stride": 0}, "stride=0: expected a positive integer"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"dilation": (1, 1, 1)}, "dilation=.*or 2 of them"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"padding": "FULL"}, "padding='FULL': expected SAME"),
        ((1, 4, 4, 2), (3, 3, 2, 5), {"padding": [1]}, "one entry for each of 2 spatial axes"),
    ],
)
def test_wrong_shapes_are_named(x, kernel, options, message):
    with pytest.raises(ValueError, match=message):
        ops.conv(jnp.ones(x), jnp.ones(kernel), **options)


def test_mixed_and_integer_types_are_refused():
    with pytest.raises(ValueError, match="one floating type for both"):
        ops.conv(jnp.ones((1, 4, 2)), jnp.ones((3, 2, 2), jnp.bfloat16))
    with pytest.raises(ValueError, match="one floating type for both"):
        ops.conv(jnp.ones((1, 4, 2), int), jnp.ones((3, 2, 2), int))


def test_config_is_scoped_global_and_part_of_the_jit_key():
    traced = []

    @jax.jit
    def fn(x, kernel):
        traced.append(1)
        return ops.conv(x, kernel)

    x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))
    fn(x, kernel)
    with ops.config(conv="xla"):
        fn(x, kernel)
        with ops.config(conv="pure"):
            fn(x, kernel)
        fn(x, kernel)
    fn(x, kernel)
    assert len(traced) == 3
    ops.config(conv="pure")
    try:
        assert "ffi" not in str(jax.jit(partial(ops.conv, x)).lower(kernel).as_text())
    finally:
        ops.config(conv="auto")
    with pytest.raises(ValueError, match="expected one of auto, xla, pure, onednn"):
        ops.config(conv="fast")


def test_nothing_to_convolve_gives_empty_or_zero():
    assert ops.conv(jnp.ones((0, 4, 4, 2)), jnp.ones((3, 3, 2, 5))).shape == (0, 4, 4, 5)
    assert ops.conv(jnp.ones((1, 2, 2)), jnp.ones((3, 2, 5)), padding="VALID").shape == (1, 0, 5)


@pytest.mark.parametrize("rank", [1, 2])
def test_a_grouped_transposed_convolution_is_one_for_each_group(rank):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *(4,) * rank, 6)), jnp.float32)
    shape = (*(3,) * rank, 2, 9)
    kernel = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)
    options = {"stride": 2, "padding": ((1, 2),) * rank}
    whole = ops.conv_transpose(x, kernel, groups=3, **options)
    parts = [
        ops.conv_transpose(x[..., 2 * g : 2 * g + 2], kernel[..., 3 * g : 3 * g + 3], **options)
        for g in range(3)
    ]
    np.testing.assert_allclose(whole, jnp.concatenate(parts, -1), rtol=1e-5, atol=1e-5)
