"""Distance transform, components and morphology against SciPy."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from scipy import ndimage

from jaxmed import ops
from jaxmed.ops import _components as _components_file

# Few shapes, so that every example after the first of a shape runs a compiled program.
SHAPES = [(17,), (5, 1), (9, 14), (6, 4, 7)]
MASKS = st.tuples(
    st.sampled_from(SHAPES), st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.integers(0, 999)
)
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)

_distance = jax.jit(lambda mask, spacing: ops.distance_transform(mask, spacing=spacing))
_components = jax.jit(ops.connected_components, static_argnames="connectivity")
_morphology = jax.jit(
    lambda f, mask, **options: f(mask, **options),
    static_argnums=0,
    static_argnames=("connectivity", "iterations", "border_value"),
)


def _mask(case):
    shape, density, seed = case
    return np.random.default_rng(seed).random(shape) < density


@SETTINGS
@given(MASKS, st.sampled_from([1.0, 0.37, 5.0]))
def test_distance_equals_scipy(case, first):
    mask = _mask(case)
    spacing = np.array([first, 1.0, 2.5, 0.5], np.float32)[: mask.ndim]
    got = _distance(mask, spacing)
    if mask.all():
        assert np.isposinf(got).all()
    else:
        want = ndimage.distance_transform_edt(mask, sampling=spacing)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_distance_batches_defaults_and_extremes():
    masks = np.random.default_rng(0).random((3, 8, 5)) < 0.8
    got = jax.jit(jax.vmap(ops.distance_transform))(masks)
    want = [ndimage.distance_transform_edt(m) for m in masks]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    one = jax.jit(ops.distance_transform)
    assert np.isposinf(one(np.ones((3, 4)))).all()
    assert not np.any(one(np.zeros((3, 4))))
    # One zero in the corner of a long volume: the largest distances there are.
    far = np.ones((300, 4, 5, 2))
    far[0, 0, 0, 1] = 0
    want = ndimage.distance_transform_edt(far, sampling=(3, 1, 1, 1))
    far_off = jax.jit(partial(ops.distance_transform, spacing=(3, 1, 1, 1)))
    np.testing.assert_allclose(far_off(far), want, rtol=1e-6)


def _scipy_label(mask, connectivity):
    structure = ndimage.generate_binary_structure(mask.ndim, connectivity)
    return ndimage.label(mask, structure)


# What runs here (on a CPU with the extension: union-find in C++), and the form in plain JAX.
_pure_components = jax.jit(_components_file._pure, static_argnames="connectivity")
COMPONENTS = {"chosen": _components, "pure": _pure_components}


@pytest.mark.parametrize("form", COMPONENTS)
@SETTINGS
@given(MASKS, st.integers(1, 3))
def test_components_equal_scipy_label_for_label(form, case, connectivity):
    mask = _mask(case)
    connectivity = min(connectivity, mask.ndim)
    labels, count = COMPONENTS[form](mask, connectivity=connectivity)
    want, number = _scipy_label(mask, connectivity)
    assert int(count) == number
    np.testing.assert_array_equal(labels, want)


@pytest.mark.parametrize("form", COMPONENTS)
def test_components_follow_a_serpentine(form):
    snake = np.zeros((15, 16), bool)
    snake[::2] = True
    for row in range(1, 15, 2):
        snake[row, -1 if row % 4 == 1 else 0] = True
    labels, count = COMPONENTS[form](snake, connectivity=1)
    assert int(count) == 1
    np.testing.assert_array_equal(labels, snake)


def test_components_in_four_dimensions_and_of_any_number_type():
    mask = np.random.default_rng(0).random((3, 4, 3, 5)) < 0.3
    for connectivity in (1, 2, 4):
        labels, count = ops.connected_components(mask * 2.5, connectivity=connectivity)
        want, number = _scipy_label(mask, connectivity)
        assert int(count) == number
        np.testing.assert_array_equal(labels, want)


def test_components_of_batches_and_in_loops():
    masks = np.random.default_rng(0).random((2, 8, 6, 7)) < 0.4
    want = [_scipy_label(m, 1) for row in masks for m in row]
    labels, counts = jax.jit(jax.vmap(jax.vmap(ops.connected_components)))(masks)
    np.testing.assert_array_equal(labels.reshape(-1, 6, 7), [w for w, _ in want])
    np.testing.assert_array_equal(counts.ravel(), [n for _, n in want])
    rows = masks.reshape(-1, 6, 7)
    again, _ = jax.jit(lambda m: jax.lax.map(ops.connected_components, m))(rows)
    np.testing.assert_array_equal(again, labels.reshape(-1, 6, 7))
    empty, none = jax.vmap(ops.connected_components)(rows[:0])
    assert empty.shape == (0, 6, 7)
    assert none.shape == (0,)


@pytest.mark.devices(8)
def test_components_of_a_batch_spread_over_devices():
    masks = np.random.default_rng(0).random((8, 6, 7)) < 0.4
    want = [_scipy_label(m, 1)[0] for m in masks]
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(masks, NamedSharding(mesh, P("devices")))
    run = jax.vmap(ops.connected_components)
    np.testing.assert_array_equal(jax.jit(run)(spread)[0], want)
    inside = jax.shard_map(run, mesh=mesh, in_specs=P("devices"), out_specs=P("devices"))
    np.testing.assert_array_equal(jax.jit(inside)(spread)[0], want)
    # The form in plain JAX, which runs where nothing is compiled, by itself.
    pure = partial(_components_file._pure_batch, connectivity=1)
    inside = jax.shard_map(pure, mesh=mesh, in_specs=P("devices"), out_specs=P("devices"))
    np.testing.assert_array_equal(jax.jit(inside)(spread)[0], want)


@settings(max_examples=24, deadline=None, derandomize=True)
@given(
    st.tuples(
        st.sampled_from([(9, 14), (6, 4, 7)]), st.sampled_from([0.3, 0.6, 0.9]), st.integers(0, 99)
    ),
    st.integers(1, 2),
    st.integers(1, 2),
    st.booleans(),
)
def test_morphology_equals_scipy(case, connectivity, iterations, border):
    mask = _mask(case)
    options = {"connectivity": connectivity, "iterations": iterations}
    theirs = {
        "structure": ndimage.generate_binary_structure(mask.ndim, connectivity),
        "iterations": iterations,
    }
    for ours, scipys, extra in (
        (ops.binary_erode, ndimage.binary_erosion, {"border_value": border}),
        (ops.binary_dilate, ndimage.binary_dilation, {"border_value": border}),
        (ops.binary_open, ndimage.binary_opening, {}),
        (ops.binary_close, ndimage.binary_closing, {}),
    ):
        got = _morphology(ours, mask, **options, **extra)
        np.testing.assert_array_equal(got, scipys(mask, **theirs, **extra), err_msg=str(ours))


@pytest.mark.parametrize("shape", [(17,), (9, 14), (6, 4, 7)])
def test_fill_holes_equals_scipy(shape):
    fill = jax.jit(ops.binary_fill_holes)
    for seed, density in enumerate((0.1, 0.4, 0.6, 0.9)):
        mask = _mask((shape, density, seed))
        np.testing.assert_array_equal(fill(mask), ndimage.binary_fill_holes(mask))


def test_own_structure_need_not_be_symmetric_nor_hold_its_middle():
    mask = np.random.default_rng(3).random((9, 8)) < 0.6
    structure = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]])
    for ours, scipys in (
        (ops.binary_erode, ndimage.binary_erosion),
        (ops.binary_dilate, ndimage.binary_dilation),
    ):
        got = jax.jit(lambda m, f=ours: f(m, structure=structure))(mask)
        np.testing.assert_array_equal(got, scipys(mask, structure))


def test_errors_name_the_rule():
    mask = jnp.ones((4, 4))
    with pytest.raises(ValueError, match=r"spacing has shape \(3,\)"):
        ops.distance_transform(mask, spacing=(1, 1, 1))
    with pytest.raises(ValueError, match="must be positive"):
        ops.distance_transform(mask, spacing=(1, 0))
    with pytest.raises(ValueError, match="expected 1 to 2"):
        ops.connected_components(mask, connectivity=3)
    with pytest.raises(ValueError, match="axes of odd length"):
        ops.binary_erode(mask, structure=np.ones((2, 3)))
    with pytest.raises(ValueError, match="structure is empty"):
        ops.binary_erode(mask, structure=np.zeros((3, 3)))
