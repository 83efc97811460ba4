"""DICOM pixels: compression, bits, colours, and what a stored number means."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import data

pydicom = pytest.importorskip("pydicom")

from pydicom import uid  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402

RNG = np.random.default_rng(0)


def read(write, path, pixels, modality="OT", **tags):
    return data.read_image(write.save(write.dataset(pixels, modality, tags), path)).array


def compressed(pixels, syntax):
    codecs = pytest.importorskip("imagecodecs")
    encode = {
        uid.JPEGLosslessSV1: lambda a: codecs.jpeg8_encode(a, lossless=True, predictor=1),
        uid.JPEGLossless: lambda a: codecs.jpeg8_encode(a, lossless=True, predictor=1),
        uid.JPEGLSLossless: codecs.jpegls_encode,
        uid.JPEG2000Lossless: lambda a: codecs.jpeg2k_encode(
            a, level=0, codecformat="j2k", reversible=True
        ),
    }
    return encapsulate([encode[syntax](pixels)])


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.RLELossless,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.name[:24],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_every_lossless_syntax_gives_the_same_pixels(tmp_path, write, syntax, dtype):
    pixels = RNG.integers(0, np.iinfo(dtype).max, (16, 20)).astype(dtype)
    pixels[0, :4] = np.iinfo(dtype).min
    ds = write.dataset(pixels)
    if syntax == uid.RLELossless:
        ds.compress(syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.RLELossless:
        pass
    elif syntax.is_encapsulated:
        unsigned = pixels.view(np.uint16) if dtype == np.int16 else pixels
        if dtype == np.int16 and syntax == uid.JPEG2000Lossless:
            unsigned = pixels  # the codestream knows of signs
        ds.PixelData = compressed(unsigned, syntax)
        ds["PixelData"].VR = "OB"
    elif syntax == uid.ExplicitVRBigEndian and dtype != np.uint8:
        ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    path = tmp_path / "a.dcm"
    if syntax == uid.ExplicitVRBigEndian:
        ds["PixelData"].VR = "OB" if dtype == np.uint8 else "OW"
        ds.save_as(path, implicit_vr=False, little_endian=False, enforce_file_format=True)
    else:
        write.save(ds, path)
    np.testing.assert_array_equal(data.read_image(path).array[..., 0], pixels)


def test_jpeg_of_twelve_bits_is_decoded(tmp_path, write):
    codecs = pytest.importorskip("imagecodecs")
    pixels = (np.add.outer(np.arange(24), np.arange(32)) * 60).astype(np.uint16)
    ds = write.dataset(pixels, "CT", {"BitsStored": 12, "HighBit": 11})
    ds.PixelData = encapsulate([codecs.jpeg8_encode(pixels, level=99, bitspersample=12)])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = uid.JPEGExtended12Bit
    found = data.read_image(write.save(ds, tmp_path / "a")).array[..., 0]
    np.testing.assert_allclose(found, pixels, atol=12)
    assert found.max() > 3000


def test_a_compression_without_a_decoder_is_named(tmp_path, write):
    ds = write.dataset(np.zeros((4, 4), np.uint8))
    ds.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    ds.PixelData = encapsulate([b"none"])
    ds["PixelData"].VR = "OB"
    path = write.save(ds, tmp_path / "a.dcm")
    with pytest.raises(data.DataError, match=r"MPEG2.*pip install 'jaxmed\[formats\]'") as caught:
        data.read_image(path)
    assert [f.rule for f in caught.value.faults] == ["codec-missing"]
    assert [f.rule for f in data.check(path)] == ["codec-missing"]


def test_without_pydicom_the_extra_is_named(tmp_path, write, monkeypatch):
    path = write.save(write.dataset(np.zeros((4, 4), np.uint8)), tmp_path / "a.dcm")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(data.DataError, match=r"needs the package pydicom: pip install") as caught:
        data.read_image(path)
    assert [f.rule for f in caught.value.faults] == ["codec-missing"]


def test_bits_above_those_of_the_pixel_are_not_its_own(tmp_path, write):
    values = np.array([[0, 1, 2047], [4095, 7, 3]], np.uint16)
    overlay = values | (0b1010 << 12)
    found = read(write, tmp_path / "a", overlay, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(found[..., 0], values)
    signed = np.array([[-5, 2047, -2048]], np.int16)
    hidden = (signed & 0x0FFF).astype(np.int16)
    found = read(write, tmp_path / "b", hidden, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(found[..., 0], signed)


def test_a_modality_table_is_looked_up(tmp_path, write):
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 0, 16], "US"
    table.LUTData = np.array([10, 20, 40, 80], "<u2").tobytes()
    found = read(
        write, tmp_path / "a", np.array([[0, 1, 2, 3]], np.uint8), ModalityLUTSequence=[table]
    )
    np.testing.assert_array_equal(found[..., 0], [[10, 20, 40, 80]])


@pytest.mark.parametrize(
    ("modality", "tags", "wanted"),
    [
        ("DX", {}, [[255, 155, 0]]),
        ("DX", {"RescaleSlope": 2, "RescaleIntercept": -10}, [[500, 300, -10]]),
        ("CR", {"BitsStored": 8}, [[255, 155, 0]]),
        ("CT", {"RescaleSlope": 1, "RescaleIntercept": -5}, [[-5, 95, 250]]),
    ],
)
def test_white_at_zero_is_turned_where_numbers_have_no_unit(
    tmp_path, write, modality, tags, wanted
):
    tags = {"PhotometricInterpretation": "MONOCHROME1", **tags}
    pixels = np.array([[0, 100, 255]], np.uint8)
    np.testing.assert_array_equal(
        read(write, tmp_path / "a", pixels, modality, **tags)[..., 0], wanted
    )


def test_padding_keeps_its_value_or_takes_another(tmp_path, write):
    pixels = np.array([[-2000, 0, 5], [-2000, 7, -1999]], np.int16)
    tags = {"PixelPaddingValue": -2000, "RescaleSlope": 1, "RescaleIntercept": -1024}
    path = write.save(write.dataset(pixels, "CT", tags), tmp_path / "a.dcm")
    assert data.read_image(path).array.min() == -3024
    wanted = [[-1000, -1024, -1019], [-1000, -1017, -3023]]
    for scan in (data.read_dicom(path, padding=-1000), data.read_image(f"{path}#padding=-1000")):
        np.testing.assert_array_equal(scan.array[..., 0], wanted)


def test_pictures_have_colours_and_no_scale(tmp_path, write):
    colour = RNG.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read(write, tmp_path / "rgb", colour, "US"), colour)
    grey = np.full((4, 6, 3), 128, np.uint8)
    grey[..., 0] = [0, 50, 100, 150, 200, 250]
    found = read(write, tmp_path / "ybr", grey, "US", PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(found, np.repeat(grey[..., :1], 3, -1), atol=1)
    planes = write.dataset(colour, "US", {"PlanarConfiguration": 1})
    planes.PixelData = np.moveaxis(colour, -1, 0).tobytes()
    path = write.save(planes, tmp_path / "planes")
    np.testing.assert_array_equal(data.read_image(path).array, colour)
    palette = {
        f"{name}PaletteColorLookupTableDescriptor": [4, 0, 8] for name in ("Red", "Green", "Blue")
    }
    for name, values in {"Red": [0, 9, 1, 2], "Green": [3, 4, 5, 6], "Blue": [7, 8, 0, 1]}.items():
        palette[f"{name}PaletteColorLookupTableData"] = bytes(values)
    index = np.array([[0, 1], [2, 3]], np.uint8)
    found = read(
        write, tmp_path / "p", index, "US", PhotometricInterpretation="PALETTE COLOR", **palette
    )
    np.testing.assert_array_equal(found.reshape(4, 3), [[0, 3, 7], [9, 4, 8], [1, 5, 0], [2, 6, 1]])
    space, channels = data.read_space(tmp_path / "p")
    assert (space.shape, channels) == ((2, 2), 3)


def test_the_size_of_a_pixel_in_pictures(tmp_path, write):
    pixels = np.zeros((4, 5), np.uint8)
    pixels[1, 2] = 1
    ds = write.dataset(pixels, "DX", {"ImagerPixelSpacing": [0.2, 0.1]})
    assert data.read_image(write.save(ds, tmp_path / "a")).spacing == pytest.approx((0.2, 0.1))
    ds = write.dataset(pixels, "DX", {"ImagerPixelSpacing": [0.2, 0.1], "PixelSpacing": [0.3, 0.4]})
    assert data.read_image(write.save(ds, tmp_path / "b")).spacing == pytest.approx((0.3, 0.4))
    region = pydicom.Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.01, 0.02
    ds = write.dataset(pixels, "US", {"SequenceOfUltrasoundRegions": [region]})
    assert data.read_image(write.save(ds, tmp_path / "c")).spacing == pytest.approx((0.2, 0.1))
    ds = write.dataset(pixels, "OT")
    assert data.read_image(write.save(ds, tmp_path / "d")).spacing == (1.0, 1.0)


def test_frames_of_a_cine_are_an_axis_and_can_be_chosen(tmp_path, write):
    movie = RNG.integers(0, 99, (6, 4, 5)).astype(np.uint8)
    path = write.save(write.dataset(movie, "US"), tmp_path / "a")
    np.testing.assert_array_equal(data.read_image(path).array[..., 0], np.moveaxis(movie, 0, -1))
    one = data.read_dicom(path, frame=2)
    np.testing.assert_array_equal(one.array[..., 0], movie[2])
    assert one.affine.shape == (3, 3)


def enhanced(write, volume, *, slopes, echoes=(None,)):
    """An enhanced MR of (slices, rows, columns) for each echo, slices in reverse."""
    frames, groups = [], []
    for echo, slope in zip(echoes, slopes, strict=True):
        for k in reversed(range(len(volume))):
            group = pydicom.Dataset()
            for name, values in {
                "PlanePositionSequence": {"ImagePositionPatient": [0, 0, 3.0 * k]},
                "PixelValueTransformationSequence": {
                    "RescaleSlope": slope, "RescaleIntercept": 1
                },
                "MREchoSequence": {"EffectiveEchoTime": echo},
            }.items():  # fmt: skip
                item = pydicom.Dataset()
                for tag, value in values.items():
                    setattr(item, tag, value)
                if None not in values.values():
                    setattr(group, name, [item])
            groups.append(group)
            frames.append(volume[k])
    ds = write.dataset(np.stack(frames), "MR")
    orientation, measures, common = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.6], 3
    common.PlaneOrientationSequence, common.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [common]
    ds.PerFrameFunctionalGroupsSequence = groups
    return ds


def test_an_enhanced_file_has_a_place_and_a_slope_for_each_frame(tmp_path, write, volume):
    ds = enhanced(write, volume, slopes=(2, 0.5), echoes=(8.0, 3.0))
    scan = data.read_image(write.save(ds, tmp_path / "a.dcm"))
    wanted = volume.transpose(2, 1, 0)
    np.testing.assert_allclose(scan.array, np.stack([wanted * 0.5 + 1, wanted * 2 + 1], -1))
    np.testing.assert_allclose(scan.affine, np.diag([-0.6, -0.5, 3, 1]))


def test_float_pixels_are_read(tmp_path, write):
    values = RNG.normal(size=(4, 5)).astype(np.float32)
    ds = write.dataset(np.zeros((4, 5), np.uint8), "OT", {"BitsAllocated": 32})
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.FloatPixelData = values.tobytes()
    np.testing.assert_array_equal(
        data.read_image(write.save(ds, tmp_path / "a")).array[..., 0], values
    )


def test_each_slice_has_its_own_slope(tmp_path, write, volume):
    each = [{"RescaleSlope": k + 1, "RescaleIntercept": 0} for k in range(5)]
    write.series(tmp_path, volume, each=each)
    wanted = volume * np.arange(1, 6)[:, None, None]
    np.testing.assert_array_equal(
        data.read_image(tmp_path).array[..., 0], wanted.transpose(2, 1, 0)
    )


def test_a_radiograph_is_a_picture_though_it_states_a_place(tmp_path, write):
    pixels = RNG.integers(0, 99, (4, 5)).astype(np.uint8)
    tags = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    np.testing.assert_array_equal(
        read(write, tmp_path / "a", pixels, "DX", **tags, PixelSpacing=[1, 1])[..., 0], pixels
    )
    assert read(write, tmp_path / "b", pixels, "CT", **tags, PixelSpacing=[1, 1]).shape == (
        5, 4, 1, 1
    )  # fmt: skip


def test_a_picture_is_the_mask_of_a_radiograph(tmp_path, write):
    pixels = RNG.integers(0, 99, (4, 5)).astype(np.uint8)
    ds = write.dataset(pixels, "DX", {"PixelSpacing": [0.2, 0.3]})
    scan = data.read_image(write.save(ds, tmp_path / "a.dcm"))
    mask = (pixels > 50).astype(int)
    path = data.write_mask(tmp_path / "m.png", mask, scan)
    np.save(tmp_path / "m.npy", mask)
    for name in (path, tmp_path / "m.npy"):
        found = data.read_mask(name, like=scan)
        np.testing.assert_array_equal(found.array, mask)
        assert found.spacing == pytest.approx((0.2, 0.3))
    smaller = data.read_image(write.save(write.dataset(pixels[1:], "DX"), tmp_path / "b.dcm"))
    with pytest.raises(data.DataError, match=r"\(4, 5\), its image \(3, 5\)"):
        data.read_mask(path, like=smaller)


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [
        (uid.JPEGBaseline8Bit, "YBR_FULL_422"),
        (uid.JPEGLosslessSV1, "RGB"),
        (uid.JPEGLSLossless, "RGB"),
        (uid.JPEG2000Lossless, "YBR_RCT"),
        (uid.RLELossless, "RGB"),
    ],
)
def test_colours_come_back_from_each_compression(tmp_path, write, syntax, kind):
    codecs = pytest.importorskip("imagecodecs")
    row, column = np.mgrid[:16, :24]
    colour = np.stack([column * 10, row * 15, 255 - column * 10], -1).astype(np.uint8)
    ds = write.dataset(colour, "US", {"PhotometricInterpretation": kind})
    if syntax == uid.RLELossless:
        ds.compress(syntax, generate_instance_uid=False)
    else:
        encode = {
            uid.JPEGBaseline8Bit: lambda a: codecs.jpeg8_encode(a, level=98, subsampling="444"),
            uid.JPEGLosslessSV1: lambda a: codecs.jpeg8_encode(a, lossless=True, predictor=1),
            uid.JPEGLSLossless: codecs.jpegls_encode,
            uid.JPEG2000Lossless: lambda a: codecs.jpeg2k_encode(
                a, level=0, codecformat="j2k", reversible=True, mct=True
            ),
        }
        ds.PixelData = encapsulate([encode[syntax](colour)])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = syntax
    found = data.read_image(write.save(ds, tmp_path / "a")).array
    np.testing.assert_allclose(found, colour, atol=3 if syntax == uid.JPEGBaseline8Bit else 0)


def test_a_palette_of_two_bytes_has_colours_of_one(tmp_path, write):
    palette = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, values in {
        "Red": [0, 0xFF00],
        "Green": [0x8000, 0],
        "Blue": [0x0100, 0xFFFF],
    }.items():
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = np.array(values, "<u2").tobytes()
    found = read(write, tmp_path / "a", np.array([[0, 1]], np.uint8), "US", **palette)
    np.testing.assert_array_equal(found[0], [[0, 128, 1], [255, 0, 255]])
