"""Bias and activation in the convolution's pass: as in lax and `jax.nn`, in every derivative."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxmed import ops
from jaxmed.ops import build
from jaxmed.ops.convolution import _native as native

FORMS = ["pure", "onednn"]
LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(params=FORMS)
def form(request):
    if request.param == "onednn" and not build.available("float32"):
        pytest.skip(f"no native convolution: {native.library()}")
    with ops.config(conv=request.param):
        yield request.param


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _arguments(batch=3):
    return _normal(0, batch, 5, 6, 3), _normal(1, 3, 3, 3, 4), _normal(2, 4)


def _theirs(x, kernel, bias, *, activation=None, stride=1):
    y = lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT)
    y = y + bias
    if activation == "relu":
        return jax.nn.relu(y)
    return y if activation is None else jax.nn.leaky_relu(y, 0.1)


def _ours(x, kernel, bias, *, activation=None, stride=1):
    return ops.conv(x, kernel, bias=bias, activation=activation, slope=0.1, stride=stride)


def _close(actual, expected, tolerance=1e-4):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        scale = max(1.0, np.abs(e).max())
        np.testing.assert_allclose(a / scale, e / scale, atol=tolerance)


def _everything(fn):
    """Values and derivatives of first and second order, and `vmap`s of them, as one program."""

    def run(x, kernel, bias):
        loss = lambda *a: (jnp.sin(fn(*a)) ** 2).sum()  # noqa: E731
        gradients = jax.grad(loss, (0, 1, 2))
        tangents = (x[::-1], kernel[::-1], bias[::-1])
        biases = jnp.stack([bias, -bias])
        return {
            "value": fn(x, kernel, bias),
            "gradients": gradients(x, kernel, bias),
            "bias alone": jax.grad(loss, 2)(x, kernel, bias),
            "kernel alone": jax.grad(loss, 1)(x, kernel, bias),
            "forward mode": jax.jvp(fn, (x, kernel, bias), tangents)[1],
            "forward in bias": jax.jvp(partial(fn, x, kernel), (bias,), (bias[::-1],))[1],
            "forward over reverse": jax.jvp(gradients, (x, kernel, bias), tangents)[1],
            "reverse over reverse": jax.grad(
                lambda *a: sum((g**2).sum() for g in gradients(*a)), (0, 1, 2)
            )(x, kernel, bias),
            "images": jax.vmap(gradients, (0, None, None))(jnp.stack([x, -x]), kernel, bias),
            "biases": jax.vmap(gradients, (None, None, 0))(x, kernel, biases),
            "members": jax.vmap(gradients, (None, 0, 0))(x, jnp.stack([kernel, -kernel]), biases),
            "scan": lax.scan(lambda c, b: (c, gradients(x, kernel, b)), 0, biases)[1],
            "remat": jax.grad(jax.checkpoint(loss), (0, 1, 2))(x, kernel, bias),
        }

    return jax.jit(run)


@pytest.mark.parametrize(
    "activation",
    [
        "relu",
        pytest.param(None, marks=pytest.mark.slow),
        pytest.param("leaky_relu", marks=pytest.mark.slow),
    ],
)
def test_every_derivative_and_transformation_equals_lax(form, activation):
    arguments = _arguments()
    actual = _everything(partial(_ours, activation=activation, stride=2))(*arguments)
    expected = _everything(partial(_theirs, activation=activation, stride=2))(*arguments)
    for name, value in expected.items():
        try:
            _close(actual[name], value, 5e-4)
        except AssertionError as error:
            raise AssertionError(name) from error


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu"])
def test_other_ranks_groups_and_many_images(form, activation, rank):
    x = _normal(0, 13, *(5, 4, 6)[:rank], 4)
    kernel, bias = _normal(1, *(3,) * rank, 2, 6), _normal(2, 6)

    def gradients(conv):
        loss = lambda *a: (jnp.sin(conv(*a)) ** 2).sum()  # noqa: E731
        return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(x, kernel, bias)

    def parts(x, kernel, bias):
        y = ops.conv(x, kernel, groups=2) + bias
        return {None: y, "relu": jax.nn.relu(y), "leaky_relu": jax.nn.leaky_relu(y, 0.2)}[
            activation
        ]

    _close(
        gradients(
            lambda x, k, b: ops.conv(x, k, groups=2, bias=b, activation=activation, slope=0.2)
        ),
        gradients(parts),
    )


def test_one_native_call_forward_and_one_for_both_parameters():
    if isinstance(native.library(), str):
        pytest.skip(native.library())
    loss = lambda *a: _ours(*a, activation="relu").sum()  # noqa: E731
    text = jax.jit(jax.value_and_grad(loss, (1, 2))).lower(*_arguments()).as_text()
    assert text.count("@jaxmed_conv_biased") == 1
    assert text.count("@jaxmed_conv_kernel_bias") == 1
    assert text.count("@jaxmed_conv(") == 0


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_what_is_not_a_number_stays_so(form, activation):
    x, kernel, bias = jax.device_get(_arguments())
    run = jax.jit(partial(_ours, activation=activation))

    def with_value(at, value):
        changed = x.copy()
        changed[at] = value
        return changed

    y = np.asarray(run(with_value((1, 2, 2, 0), np.nan), kernel, bias))
    expected = np.zeros(y.shape, bool)
    expected[1, 1:4, 1:4] = True
    np.testing.assert_array_equal(np.isnan(y), expected)
    y = np.asarray(run(with_value(0, np.inf), np.abs(kernel), bias))
    assert np.isposinf(y[0]).all()
    y = np.asarray(run(with_value(0, -np.inf), np.abs(kernel), bias))
    assert (y[0] == (0 if activation == "relu" else -np.inf)).all()


def test_derivative_at_zero_is_that_of_jax_nn(form):
    x, kernel, bias = _arguments()
    for activation in ("relu", "leaky_relu"):
        at_zero = [
            jax.grad(lambda b, f=f, a=activation: f(x, 0 * kernel, b, activation=a).sum())
            for f in (_ours, _theirs)
        ]
        _close(*jax.jit(lambda b: [gradient(b) for gradient in at_zero])(0 * bias))  # noqa: B023


def test_bfloat16_is_near_and_keeps_its_type(form):
    if form == "onednn" and not build.available("bfloat16"):
        pytest.skip("oneDNN has no fast bfloat16 kernel on this processor")
    arguments = _arguments(16)

    def run(arguments):
        y, pull = jax.vjp(partial(_ours, activation="relu"), *arguments)
        return y, *pull(jnp.ones_like(y))

    half = jax.jit(run)([a.astype(jnp.bfloat16) for a in arguments])
    assert {a.dtype for a in half} == {jnp.dtype(jnp.bfloat16)}
    full = jax.jit(run)([a.astype(jnp.bfloat16).astype(jnp.float32) for a in arguments])
    _close(half[0].astype(jnp.float32), full[0], 0.03)
    # Voxels near zero may fall on the other side, and each counts for one in the bias's gradient.
    _close(half[3].astype(jnp.float32), full[3], 0.03)


def test_activation_without_bias_and_bias_without_images():
    x, kernel, _ = _arguments()
    y = ops.conv(x, kernel, activation="relu")
    _close(y, jax.nn.relu(ops.conv(x, kernel)))
    empty = ops.conv(x[:0], kernel, bias=jnp.ones(4))
    assert empty.shape == (0, 5, 6, 4)
    cut = ops.conv(x, kernel, bias=jnp.ones(4), padding=-1)
    _close(cut, ops.conv(x[:, 1:-1, 1:-1], kernel, padding=0) + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": jnp.ones(3)}, r"bias is float32 \(3,\): expected float32 \(4,\)"),
        ({"bias": jnp.ones(4, jnp.bfloat16)}, "bias is bfloat16"),
        ({"activation": "gelu"}, "activation='gelu': expected relu, leaky_relu or None"),
        ({"activation": "leaky_relu", "slope": 0}, "slope=0: expected a positive number"),
    ],
)
def test_wrong_bias_and_activation_are_named(options, message):
    x, kernel, _ = _arguments()
    with pytest.raises(ValueError, match=message):
        ops.conv(x, kernel, **options)


@pytest.mark.devices(8)
def test_eight_devices_equal_one():
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Auto,))
    x, kernel, bias = _arguments(16)

    def loss(x, kernel, bias):
        return (jnp.sin(_ours(x, kernel, bias, activation="relu")) ** 2).mean()

    run = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    expected = run(x, kernel, bias)
    x = jax.device_put(x, NamedSharding(mesh, P("devices")))
    kernel, bias = jax.device_put((kernel, bias), NamedSharding(mesh, P()))
    _close(run(x, kernel, bias), expected)
    inside = jax.shard_map(
        lambda *a: lax.pmean(loss(*a), "devices"),
        mesh=mesh,
        in_specs=(P("devices"), P(), P()),
        out_specs=P(),
    )
    _close(jax.jit(jax.value_and_grad(inside, (0, 1, 2)))(x, kernel, bias), expected)
