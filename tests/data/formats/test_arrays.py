"""Arrays, WebP and colour volumes; and what is read of each format by its ending."""

from __future__ import annotations

import zipfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, features

from jaxmed import data
from jaxmed.data.formats import ENDINGS, FORMATS, MASKS, stem

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "said", "spatial"),
    [
        ((5, 6), "", (5, 6)),
        ((5, 6, 3), "", (5, 6)),
        ((5, 6, 7), "", (5, 6, 7)),
        ((5, 6, 3), "#spacing=1x1x2.5", (5, 6, 3)),
        ((5, 6, 7, 2), "", (5, 6, 7)),
        ((5, 6, 7), "#spacing=0.5x0.7", (5, 6)),
    ],
)
def test_an_array_is_an_image(tmp_path, shape, said, spatial):
    array = RNG.normal(size=shape)
    np.save(tmp_path / "a.npy", array)
    scan = data.read_image(f"{tmp_path / 'a.npy'}{said}")
    assert scan.space.shape == spatial
    np.testing.assert_array_equal(scan.array.reshape(shape), array.astype(np.float32))
    lengths = [float(v) for v in said[9:].split("x")] if said else [1.0] * len(spatial)
    np.testing.assert_allclose(scan.spacing, lengths)
    assert data.read_space(f"{tmp_path / 'a.npy'}{said}")[1] == scan.array.shape[-1]
    assert data.check(f"{tmp_path / 'a.npy'}{said}") == []


def test_an_archive_of_arrays_names_the_one_that_is_meant(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, ct=RNG.normal(size=(4, 5)), seg=RNG.integers(0, 3, (4, 5)))
    with pytest.raises(data.DataError, match=r"several arrays: ct, seg; name one as a.npz#array"):
        data.read_image(path)
    assert data.read_image(f"{path}#array=ct").array.shape == (4, 5, 1)
    assert data.read_mask(f"{path}#array=seg", classes=3).array.dtype == np.int32
    with pytest.raises(data.DataError, match="no array 'pet'"):
        data.read_image(f"{path}#array=pet")
    for said in ("0x1", "a", "-1x1"):
        with pytest.raises(data.DataError, match="lengths in mm"):
            data.read_image(f"{path}#array=ct&spacing={said}")


def test_pixels_of_arrays_are_shares_of_the_largest_and_labels_are_not(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 255], [51, 102]], np.uint8))
    np.testing.assert_allclose(
        data.read_image(tmp_path / "a.npy").array[..., 0], [[0, 1], [0.2, 0.4]], rtol=1e-6
    )
    assert data.read_mask(tmp_path / "a.npy").array.tolist() == [[0, 255], [51, 102]]
    np.save(tmp_path / "b.npy", np.array([["a", "b"]]))
    with pytest.raises(data.DataError, match="real numbers"):
        data.read_image(tmp_path / "b.npy")
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'des")
    assert [f.rule for f in data.check(tmp_path / "c.npy")] == ["readable"]


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow was built without WebP")
def test_webp_is_a_picture_and_a_mask_if_it_is_lossless(tmp_path):
    picture = RNG.integers(0, 255, (9, 8, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.webp", lossless=True, exact=True)
    np.testing.assert_allclose(data.read_image(tmp_path / "a.webp").array * 255, picture, atol=1e-4)
    mask = RNG.integers(0, 4, (9, 8)).astype(np.uint8)
    Image.fromarray(mask).convert("RGB").save(tmp_path / "m.webp", lossless=True)
    np.testing.assert_array_equal(data.read_mask(tmp_path / "m.webp").array, mask)
    Image.fromarray(mask).convert("RGB").save(tmp_path / "m.webp", lossless=False)
    with pytest.raises(data.DataError, match="lossy WebP") as caught:
        data.read_mask(tmp_path / "m.webp")
    assert caught.value.faults[0].rule == "lossless-mask"


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_a_colour_volume_has_channels(tmp_path, names):
    values = RNG.integers(0, 255, (3, 4, 5, len(names))).astype(np.uint8)
    dtype = np.dtype([(name, "u1") for name in names])
    place = np.diag([-1.0, 2, 3, 1])
    image = nib.Nifti1Image(values.copy().view(dtype)[..., 0], place)
    nib.save(image, tmp_path / "a.nii.gz")
    scan = data.read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(scan.array, values)
    np.testing.assert_allclose(scan.affine, place)
    turned = data.read_image(tmp_path / "a.nii.gz", canonical=True)
    np.testing.assert_array_equal(turned.array, values[::-1])
    space, channels = data.read_space(tmp_path / "a.nii.gz")
    assert (space.shape, channels) == ((3, 4, 5), len(names))
    with pytest.raises(data.DataError, match="a mask in colour"):
        data.read_mask(tmp_path / "a.nii.gz")


def test_an_ending_belongs_to_one_format():
    assert len(set(ENDINGS)) == len(ENDINGS) == sum(len(f.endings) for f in FORMATS)
    assert {*MASKS} <= {*ENDINGS}
    assert all(
        stem(f"a{ending}") == stem(f"A{ending.upper()}").lower() == "a" for ending in ENDINGS
    )


def test_options_are_for_formats_that_take_them(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a#b=c.png")
    with pytest.raises(data.DataError, match="picture takes no options"):
        data.read_image(f"{tmp_path / 'a.png'}#series=1")
    assert data.read_image(tmp_path / "a#b=c.png").array.shape == (3, 4, 1)
    with pytest.raises(data.DataError, match="no option of the kind name=value"):
        data.read_image(f"{tmp_path / 'a.png'}#series=1&2")
    assert [f.rule for f in data.check(tmp_path / "gone#a=b.png")] == ["exists"]


def test_a_table_states_the_size_of_voxels_that_arrays_do_not_know(tmp_path):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", RNG.normal(size=(4, 5, 6)))
    rows = ["image;spacing;label", 'a.npy;"0.7, 0.7, 5";x', "b.npy;1x1x2.5;y"]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    source = data.manifest(tmp_path / "table.csv")
    np.testing.assert_allclose(source[0]["spacing"], (0.7, 0.7, 5))
    np.testing.assert_allclose(source[1]["spacing"], (1, 1, 2.5))


def test_what_is_no_array_among_arrays_is_a_fault(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"no array")
    with pytest.raises(data.DataError, match=r"a\.npz.*'image' is no array"):
        data.read_image(path)
    with zipfile.ZipFile(tmp_path / "breastmnist.npz", "w") as archive:
        archive.writestr("train_images.npy", b"no array")
    assert [fault.rule for fault in data.check(tmp_path / "breastmnist.npz")] == ["readable"]
