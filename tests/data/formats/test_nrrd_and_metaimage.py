"""NRRD and MetaImage: written by others and by us, in any space, type and order of bytes."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import data

nrrd = pytest.importorskip("nrrd")

SPACES = {
    "left-posterior-superior": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "LAS": (-1, 1, 1),
}
PLACE = np.array([[0, -2, 0.5, 7], [1.5, 0, 0, -8], [0, 0.3, 3, 9], [0, 0, 0, 1.0]])


def refused(rule, call, *args, **options):
    with pytest.raises(data.DataError) as caught:
        call(*args, **options)
    assert [f.rule for f in caught.value.faults] == [rule]
    return str(caught.value)


def metaimage(path, array, *, big=False, packed=False, local=True, **fields):
    """Write (slices, rows, columns[, channels]) as others write it."""
    kinds = {"u1": "UCHAR", "i1": "CHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT",
             "u4": "UINT", "f4": "FLOAT", "f8": "DOUBLE", "i8": "LONG_LONG"}  # fmt: skip
    rank = fields.pop("rank", array.ndim)
    raw = array.astype(array.dtype.newbyteorder(">" if big else "<")).tobytes()
    raw = zlib.compress(raw) if packed else raw
    lines = {
        "ObjectType": "Image", "NDims": rank, "BinaryData": True,
        "BinaryDataByteOrderMSB": big, "CompressedData": packed,
        "DimSize": " ".join(map(str, array.shape[:rank][::-1])),
        "ElementNumberOfChannels": int(np.prod(array.shape[rank:])),
        "ElementType": f"MET_{kinds[array.dtype.str[1:]]}", **fields,
        "ElementDataFile": "LOCAL" if local else f"{path.stem}.raw",
    }  # fmt: skip
    text = "".join(f"{name} = {value}\n" for name, value in lines.items()).encode()
    path.write_bytes(text + (raw if local else b""))
    if not local:
        path.with_suffix(".raw").write_bytes(raw)
    return path


@settings(max_examples=60)
@given(
    name=st.sampled_from(["m.nrrd", "m.mha", "m.seg.nrrd"]),
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    top=st.sampled_from([1, 2, 255, 300, 40000, 2**31 - 1]),
    seed=st.integers(0, 99),
    canonical=st.booleans(),
)
def test_a_mask_comes_back_as_it_was_written(tmp_path_factory, name, shape, top, seed, canonical):
    rng = np.random.default_rng(seed)
    rank = len(shape)
    affine = np.eye(rank + 1)
    if rank == 3:
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        affine[:3, :3], affine[:3, 3] = turn * rng.uniform(0.1, 9, 3), rng.normal(size=3) * 99
    else:
        affine[:2, :2] = np.diag(rng.uniform(0.1, 9, 2))
    scan = data.Scan(np.zeros((*shape, 1)), affine, data.Space(tuple(shape), affine))
    mask = rng.integers(0, 2, shape) * top
    path = tmp_path_factory.mktemp("masks", numbered=True) / name
    found = data.read_mask(data.write_mask(path, mask, scan), like=scan)
    np.testing.assert_array_equal(found.array, mask)
    np.testing.assert_allclose(found.affine, affine, atol=1e-9)
    assert data.read_space(path)[0].shape == tuple(shape)
    turned = data.read_mask(path, canonical=canonical)
    back = data.to_space(turned.array, turned.affine, turned.file)
    np.testing.assert_array_equal(back, mask)


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8"]),
    big=st.booleans(),
    packed=st.booleans(),
    local=st.booleans(),
    channels=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_metaimage_of_any_type_and_order_is_read(
    tmp_path_factory, dtype, big, packed, local, channels, seed
):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 99, (2, 3, 4, channels)).astype(dtype)
    path = tmp_path_factory.mktemp("mha", numbered=True) / ("a.mha" if local else "a.mhd")
    metaimage(path, array, big=big, packed=packed, local=local, rank=3, Offset="1 2 3",
              ElementSpacing="0.5 1 2", TransformMatrix="0 1 0 1 0 0 0 0 -1")  # fmt: skip
    scan = data.read_image(path)
    np.testing.assert_array_equal(scan.array, np.transpose(array, (2, 1, 0, 3)))
    wanted = [[0, -1, 0, -1], [-0.5, 0, 0, -2], [0, 0, -2, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(scan.affine, wanted)
    assert data.read_space(path)[1] == channels


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_a_nrrd_in_any_space_and_encoding_is_read(tmp_path, space, encoding):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    signs = np.array(SPACES[space])[:, None]
    header = {
        "space": space, "space directions": (signs * PLACE[:3, :3]).T,
        "space origin": (signs * PLACE[:3, 3:]).ravel(), "encoding": encoding, "endian": "big",
    }  # fmt: skip
    nrrd.write(str(tmp_path / "a.nrrd"), array, header)
    nrrd.write(str(tmp_path / "a.nhdr"), array, header)
    for name in ("a.nrrd", "a.nhdr"):
        scan = data.read_image(tmp_path / name)
        np.testing.assert_array_equal(scan.array[..., 0], array)
        np.testing.assert_allclose(scan.affine, PLACE)
        written = data.write_mask(tmp_path / "m.nrrd", array, scan)
        assert nrrd.read_header(str(written))["space"] == nrrd.read_header(
            str(tmp_path / name)
        )["space"]  # fmt: skip
        np.testing.assert_array_equal(data.read_mask(written, like=scan).array, array)


def test_an_axis_of_channels_is_the_last_one(tmp_path):
    array = np.arange(48.0).reshape(2, 2, 3, 4)
    nan = [np.nan] * 3
    header = {
        "space": "RAS", "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.array([nan, [1, 0, 0], [0, 2, 0], [0, 0, 3]]),
    }  # fmt: skip
    nrrd.write(str(tmp_path / "a.nrrd"), array, header)
    scan = data.read_image(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(scan.array, np.moveaxis(array, 0, -1))
    assert scan.spacing == (1, 2, 3)
    assert data.read_space(tmp_path / "a.nrrd")[1] == 2


def test_pictures_are_rows_and_columns(tmp_path):
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    nrrd.write(str(tmp_path / "a.nrrd"), picture.T, {"spacings": [0.5, 0.7]})
    metaimage(tmp_path / "a.mha", picture, ElementSpacing="0.5 0.7")
    for name in ("a.nrrd", "a.mha"):
        scan = data.read_image(tmp_path / name)
        np.testing.assert_array_equal(scan.array[..., 0], picture)
        assert scan.spacing == pytest.approx((0.7, 0.5))


def test_layers_of_slicer_are_joined_under_one_number_each(tmp_path):
    layers = np.zeros((2, 3, 4, 5), np.uint8)
    layers[0, 0], layers[1, 2] = 1, 1
    layers[0, 1, 0] = 2
    header = {
        "space": "LPS", "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.array([[np.nan] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    }  # fmt: skip
    for k, (name, value, layer) in enumerate([("liver", 1, 0), ("cyst", 2, 0), ("vein", 1, 1)]):
        header |= {f"Segment{k}_ID": f"s{k}", f"Segment{k}_Name": name,
                   f"Segment{k}_LabelValue": value, f"Segment{k}_Layer": layer}  # fmt: skip
    path = tmp_path / "a.seg.nrrd"
    nrrd.write(str(path), layers, header)
    mask = data.read_mask(path).array
    assert [(s.number, s.name) for s in data.read_segments(path)] == [
        (1, "liver"), (2, "cyst"), (3, "vein")
    ]  # fmt: skip
    np.testing.assert_array_equal(np.unique(mask[0]), [1])
    np.testing.assert_array_equal(np.unique(mask[2]), [3])
    assert (mask == 2).sum() == 5
    layers[1, 0] = 1
    nrrd.write(str(path), layers, header)
    assert "'vein' overlaps" in refused("mask-overlap", data.read_mask, path)


def test_what_metaimage_allows_and_is_not_read_is_named(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = tmp_path / "a.mha"
    for fields, rule, text in [
        ({"ElementType": "MET_CHAR_ARRAY"}, "real", "is none of"),
        ({"NDims": 5}, "shape", "2 to 4 axes"),
        ({"BinaryData": False}, "readable", "written as text"),
        ({"ElementSpacing": "1 0 1"}, "finite", "no inverse"),
        ({"Offset": "1 nan 1"}, "finite", "NaN"),
        ({"DimSize": "4 3 3"}, "readable", "48 bytes of voxels, where 72"),
    ]:
        metaimage(path, array, **fields)
        assert text in refused(rule, data.read_image, path)
    metaimage(path, array)
    text = path.read_bytes()
    for where in (b"LIST", b"slice%03d.raw 1 2 1"):
        path.write_bytes(text[: text.index(b"LOCAL")] + where + b"\n")
        assert "a file a slice" in refused("readable", data.read_image, path)
    path.write_bytes(text[: text.index(b"LOCAL")] + b"gone.raw\n")
    assert "gone.raw" in refused("exists", data.read_image, path)
    path.write_bytes(text[: text.index(b"ElementDataFile")])
    assert "without ElementDataFile" in refused("readable", data.read_image, path)


@settings(max_examples=120)
@given(
    name=st.sampled_from(["a.nrrd", "a.mha"]),
    share=st.floats(0, 0.999),
    value=st.integers(0, 255),
    cut=st.booleans(),
)
def test_any_damage_is_read_or_refused(tmp_path_factory, name, share, value, cut):
    path = tmp_path_factory.mktemp("damage", numbered=True) / name
    scan = data.Scan(np.zeros((2, 3, 4, 1)), PLACE, data.Space((2, 3, 4), PLACE))
    data.write_mask(path, np.arange(24).reshape(2, 3, 4), scan)
    content = bytearray(path.read_bytes())
    at = int(share * len(content))
    content[at] = value
    path.write_bytes(content[:at] if cut else content)
    for read in (data.read_image, data.read_mask, data.read_space):
        with contextlib.suppress(data.DataError):
            assert read(path)


def test_simpleitk_writes_what_is_read_and_reads_what_is_written(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    array = np.random.default_rng(0).integers(-99, 99, (4, 3, 5)).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    image.SetSpacing((0.5, 0.7, 3)), image.SetOrigin((10, -20, 30))
    image.SetDirection(turn.ravel().tolist())
    point = np.array(image.TransformIndexToPhysicalPoint((4, 1, 2))) * [-1, -1, 1]
    for name in ("a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.nii.gz"):
        sitk.WriteImage(image, str(tmp_path / name), name != "a.mhd")
        scan = data.read_image(tmp_path / name)
        np.testing.assert_array_equal(scan.array[..., 0], array.T)
        np.testing.assert_allclose((scan.affine @ [4, 1, 2, 1])[:3], point, atol=1e-5)
    mask = (array.T > 0).astype(np.uint8)
    for name in ("m.nrrd", "m.mha"):
        again = sitk.ReadImage(str(data.write_mask(tmp_path / name, mask, scan)))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(again), mask.T)
        there = np.array(again.TransformIndexToPhysicalPoint((4, 1, 2))) * [-1, -1, 1]
        np.testing.assert_allclose(there, point, atol=1e-5)


def test_a_damaged_archive_is_refused(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), np.arange(999.0), {"encoding": "gzip"})
    whole = (tmp_path / "a.nrrd").read_bytes()
    assert gzip.decompress(whole[whole.index(b"\x1f\x8b") :])
    (tmp_path / "a.nrrd").write_bytes(whole[:-600])
    refused("readable", data.read_image, tmp_path / "a.nrrd")
