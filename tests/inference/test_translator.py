"""Images made of images: in their own space, by windows and by slices, kept on disk."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import inference
from jaxmed.core import Network
from jaxmed.data import Scan, Space, write_image
from jaxmed.inference import TranslationRecipe, translate, translator


def sums(gain=1.0):
    """A network of one channel, the sum of the input's, in any rank."""

    def apply(params, state, x, **_):
        return {"logits": gain * x.sum(-1, keepdims=True)}, state

    return Network(lambda key, x: ({}, {}), apply)


def scan_of(shape, channels=2, affine=None):
    rank = len(shape)
    array = np.random.default_rng(0).normal(size=(*shape, channels)).astype(np.float32)
    affine = np.eye(rank + 1) if affine is None else affine
    return Scan(array, affine, Space(tuple(shape), affine))


def made_by(patch, **options):
    recipe = TranslationRecipe(("pre", "post"), ("flair",), patch, sums(), **options)
    return translator(recipe, {}, {})


@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 7)])
def test_windows_of_any_image_give_the_sum(shape):
    scan = scan_of(shape)
    model = made_by((6,) * len(shape), normalisation="linear", scale=(2.0, 1.0))
    made = translate(model, scan)
    np.testing.assert_allclose(made.array[..., 0], 2 * scan.array.sum(-1) + 1, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_network_of_pictures_reads_a_volume_slice_by_slice(axis):
    scan = scan_of((7, 8, 9))
    made = translate(made_by((7, 7)), scan, axis=axis)
    assert made.array.shape == (7, 8, 9, 1)
    for i in (0, 4):
        alone = np.take(scan.array, i, axis)
        want = translate(made_by((7, 7)), scan_of(alone.shape[:2])._replace(array=alone))
        np.testing.assert_allclose(np.take(made.array, i, axis), want.array, rtol=1e-5, atol=1e-6)


def test_what_is_made_lies_on_the_files_grid():
    """A scan that was turned, at another voxel size than that of training."""
    affine = np.diag([-2.0, 2, 2, 1])
    affine[:3, 3] = 10, -4, 3
    file = Space((8, 10, 6), affine)
    array = np.indices(file.shape).sum(0)[::-1, ..., None].astype(np.float32)
    turned = affine @ np.array([[-1, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    scan = Scan(array, turned, file)
    recipe = TranslationRecipe(
        ("t1",), ("t2",), (8, 8, 8), sums(), normalisation="linear", spacing=(1.0, 1.0, 2.0)
    )
    made = translate(translator(recipe, {}, {}), scan)
    assert made.file is file
    inner = np.s_[1:-1, 1:-1, 1:-1]
    want = np.indices(file.shape).sum(0).astype(np.float32)
    np.testing.assert_allclose(made.array[..., 0][inner], want[inner], atol=1e-3)


class Double(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return {"logits": nn.Conv(1, (1,) * (x.ndim - 2))(x)}


def test_a_translator_is_kept_on_disk(tmp_path):
    unet = jm.networks.unet(1, plan=jm.networks.plan_unet((16, 16), base_features=4))
    net = jm.generative.residual_translator(unet)
    recipe = TranslationRecipe(
        ("pre", "post"), ("flair",), (16, 16), net, normalisation="linear", linear=(2.0, -1.0),
        scale=(0.5, 0.5), bounds=(0.0, 1.0),
    )  # fmt: skip
    params, state = jax.jit(recipe.network().init)(jax.random.key(0), jnp.zeros((1, 16, 16, 2)))
    model = translator(recipe, params, state)
    inference.save_model(tmp_path / "run", model)
    kept = inference.load_model(tmp_path / "run")
    scan = scan_of((20, 18))
    found = translate(kept, scan)
    np.testing.assert_array_equal(found.array, translate(model, scan).array)
    assert 0 <= found.array.min() <= found.array.max() <= 1
    assert kept.recipe.targets == ("flair",)
    bright, dark = (
        translate(kept, scan._replace(array=0.1 * scan.array + level)).array.mean()
        for level in (0.6, 0.4)
    )
    assert bright - dark > 0.1  # but for what the bounds cut off, all of what the source differs
    own = TranslationRecipe(("a", "b"), ("c",), (16, 16), Double())
    with pytest.raises(inference.ModelError, match="cannot be saved"):
        inference.save_model(tmp_path / "other", translator(own, params, state))


def test_images_are_written_in_the_files_space(tmp_path):
    affine = np.diag([-2.0, 2, 3, 1])
    scan = scan_of((5, 6, 4), 1, affine)
    for name in ("a.nii.gz", "b.nii"):
        back = jm.data.read_image(write_image(tmp_path / name, scan.array, scan))
        np.testing.assert_allclose(back.array, scan.array, rtol=1e-6)
        np.testing.assert_allclose(back.affine, affine)
    both = scan_of((5, 6, 4), 2, affine)
    back = jm.data.read_image(write_image(tmp_path / "c.nii.gz", both.array, both))
    np.testing.assert_allclose(back.array, both.array, rtol=1e-6)
    for channels, name in ((1, "d.png"), (3, "e.png"), (1, "f.tif")):
        picture = scan_of((5, 6), channels)
        shares = (picture.array - picture.array.min()) / np.ptp(picture.array)
        back = jm.data.read_image(write_image(tmp_path / name, shares, picture))
        np.testing.assert_allclose(back.array, shares, atol=0.5 / 255 + 1e-6)


def test_what_does_not_fit_is_refused(tmp_path):
    model = made_by((6, 6))
    with pytest.raises(ValueError, match=r"2 spatial axes and 2 channel\(s\) \(pre, post\)"):
        translate(model, scan_of((9, 9), 3))
    with pytest.raises(ValueError, match="3 spatial axes"):
        translate(made_by((6, 6, 6)), scan_of((9, 9)))
    broken = made_by((6, 6), scale=(np.inf, 0.0))
    with pytest.raises(ValueError, match="not finite"):
        translate(broken, scan_of((9, 9)))
    several = TranslationRecipe(("pre", "post"), ("a", "b"), (6, 6), sums())
    with pytest.raises(ValueError, match=r"2 channel\(s\) \('a', 'b'\) that the recipe names"):
        translate(translator(several, {}, {}), scan_of((9, 9)))
    for wrong, told in (
        ({"spacing": (1.0,)}, "name the same axes"), ({"bounds": (1.0, 0.0)}, "bounds are"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            made_by((6, 6), **wrong)
    picture = scan_of((5, 6), 1)
    with pytest.raises(ValueError, match=r"holds numbers in \[0, 1\]"):
        write_image(tmp_path / "a.png", picture.array, picture)
    with pytest.raises(ValueError, match=r"an image of 3 axes is written as \.nii or \.nii\.gz"):
        write_image(tmp_path / "a.png", scan_of((3, 4, 5)).array, scan_of((3, 4, 5)))
    with pytest.raises(ValueError, match="on the scan's grid"):
        write_image(tmp_path / "a.png", np.zeros((3, 3, 1)), picture)
    assert not [*tmp_path.iterdir()]
