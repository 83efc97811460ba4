from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxmed import augment

KEY = jax.random.key(1)
RNG = np.random.default_rng(0)
IMAGE = RNG.gamma(2, size=(6, 18, 15, 2)).astype(np.float32)
STEPS = {
    "bias_field": augment.bias_field,
    "blur": augment.blur,
    "brightness": augment.brightness,
    "contrast": augment.contrast,
    "cutout": augment.cutout,
    "gamma": augment.gamma,
    "low_resolution": augment.low_resolution,
    "noise": augment.noise,
}


def run(view, image=IMAGE):
    return np.asarray(view(KEY, {"image": image})["image"])


@pytest.mark.parametrize("name", STEPS)
def test_every_step_keeps_shape_and_dtype_and_is_taken_with_probability_p(name):
    image = np.tile(IMAGE[:1, :8, :8], (60, 1, 1, 1))
    out = run(STEPS[name](p=0.5), image)
    assert out.shape == image.shape
    assert out.dtype == np.float32
    assert np.all(np.isfinite(out))
    changed = (out != image).any(axis=(1, 2, 3))
    assert 15 < changed.sum() < 45
    assert len(np.unique(out[changed].reshape(changed.sum(), -1), axis=0)) > 5


def test_brightness_contrast_and_gamma_by_their_formulas():
    out = run(augment.brightness(0.4))
    shift = (out - IMAGE) / IMAGE.std(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(shift, shift[:, :1, :1, :1] * np.ones_like(shift), atol=1e-5)
    assert 0.1 < abs(shift).max() < 0.4
    out = run(augment.contrast((0.5, 0.9)))
    mean = IMAGE.mean(axis=(1, 2, 3), keepdims=True)
    factor = (out - mean) / (IMAGE - mean)
    np.testing.assert_allclose(factor.std(axis=(1, 2, 3)), 0, atol=1e-2)
    assert np.all((np.median(factor, axis=(1, 2, 3)) > 0.5) & (factor.mean() < 0.9))
    low, high = (f(IMAGE, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    unit, out = (IMAGE - low) / (high - low), (run(augment.gamma((0.5, 2.0))) - low) / (high - low)
    inside = (unit > 0.05) & (unit < 0.95)
    power = np.log(np.where(inside, out, 0.5)) / np.log(np.where(inside, unit, 0.5))
    for each, within in zip(power, inside, strict=True):
        np.testing.assert_allclose(each[within], each[within].mean(), rtol=1e-3)
        assert 0.5 < each[within].mean() < 2
    kept = run(augment.gamma((2.0, 2.0), retain=True, invert=True))
    np.testing.assert_allclose(kept.mean((1, 2, 3)), IMAGE.mean((1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(kept.std((1, 2, 3)), IMAGE.std((1, 2, 3)), rtol=1e-4)


def test_channels_may_draw_for_themselves():
    shift = run(augment.brightness(per_channel=True)) - IMAGE
    assert (abs(shift[:, 0, 0, 0] - shift[:, 0, 0, 1]) > 1e-3).any()
    shift = run(augment.brightness()) - IMAGE
    np.testing.assert_allclose(shift[..., 0], shift[..., 1], atol=1e-5)


def test_noise_is_in_units_of_the_image():
    image = 100 * RNG.normal(size=(4, 60, 60, 1)).astype(np.float32)
    added = run(augment.noise((0.2, 0.2)), image) - image
    np.testing.assert_allclose(added.std((1, 2, 3)), 20, rtol=0.05)
    np.testing.assert_allclose(added.mean((1, 2, 3)), 0, atol=2)


def test_blur_is_scipys():
    out = run(augment.blur((0.8, 0.8)))
    expected = ndimage.gaussian_filter(IMAGE, (0, 0.8, 0.8, 0), mode="nearest", radius=3)
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_the_bias_field_is_smooth_and_positive():
    field = np.log(run(augment.bias_field(0.3), np.stack([flat()] * 20))[:, 1:])
    assert 0.08 < field.std() < 0.35
    assert abs(np.diff(field, n=2, axis=1)).max() < 0.02
    assert abs(np.diff(field, n=2, axis=2)).max() < 0.02


def flat():
    image = np.ones((40, 40, 1), np.float32)
    image[0] = 0
    return image


def test_half_precision_is_kept():
    every = augment.chain(*[make() for make in STEPS.values()])
    assert run(every, jnp.asarray(IMAGE[:1, :8, :8], jnp.bfloat16)).dtype == jnp.bfloat16


def test_low_resolution_is_linear_between_every_other_voxel():
    line = RNG.normal(size=(1, 12, 1)).astype(np.float32)
    out = run(augment.low_resolution((2.0, 2.0)), line)[0, :, 0]
    coarse = line[0, 1::2, 0]  # the voxel in which the centre of each pair falls
    at = np.clip((np.arange(12) + 0.5) / 2 - 0.5, 0, 5)
    np.testing.assert_allclose(out, np.interp(at, np.arange(6), coarse), atol=1e-5)


def test_cutout_fills_boxes_with_the_mean_and_leaves_masks():
    mask = RNG.integers(0, 2, IMAGE.shape[:-1])
    out = augment.cutout((0.3, 0.5))(KEY, {"image": IMAGE, "mask": mask})
    np.testing.assert_array_equal(out["mask"], mask)
    for image, made in zip(IMAGE, np.asarray(out["image"]), strict=True):
        hole = (image != made).any(-1)
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == len(rows) * len(columns)
        assert 5 <= len(rows) <= 9
        assert 4 <= len(columns) <= 8
        np.testing.assert_allclose(made[hole], image.mean((0, 1)) * np.ones((hole.sum(), 1)), 1e-5)


@pytest.mark.parametrize("name", ["weak", "strong", "segmentation"])
def test_presets_are_one_program_for_2d_and_3d(name):
    options = {"deform": 0.03, "bias": 0.2} if name == "segmentation" else {}
    view = getattr(augment, name)(**options)
    shape = {"weak": (9, 8, 8), "strong": (12, 12), "segmentation": (9, 8, 10)}[name]
    batch = {
        "image": RNG.random((4, *shape, 1), np.float32),
        "mask": RNG.integers(0, 3, (4, *shape)),
        "label": np.arange(4),
    }
    jitted = jax.jit(view)
    out = jitted(KEY, batch)
    assert jax.tree.map(jnp.shape, out) == jax.tree.map(jnp.shape, batch)
    assert np.all(np.isfinite(out["image"]))
    assert set(np.unique(out["mask"])) <= {0, 1, 2}
    np.testing.assert_array_equal(out["label"], batch["label"])
    jitted(jax.random.key(7), batch)
    assert jitted._cache_size() == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: augment.gamma((0, 1)),
        lambda: augment.contrast((2, 1)),
        lambda: augment.low_resolution((0.5, 1)),
        lambda: augment.noise(p=-1),
        lambda: augment.bias_field(knots=3),
        lambda: augment.noise()(KEY, {"image": np.ones((1, 4, 4, 1), np.int32)}),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match=r"least|probability|at least 4|floating"):
        make()
