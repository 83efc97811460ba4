"""One device equals eight, and the native call is divided instead of gathered."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxmed import ops
from jaxmed.ops.convolution import _native as native

pytestmark = pytest.mark.devices(8)


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Auto,))


def _loss(x, kernel):
    return (jnp.sin(ops.conv(x, kernel)) ** 2).mean()


def _close(actual, expected):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), actual, expected)


@pytest.mark.parametrize("form", ["pure", "auto"])
def test_images_over_devices(mesh, form):
    x = jax.random.normal(jax.random.key(0), (16, 6, 6, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))
    with ops.config(conv=form):
        run = jax.jit(jax.value_and_grad(_loss, (0, 1)))
        expected = run(x, kernel)
        x = jax.device_put(x, NamedSharding(mesh, P("devices")))
        kernel = jax.device_put(kernel, NamedSharding(mesh, P()))
        actual = run(x, kernel)
        _close(actual, expected)
        assert actual[1][0].sharding.spec == P("devices")
        assert actual[1][1].sharding.is_fully_replicated
        text = run.lower(x, kernel).compile().as_text()
        assert "all-gather(" not in text
        # Fewer images than devices, or not a multiple of them: right all the same.
        few = jax.random.normal(jax.random.key(2), (3, 6, 6, 2))
        _close(run(jax.device_put(few, NamedSharding(mesh, P())), kernel), run(few, kernel))

        inside = jax.shard_map(
            lambda x, k: jax.lax.pmean(_loss(x, k), "devices"),
            mesh=mesh,
            in_specs=(P("devices"), P()),
            out_specs=P(),
        )
        _close(jax.jit(jax.value_and_grad(inside, (0, 1)))(x, kernel), expected)


def test_members_over_devices(mesh):
    x = jax.random.normal(jax.random.key(0), (4, 6, 6, 2))
    kernels = jax.random.normal(jax.random.key(1), (8, 3, 3, 2, 4))
    run = jax.jit(jax.vmap(jax.value_and_grad(_loss, 1), (None, 0)))
    expected = run(x, kernels)
    divided = jax.device_put(kernels, NamedSharding(mesh, P("devices")))
    everywhere = jax.device_put(x, NamedSharding(mesh, P()))
    _close(run(everywhere, divided), expected)
    if not isinstance(native.library(), str):
        text = run.lower(everywhere, divided).compile().as_text()
        assert "all-gather(" not in text
        assert "jaxmed_conv" in text


def test_images_and_members_over_a_mesh_of_both():
    mesh = jax.make_mesh((2, 4), ("members", "images"), axis_types=(AxisType.Auto,) * 2)
    xs = jax.random.normal(jax.random.key(0), (2, 8, 6, 6, 2))
    kernels = jax.random.normal(jax.random.key(1), (2, 3, 3, 2, 4))
    run = jax.jit(jax.vmap(jax.value_and_grad(_loss, (0, 1))))
    expected = run(xs, kernels)
    xs = jax.device_put(xs, NamedSharding(mesh, P("members", "images")))
    kernels = jax.device_put(kernels, NamedSharding(mesh, P("members")))
    _close(run(xs, kernels), expected)
