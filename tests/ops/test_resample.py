from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import ndimage

from jaxmed import ops

ORDER = {"nearest": 0, "linear": 1, "cubic": 3}
MODES = ("constant", "grid-constant", "nearest", "reflect", "mirror", "wrap", "grid-wrap")
_resample = jax.jit(ops.resample, static_argnames=("method", "mode", "cval"))
SHAPES = {1: (7,), 2: (5, 6), 3: (4, 5, 3)}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.integers(1, 3), st.sampled_from(sorted(ORDER)), st.sampled_from(MODES), st.integers(0, 9999)
)
def test_resample_equals_scipy_in_every_mode(ndim, method, mode, seed):
    rng = np.random.default_rng(seed)
    shape = SHAPES[ndim]
    image = rng.normal(size=(*shape, 2)).astype(np.float32)
    # Far outside too, and never on the exact half where the two could round differently.
    points = rng.uniform(-12, 18, size=(40, ndim)).astype(np.float32)
    points[:20] = rng.uniform(0, np.array(shape) - 1, size=(20, ndim))
    got = _resample(image, points, method=method, mode=mode, cval=1.5)
    want = np.stack(
        [
            ndimage.map_coordinates(
                image[..., c].astype(float), points.T, order=ORDER[method], mode=mode, cval=1.5
            )
            for c in range(2)
        ],
        -1,
    )
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-4)


def test_every_pair_of_method_and_mode_agrees_on_one_grid():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(6, 5, 1)).astype(np.float32)
    points = rng.uniform(-3, 8, size=(50, 2)).astype(np.float32)
    for mode in MODES:
        for method, order in ORDER.items():
            got = np.asarray(_resample(image, points, method=method, mode=mode, cval=-2.0))[:, 0]
            want = ndimage.map_coordinates(
                image[..., 0].astype(float), points.T, order=order, mode=mode, cval=-2.0
            )
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=f"{method} {mode}")


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_gradients_in_image_and_coordinates(method):
    image = jax.random.normal(jax.random.key(0), (5, 6, 1))
    points = jax.random.uniform(jax.random.key(1), (8, 2), minval=0.1, maxval=3.9)
    points = jnp.floor(points) + 0.2 + 0.6 * (points % 1)  # away from the kinks

    @jax.jit
    def f(image, points):
        return ops.resample(image, points, method=method, mode="reflect")

    check_grads(f, (image, points), order=1, modes=("fwd", "rev"), atol=2e-2, rtol=2e-2, eps=1e-2)


def test_warp_by_a_whole_voxel_shifts_and_labels_survive():
    labels = np.arange(12, dtype=np.int32).reshape(3, 4, 1)
    nearest = jax.jit(lambda x, u: ops.warp(x, u, method="nearest", mode="nearest"))
    moved = np.asarray(nearest(labels, np.ones((3, 4, 2))))
    assert moved.dtype == labels.dtype
    np.testing.assert_array_equal(moved[:2, :3, 0], labels[1:, 1:, 0])
    batch = np.stack([labels, labels + 1])
    field = np.stack([np.zeros((3, 4, 2)), np.ones((3, 4, 2))])
    both = jax.jit(jax.vmap(lambda x, u: ops.warp(x, u, mode="nearest")))(batch, field)
    both = np.asarray(both)
    np.testing.assert_allclose(both[0], labels)
    np.testing.assert_allclose(both[1][:2, :3], labels[1:, 1:] + 1)


def test_affine_equals_scipy_and_the_identity_keeps_the_edges():
    image = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
    matrix = np.array([[0.9, 0.1, 0, 0.3], [-0.1, 1.1, 0.05, -0.2], [0, 0.2, 0.8, 0.4]])
    affine_grid = jax.jit(ops.affine_grid, static_argnums=1, static_argnames="center")
    grid = affine_grid(matrix, (5, 5, 5))
    want = ndimage.affine_transform(
        image.astype(float), matrix[:, :3], matrix[:, 3], (5, 5, 5), order=1, mode="reflect"
    )
    got = np.asarray(_resample(image[..., None], grid, mode="reflect"))[..., 0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    about = np.asarray(affine_grid(0.5 * np.eye(2), (5, 3), center="center"))
    np.testing.assert_allclose(about[2, 1], [2, 1])
    np.testing.assert_allclose(about[0, 0], [1, 0.5])
    turned = affine_grid(np.eye(3) * (1 + 1e-7), (6, 5, 4), center="center")
    same = np.asarray(_resample(image[..., None], turned, cval=99.0))[..., 0]
    np.testing.assert_allclose(same, image, atol=1e-5)


def test_shape_errors_name_the_shape():
    image = jnp.ones((4, 4, 1))
    with pytest.raises(ValueError, match=r"coordinates must be \(\*out, 2\).*got \(5, 3\)"):
        ops.resample(image, jnp.ones((5, 3)))
    with pytest.raises(ValueError, match="mode='zero'"):
        ops.resample(image, jnp.ones((5, 2)), mode="zero")
    with pytest.raises(ValueError, match="method='lanczos'"):
        ops.resample(image, jnp.ones((5, 2)), method="lanczos")
    with pytest.raises(ValueError, match=r"displacement must be \(\*spatial, 2\)"):
        ops.warp(image, jnp.ones((4, 4, 3)))
    with pytest.raises(ValueError, match=r"matrix has shape \(2, 4\)"):
        ops.affine_grid(jnp.ones((2, 4)), (4, 4))


def test_gaussian_blur_equals_scipy_for_short_and_long_axes():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 9, 340, 2)).astype(np.float32)
    for mode in ("reflect", "constant", "nearest", "mirror", "wrap"):
        blur = jax.jit(lambda x, mode=mode: ops.gaussian_blur(x, (1.0, 2.5), mode=mode, cval=0.7))
        got = blur(image)
        want = ndimage.gaussian_filter(image.astype(float), (0, 1.0, 2.5, 0), mode=mode, cval=0.7)
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=mode)
    np.testing.assert_array_equal(ops.gaussian_blur(image, 0.0), image)
    # A filter far wider than the image.
    flat = jax.jit(lambda x: ops.gaussian_blur(x, 30.0))(image[:, :, :20])
    want = ndimage.gaussian_filter(image[:, :, :20].astype(float), (0, 30, 30, 0))
    np.testing.assert_allclose(flat, want, atol=1e-5)


