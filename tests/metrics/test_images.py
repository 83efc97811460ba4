"""Likeness of images against scikit-image and, where it is there, pytorch-msssim."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from jaxmed import losses, metrics, quantities


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    x = rng.random((2, 40, 33, 3))
    return x, np.clip(x + 0.2 * rng.normal(size=x.shape), 0, 1)


def by_others(x, y, data_range=1.0):
    return structural_similarity(
        x, y, data_range=data_range, channel_axis=-1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip


def test_ssim_is_scikit_images(images):
    x, y = images
    want = [by_others(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(quantities.ssim(x, y, data_range=1.0), want, rtol=1e-10)
    assert metrics.evaluate(metrics.ssim(data_range=1.0), y, x) == pytest.approx(np.mean(want))
    found = losses.ssim(y.astype(np.float32), x.astype(np.float32), data_range=1.0)
    np.testing.assert_allclose(1 - np.asarray(found), want, rtol=1e-5)
    volume = np.random.default_rng(1).random((2, 14, 16, 12, 1))
    want = by_others(*volume)
    assert quantities.ssim(*volume[:, None], data_range=1.0)[0] == pytest.approx(want, rel=1e-10)


def test_psnr_is_scikit_images(images):
    x, y = images
    want = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(quantities.psnr(x, y, data_range=1.0), want, rtol=1e-12)
    assert metrics.evaluate(metrics.psnr(data_range=1.0), x, x) == np.inf


def test_ms_ssim_is_a_product_over_scales(images):
    x, y = (image[:, :40, :32] for image in images)
    space = (1, 2)
    _, fine = quantities._images._parts(x, y, 1.0)
    halves = [a.reshape(2, 20, 2, 16, 2, 3).mean((2, 4)) for a in (x, y)]
    coarse = quantities.ssim_map(*halves, data_range=1.0)
    first, second = np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)
    want = (fine.mean(space) ** first * coarse.mean(space) ** second).mean(-1)
    found = quantities.ms_ssim(x, y, data_range=1.0, scales=2)
    np.testing.assert_allclose(found, want, rtol=1e-12)
    single = quantities.ms_ssim(x, y, data_range=1.0, scales=1)
    np.testing.assert_allclose(single, quantities.ssim(x, y, data_range=1.0), rtol=1e-12)


def test_ms_ssim_is_pytorch_msssims():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("pytorch_msssim")
    rng = np.random.default_rng(0)
    x = rng.random((2, 176, 192, 2))
    y = np.clip(x + 0.1 * rng.normal(size=x.shape), 0, 1)
    a, b = (torch.tensor(np.moveaxis(z, -1, 1)) for z in (x, y))
    want = theirs.ms_ssim(a, b, data_range=1.0, size_average=False).numpy()
    np.testing.assert_allclose(quantities.ms_ssim(x, y, data_range=1.0), want, rtol=1e-5)


def test_images_far_from_0_keep_their_digits():
    """In float32, variances of values near 1000 would be lost in squares."""
    x = 1000 + np.random.default_rng(0).random((1, 16, 16, 1))
    y = x + 0.3 * np.random.default_rng(1).normal(size=x.shape)
    want = quantities.ssim(x, y, data_range=1.0)
    found = jax.jit(lambda a, b: losses.ssim(a, b, data_range=1.0))(
        y.astype(np.float32), x.astype(np.float32)
    )
    np.testing.assert_allclose(1 - np.asarray(found), want, atol=2e-3)


def test_windows_that_are_not_known_whole_do_not_count(images):
    x, y = images
    known = np.ones(x.shape[:3])
    known[:, :12] = 0
    dirty = np.where(known[..., None] > 0, y, np.nan)
    found = losses.ssim(dirty, x, data_range=1.0, where=known)
    alone = losses.ssim(y[:, 12:], x[:, 12:], data_range=1.0)
    np.testing.assert_allclose(found, alone, rtol=1e-3)


def test_what_cannot_be_measured_is_refused(images):
    x, y = images
    for metric, told in (
        (metrics.ms_ssim(data_range=1.0), "have room for 2 scale\\(s\\), not 5: give scales=2"),
        (metrics.ssim(data_range=1.0), None),
    ):
        if told:
            with pytest.raises(ValueError, match=told):
                metrics.evaluate(metric, x, y)
        with pytest.raises(ValueError, match="smaller than its window, 11 voxels"):
            metrics.evaluate(metric, x[:, :10], y[:, :10])
    with pytest.raises(ValueError, match="must have one shape"):
        metrics.evaluate(metrics.psnr(data_range=1.0), x, y[:1])
    with pytest.raises(ValueError, match="data_range=0"):
        metrics.ssim(data_range=0)
    with pytest.raises(ValueError, match="scales=6; it must be 1 to 5"):
        metrics.ms_ssim(data_range=1.0, scales=6)
    with pytest.raises(ValueError, match="11 voxels or more"):
        losses.ssim(x[:, :10], y[:, :10], data_range=1.0)
    with pytest.raises(ValueError, match="data_range=-1"):
        losses.ssim(x, y, data_range=-1)
