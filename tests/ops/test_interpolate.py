"""Linear interpolation: its two primitives, natively and in plain JAX, and their derivatives."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from jaxmed import ops
from jaxmed.ops import _interpolate as file

MODES = ("constant", "nearest", "reflect", "mirror", "wrap", "grid-wrap")
SHAPES = {1: (7,), 2: (5, 6), 3: (4, 5, 1)}


def _draw(seed, rank, *, images=2, points=40, channels=2):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(images, *SHAPES[rank], channels)).astype(np.float32)
    at = rng.uniform(-9, 14, size=(images, points, *(1,) * (rank - 1), rank)).astype(np.float32)
    at[:, ::3] = np.round(at[:, ::3])  # on voxels, borders included
    at[:, 1::3] = rng.uniform(0, np.array(SHAPES[rank]) - 1, size=at[:, 1::3].shape)
    return image, at


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_two_forms_agree_on_values_and_derivatives_and_are_adjoint(rank):
    image, at = _draw(rank, rank)
    sets = tuple(range(2**rank))

    @partial(jax.jit, static_argnums=(2, 3))
    def both(image, at, mode, native):
        read = file._read.bind if native else file._run_pure_read
        put = file._put.bind if native else file._run_pure_put
        values = read(image, at, sets=sets, mode=mode)
        back = put(jnp.cos(values), at, sets=sets, mode=mode, spatial=SHAPES[rank])
        tilt, slope = file._tilt.bind, file._slope.bind
        if not native:
            tilt, slope = file._run_pure_tilt, file._run_pure_slope
        tilted = tilt(image, jnp.sin(at), at, mode=mode)
        return values, back, tilted, slope(image, tilted, at, mode=mode)

    for mode in MODES:
        chosen, pure = (both(image, at, mode, native) for native in (True, False))
        for a, b in zip(chosen, pure, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=mode)
        values, back = map(np.asarray, chosen[:2])
        np.testing.assert_allclose(  # <read(x), y> = <x, put(y)>
            (values * np.cos(values)).sum(), (image * back).sum(), rtol=1e-4, err_msg=mode
        )


@pytest.mark.parametrize("mode", ["constant", "nearest", "reflect"])
def test_derivatives_of_both_orders_and_modes(mode):
    rng = np.random.default_rng(3)
    image = rng.normal(size=(4, 5, 2)).astype(np.float32)
    field = rng.uniform(0.2, 0.8, size=(4, 5, 2)).astype(np.float32)  # away from the kinks
    f = jax.jit(lambda x, u: jnp.sin(ops.warp(x, u, mode=mode)))
    check_grads(f, (image, field), order=2, modes=("fwd", "rev"), atol=3e-2, rtol=3e-2, eps=3e-3)


def test_a_field_is_differentiated_as_in_plain_jax():
    """The derivative of eight gathers and their weights, which XLA finds for itself."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(6, 7, 5, 3)).astype(np.float32)
    field = rng.normal(size=(6, 7, 5, 3)).astype(np.float32)
    seed = rng.normal(size=(6, 7, 5, 3)).astype(np.float32)

    def plain(image, field):
        x = ops.identity_grid(image.shape[:-1]) + field
        floor = jnp.floor(jax.lax.stop_gradient(x))
        t, total = x - floor, 0.0
        for corner in np.ndindex(2, 2, 2):
            at = floor.astype(int) + np.array(corner)
            inside = ((at >= 0) & (at < np.array(image.shape[:-1]))).all(-1, keepdims=True)
            value = jnp.where(inside, image[tuple(jnp.moveaxis(at, -1, 0))], 0)
            weight = jnp.where(np.array(corner) == 1, t, 1 - t).prod(-1, keepdims=True)
            total = total + weight * value
        return total

    @partial(jax.jit, static_argnums=0)
    def slopes(f, image, field):
        return jax.grad(lambda *p: (f(*p) * seed).sum(), argnums=(0, 1))(image, field)

    ours = slopes(lambda x, u: ops.warp(x, u, mode="grid-constant"), image, field)
    for a, b in zip(ours, slopes(plain, image, field), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4)


def test_batches_of_either_or_both_equal_a_loop():
    rng = np.random.default_rng(1)
    images = rng.normal(size=(3, 4, 5, 2)).astype(np.float32)
    fields = rng.normal(size=(3, 4, 5, 2)).astype(np.float32)

    def slopes(image, field):
        return jax.grad(lambda *p: (ops.warp(*p) ** 2).sum(), argnums=(0, 1))(image, field)

    one = jax.jit(slopes)
    for axes in ((0, 0), (0, None), (None, 0)):
        args = [a if axis == 0 else a[0] for a, axis in zip((images, fields), axes, strict=True)]
        got = jax.jit(jax.vmap(slopes, axes))(*args)
        want = [one(images[i * (axes[0] == 0)], fields[i * (axes[1] == 0)]) for i in range(3)]
        for a, b in zip(got, zip(*want, strict=True), strict=True):
            np.testing.assert_allclose(a, np.stack(b), rtol=1e-5, atol=1e-5)
    # The whole of a batch adds to the image that all share.
    shared = jax.jit(jax.grad(lambda x: (jax.vmap(ops.warp, (None, 0))(x, fields) ** 2).sum()))
    want = sum(one(images[0], field)[0] for field in fields)
    np.testing.assert_allclose(shared(images[0]), want, rtol=1e-5, atol=1e-5)