def test_gaussian_blur_with_a_drawn_sigma():
    image = jax.random.normal(jax.random.key(0), (1, 12, 3))
    blur = jax.jit(lambda x, s: ops.gaussian_blur(x, s, radius=6))
    fixed = jax.jit(lambda x: ops.gaussian_blur(x, 1.5))
    np.testing.assert_allclose(blur(image, 1.5), fixed(image), atol=1e-6)
    np.testing.assert_allclose(blur(image, 0.0), image, atol=1e-6)
    slope = jax.jit(jax.grad(lambda s: (blur(image, s) ** 2).sum()))
    assert float(slope(1.5)) < 0
    assert np.isfinite(slope(0.0))
    with pytest.raises(ValueError, match="pass radius="):
        jax.jit(ops.gaussian_blur)(image, 1.5)
    with pytest.raises(ValueError, match="not negative"):
        ops.gaussian_blur(image, -1.0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.integers(1, 16),
    st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_windows_cover_every_voxel_and_overlap_enough(shape, window, overlap):
    starts = ops.sliding_windows(shape, window, overlap=overlap)
    covered = np.zeros(shape, int)
    for start in starts:
        assert all(0 <= s <= max(n - window, 0) for s, n in zip(start, shape))
        covered[tuple(slice(s, s + window) for s in start)] += 1
    assert covered.min() >= 1
    for axis in range(len(shape)):
        steps = np.diff(np.unique(starts[:, axis]))
        assert (steps <= max(window * (1 - overlap), 1) + 1).all()
    assert len(np.unique(starts, axis=0)) == len(starts)


def test_window_importance_peaks_in_the_middle_and_is_positive():
    weights = ops.window_importance((8, 5))
    assert weights.shape == (8, 5)
    assert weights.max() == 1
    assert weights.min() > 0
    assert weights[4, 2] == 1
    np.testing.assert_allclose(weights, weights[::-1, ::-1], rtol=1e-6)
    with pytest.raises(ValueError, match=r"overlap=1\.0"):
        ops.sliding_windows((4,), 2, overlap=1.0)
    with pytest.raises(ValueError, match="kind='box'"):
        ops.window_importance((4,), kind="box")


def test_window_sum_equals_scipy_and_is_its_own_transpose():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2, 9, 7, 5, 1)).astype(np.float32)
    total = jax.jit(lambda x: ops.window_sum(x, (3, 7, 1)))
    want = ndimage.convolve(x.astype(float), np.ones((1, 3, 7, 1, 1)), mode="constant")
    np.testing.assert_allclose(total(x), want, rtol=1e-5, atol=1e-5)
    back = jax.jit(jax.grad(lambda x: (total(x) * y).sum()))(x)
    np.testing.assert_allclose(back, total(y), rtol=1e-5, atol=1e-5)
    tangent = jax.jit(lambda x, y: jax.jvp(total, (x,), (y,))[1])(x, y)
    np.testing.assert_allclose(tangent, total(y), rtol=1e-5, atol=1e-5)
    wide = jax.jit(jax.vmap(lambda x: ops.window_sum(x, 21)))(x[None])
    np.testing.assert_allclose(
        wide[0], np.broadcast_to(x.sum((1, 2, 3, 4), keepdims=True), x.shape), rtol=1e-4, atol=1e-4
    )
    # Far from 0: each window is added up for itself.
    far = 1e4 + np.zeros((1, 4000, 1), np.float32)
    far[0, 0] = 1e7
    np.testing.assert_array_equal(ops.window_sum(far, 5)[0, 3:-2, 0], 5e4)
    with pytest.raises(ValueError, match="odd lengths"):
        ops.window_sum(x, 4)
