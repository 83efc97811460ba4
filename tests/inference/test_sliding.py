"""Windows over an image, and mirror images."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.inference import mirrored, sliding_window

SUMS = pytest.mark.parametrize("accumulate", ["host", "device"])


@SUMS
@pytest.mark.parametrize(
    ("shape", "window"), [((13, 9), (6, 5)), ((7, 11, 6), (4, 6, 8)), ((3, 4), (8, 8))]
)
def test_a_voxelwise_function_is_the_same_in_windows(shape, window, accumulate):
    image = np.random.default_rng(0).normal(size=(*shape, 2)).astype(np.float32)
    seen = []

    def predict(batch):
        seen.append(batch.shape)
        return np.concatenate([batch**2, batch[..., :1]], -1)

    found = sliding_window(predict, image, window, size=3, accumulate=accumulate)
    np.testing.assert_allclose(found[..., :2], image**2, rtol=1e-6)
    np.testing.assert_allclose(found[..., 2], image[..., 0], rtol=1e-6)
    assert set(seen) == {(3, *window, 2)}  # one shape, so one compiled program


@SUMS
def test_overlapping_windows_are_averaged_by_importance(accumulate):
    number = iter([1.0, 2.0])
    found = sliding_window(
        lambda batch: np.full(batch.shape, next(number)),
        np.zeros((6, 1)),
        (4,),
        size=1,
        accumulate=accumulate,
    )[:, 0]
    # Windows at 0 and 2: voxels 2 and 3 are the third and fourth of one, first and second of the
    # other; sigma is half a voxel.
    g = np.maximum(np.exp(-0.5 * ((np.arange(4) - 1.5) / 0.5) ** 2) / np.exp(-0.5), 1e-3)
    middle = (g[2:] * 1 + g[:2] * 2) / (g[2:] + g[:2])
    np.testing.assert_allclose(found, [1, 1, *middle, 2, 2], rtol=1e-5)


def test_a_small_image_lies_in_the_middle_of_its_window():
    found = sliding_window(lambda x: x, np.ones((2, 1)), (5,), value=7.0)
    assert found.ravel().tolist() == [1, 1]
    kept = []
    sliding_window(lambda x: kept.append(x) or x, np.ones((2, 1)), (5,), value=7.0, size=1)
    assert kept[0].ravel().tolist() == [7, 1, 1, 7, 7]


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"2 spatial axes, got the shape \(4, 4, 4, 1\)"):
        sliding_window(lambda x: x, np.zeros((4, 4, 4, 1)), (2, 2))
    with pytest.raises(ValueError, match="to the same voxels"):
        sliding_window(lambda x: x[:, 1:], np.zeros((4, 1)), (2,))
    with pytest.raises(ValueError, match="to the same voxels"):
        sliding_window(lambda x: x[:, 1:], np.zeros((4, 1)), (2,), accumulate="device")
    with pytest.raises(ValueError, match=r"accumulate must be .* got 'gpu'"):
        sliding_window(lambda x: x, np.zeros((4, 1)), (2,), accumulate="gpu")
    with pytest.raises(ValueError, match="at least 1 window"):
        sliding_window(lambda x: x, np.zeros((4, 1)), (2,), size=0)


def test_mirrored_is_blind_to_mirroring():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 1)), jnp.float32)
    image = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 5, 1)), jnp.float32)
    f = mirrored(lambda x: x * weights, (0, 1))
    for axes in ((1,), (2,), (1, 2)):
        turned = jnp.flip(f(jnp.flip(image, axes)), axes)
        np.testing.assert_allclose(turned, f(image), rtol=1e-5, atol=1e-6)
    by_hand = sum(jnp.flip(weights, axes) for axes in ((), (0,), (1,), (0, 1))) / 4
    np.testing.assert_allclose(f(image), image * by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [(2,), (0, 0), (-1,)])
def test_mirrored_refuses_axes_that_are_not_there(axes):
    with pytest.raises(ValueError, match="axes"):
        mirrored(lambda x: x, axes)(jnp.zeros((1, 4, 4, 1)))