def test_many_points_are_added_in_parts_to_the_same_voxels():
    """Beyond 131,072 of them the native adjoint works in parts: of points in order, and in none."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(1, 150000, 1, 1)).astype(np.float32)
    shape = (64, 6, 4)
    put = partial(file._put.bind, sets=(0,), mode="nearest", spatial=shape)
    scattered = rng.uniform(0, [63, 5, 3], size=(150000, 3)).astype(np.float32)
    for at in (scattered, scattered[np.argsort(scattered[:, 0])]):
        got = np.asarray(jax.jit(put)(values, at.reshape(1, -1, 1, 1, 3)))[0, ..., 0]
        want = np.zeros(shape)
        floor = np.floor(at).astype(int)
        for corner in np.ndindex(2, 2, 2):
            place = np.minimum(floor + corner, np.array(shape) - 1)
            weight = np.where(np.array(corner) == 1, at - floor, 1 - (at - floor)).prod(-1)
            np.add.at(want, tuple(place.T), weight * values[0, :, 0, 0])
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-3)


def test_what_is_no_number_stays_none_and_far_points_are_read():
    image = jnp.arange(4.0)[:, None]
    at = jnp.array([[jnp.nan], [jnp.inf], [-1e30], [1e30], [2.5]])
    read = jax.jit(ops.resample, static_argnames=("mode", "cval"))
    np.testing.assert_array_equal(read(image, at)[:, 0], [0, 0, 0, 0, 2.5])
    np.testing.assert_array_equal(read(image, at, cval=7.0)[:, 0], [7, 7, 7, 7, 2.5])
    np.testing.assert_array_equal(read(image, at, mode="nearest")[:, 0], [np.nan, 3, 0, 3, 2.5])
    whole = read(jnp.arange(4)[:, None] * (1 + 1j), at[4:])
    np.testing.assert_allclose(whole[:, 0], [2.5 + 2.5j])


@pytest.mark.devices(4)
def test_images_divided_among_devices():
    mesh = jax.make_mesh((4,), ("devices",), (AxisType.Auto,), devices=jax.devices()[:4])
    rng = np.random.default_rng(4)
    images = rng.normal(size=(4, 4, 5, 1)).astype(np.float32)
    fields = rng.normal(size=(4, 4, 5, 2)).astype(np.float32)

    def slopes(images, fields):
        return jax.grad(lambda *p: (jax.vmap(ops.warp)(*p) ** 2).sum(), argnums=(0, 1))(
            images, fields
        )

    want = jax.jit(slopes)(images, fields)
    put = lambda a: jax.device_put(a, NamedSharding(mesh, P("devices")))  # noqa: E731
    specs = {"in_specs": P("devices"), "out_specs": P("devices")}
    inside = jax.jit(jax.shard_map(slopes, mesh=mesh, **specs))
    for got in (jax.jit(slopes)(put(images), put(fields)), inside(put(images), put(fields))):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_dozens_of_points_of_a_plane_are_read_as_in_plain_jax(channels):
    """Many in a row within, beyond and upon the border: native loops take those together."""
    rng = np.random.default_rng(5)
    image = rng.normal(size=(1, 17, 33, channels)).astype(np.float32)
    at = rng.uniform(0, [16, 32], size=(5 * 32 + 7, 2))
    at[32:64] = rng.uniform(-9, 40, size=(32, 2))  # some of a dozen are outside
    at[64:96] = np.round(at[64:96])
    at[64:68] = [[16, 32], [0, 0], [16, 3], [4, 32]]
    at[96:100] = [[-5e-5, 4], [16.00005, 5], [1e9, -1e9], [np.nan, 3]]
    at[128:160] += 100  # all are
    points = at.astype(np.float32)[None, :, None]
    for mode in MODES:
        if mode not in ("constant", "nearest"):
            points = np.clip(np.nan_to_num(points), -50, 90)
        native = jax.jit(partial(file._read.bind, sets=(0,), mode=mode))(image, points)
        pure = jax.jit(partial(file._run_pure_read, sets=(0,), mode=mode))(image, points)
        np.testing.assert_allclose(native, pure, rtol=1e-5, atol=1e-5, err_msg=mode)
        # What stands beside a point does not matter.
        one = jax.jit(jax.vmap(partial(file._read.bind, sets=(0,), mode=mode), (None, 1), 1))
        alone = one(image, points[:, :, None])
        np.testing.assert_allclose(native, alone[:, :, 0], rtol=1e-5, atol=1e-5, err_msg=mode)


@pytest.mark.parametrize("shape", [(13,), (19, 37), (5, 9, 11)])
def test_a_displacement_is_read_where_its_points_are(shape):
    rng = np.random.default_rng(6)
    out = tuple(n + 3 for n in shape)  # the field's own grid, and not the image's
    image = rng.normal(size=(*shape, 2)).astype(np.float32)
    field = (3 * rng.normal(size=(*out, len(shape)))).astype(np.float32)

    @partial(jax.jit, static_argnums=(2, 3))
    def both(image, field, mode, moved):
        def move(x, u):
            if moved:
                return ops.warp(x, u, mode=mode)
            return ops.resample(x, ops.identity_grid(out) + u, mode=mode)

        value, back = jax.vjp(move, image, field)
        _, along = jax.jvp(move, (image, field), (jnp.cos(image), jnp.sin(field)))
        return value, along, *back(jnp.cos(value))

    for mode in ("constant", "nearest", "reflect"):
        for a, b in zip(both(image, field, mode, True), both(image, field, mode, False)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=mode)
