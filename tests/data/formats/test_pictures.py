"""Pictures against their bits: samples written by hand, after the specification of PNG."""

from __future__ import annotations

import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from jaxmed import data


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(
        ">I", zlib.crc32(name + content)
    )  # fmt: skip


def png(path, rows, *, bits, colour, extra=b""):
    """Write samples (rows, columns * channels) as a PNG of some depth and colour type."""
    raw = b""
    for row in np.asarray(rows).reshape(len(rows), -1):
        text = "".join(format(int(v), f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        raw += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    width = len(rows[0]) if np.ndim(rows) > 1 else 1
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
        + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )  # fmt: skip
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_every_depth(tmp_path, bits):
    top = 2**bits - 1
    rows = np.array([[0, 1, top], [top // 2, top, 1]])
    path = png(tmp_path / "a.png", rows, bits=bits, colour=0)
    np.testing.assert_allclose(data.read_image(path).array[..., 0], rows / top, rtol=1e-6)
    np.testing.assert_array_equal(data.read_mask(path).array, rows)
    assert data.read_space(path)[0].shape == (2, 3)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_index_of_a_palette_is_the_class(tmp_path, bits):
    top = 2**bits - 1
    colours = bytes(k % 256 for i in range(top + 1) for k in (i, 7, 9))
    rows = np.array([[0, top], [top, 0]])
    path = png(tmp_path / "a.png", rows, bits=bits, colour=3, extra=chunk(b"PLTE", colours))
    np.testing.assert_array_equal(data.read_mask(path).array, rows)
    if bits == 8:  # void, which is no class: never taken for white
        with pytest.raises(data.DataError, match=r"\[255\] are outside 0\.\.20"):
            data.read_mask(path, classes=21)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colour_of_16_bits_keeps_both_bytes(tmp_path, colour, channels):
    rows = np.random.default_rng(0).integers(0, 2**16, (3, 5, channels))
    path = png(tmp_path / "a.png", rows, bits=16, colour=colour)
    scan = data.read_image(path)
    np.testing.assert_array_equal(np.round(scan.array * 65535), rows)
    assert data.read_space(path)[1] == channels


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_16_bit_colour(tmp_path, order):
    pixels = np.random.default_rng(0).integers(0, 2**16, (2, 3, 3)).astype(f"{order}u2")
    values = [(256, 3, 3), (257, 3, 2), (258, 3, 16), (262, 3, 2), (273, 4, 8), (277, 3, 3),
              (278, 3, 2), (279, 4, pixels.nbytes)]  # fmt: skip
    start = 8 + pixels.nbytes
    entries = b""
    for tag, kind, value in values:
        if tag == 258:  # three numbers, behind the directory
            entries += struct.pack(f"{order}HHII", tag, 3, 3, start + 2 + 12 * len(values) + 4)
        elif kind == 3:
            entries += struct.pack(f"{order}HHIHH", tag, kind, 1, value, 0)
        else:
            entries += struct.pack(f"{order}HHII", tag, kind, 1, value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    directory = struct.pack(f"{order}H", len(values)) + entries + bytes(4)
    bits = struct.pack(f"{order}HHH", 16, 16, 16)
    (tmp_path / "a.tif").write_bytes(head + pixels.tobytes() + directory + bits)
    found = data.read_image(tmp_path / "a.tif").array
    np.testing.assert_array_equal(np.round(found * 65535), pixels)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_picture_lies_as_the_camera_noted(tmp_path, ending):
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8], pixels[8:, :8] = 255, 120
    path = tmp_path / f"a.{ending}"
    for orientation in range(1, 9):
        note = Image.Exif()
        note[0x0112] = orientation
        Image.fromarray(pixels).save(path, exif=note)
        with Image.open(path) as picture:
            expected = np.asarray(ImageOps.exif_transpose(picture))
        scan = data.read_image(path)
        np.testing.assert_allclose(scan.array * 255, expected, atol=1e-3)
        assert data.read_space(path)[0].shape == expected.shape[:2]


@pytest.mark.parametrize("second", [(4, 8), (2, 4)])
def test_a_cameras_second_picture_is_no_slice(tmp_path, second):
    first = Image.fromarray(np.full((8, 4, 3), 200, np.uint8))
    path = tmp_path / "a.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[first.resize(second)])
    assert data.read_image(path).array.shape == (8, 4, 3)
    space, channels = data.read_space(path)
    assert (space.shape, channels) == ((8, 4), 3)


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), i * 90, np.uint8)) for i in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(data.DataError, match="animation of 3 frames"):
        data.read_image(tmp_path / "a.png")


def test_a_gif_is_its_one_picture(tmp_path):
    mask = np.eye(6, 8, dtype=np.uint8)
    Image.fromarray(mask * 255).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(data.read_mask(tmp_path / "a.gif").array, mask)
    assert data.read_space(tmp_path / "a.gif")[0].shape == (6, 8)
    frames = [Image.fromarray(np.full((4, 4), i * 90, np.uint8)) for i in range(3)]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(data.DataError, match="animation of 3 frames"):
        data.read_image(tmp_path / "b.gif")


def test_masks_in_jpeg_are_refused_by_content_not_by_name(tmp_path):
    mask = Image.fromarray(np.eye(16, dtype=np.uint8) * 255)
    for name in ("mask.jpg", "mask.png"):
        mask.save(tmp_path / name, format="JPEG")
        with pytest.raises(data.DataError, match=r"JPEG.*write it anew") as caught:
            data.read_mask(tmp_path / name)
        assert caught.value.faults[0].rule == "lossless-mask"
        assert data.read_image(tmp_path / name).array.shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 255], np.uint8, [0, 1]),
        ([0, 65535], np.uint16, [0, 1]),
        ([0, 255], np.uint16, [0, 1]),
        ([0, 1, 255], np.uint8, [0, 1, 255]),
        ([0, 16777217, 614454277], np.int32, [0, 16777217, 614454277]),
    ],
)
def test_white_is_one_where_there_is_no_other_class(tmp_path, values, dtype, expected):
    Image.fromarray(np.array([values, values], dtype)).save(tmp_path / "m.tif")
    np.testing.assert_array_equal(data.read_mask(tmp_path / "m.tif").array, [expected, expected])


def test_tiff_samples_whose_white_is_zero_are_read_as_numbers(tmp_path):
    samples = np.array([[0, 1, 2]], np.uint8)
    Image.fromarray(samples).save(tmp_path / "m.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "m.tif") as picture:
        if picture.tag_v2[262] != 0:
            pytest.skip("Pillow has written another photometric interpretation")
        shown = np.asarray(picture)
    np.testing.assert_array_equal(data.read_mask(tmp_path / "m.tif").array, 255 - shown)
    np.testing.assert_allclose(data.read_image(tmp_path / "m.tif").array[..., 0] * 255, shown)


def test_a_mask_in_colour_says_how_to_save_it(tmp_path):
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[1:3, 1:3] = [255, 0, 0]
    Image.fromarray(colour).save(tmp_path / "m.png")
    with pytest.raises(data.DataError, match=r"2 colours.*grey or palette picture"):
        data.read_mask(tmp_path / "m.png")


def test_a_picture_above_179_megapixels_has_a_shape(tmp_path):
    n = 13500
    row = b"\0" * (1 + (n + 7) // 8)
    header = struct.pack(">IIBBBBB", n, n, 1, 0, 0, 0, 0)
    packer = zlib.compressobj()
    body = b"".join([*(packer.compress(row) for _ in range(n)), packer.flush()])
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    limit = Image.MAX_IMAGE_PIXELS
    assert data.read_space(tmp_path / "a.png")[0].shape == (n, n)
    assert limit == Image.MAX_IMAGE_PIXELS


@settings(max_examples=150)
@given(at=st.floats(0, 0.999), bit=st.integers(0, 7), cut=st.booleans(), kind=st.integers(0, 2))
def test_a_damaged_picture_is_read_or_refused(tmp_path_factory, at, bit, cut, kind):
    """Never anything but a DataError; and a PNG, which has checksums, never a wrong number."""
    folder = tmp_path_factory.mktemp("damaged", numbered=True)
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7), dtype=np.uint8)
    path = folder / ("a.png", "a.tif", "a.bmp")[kind]
    Image.fromarray(pixels).save(path)
    content = bytearray(path.read_bytes())
    place = int(at * len(content))
    if cut:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    path.write_bytes(content)
    for read in (data.read_image, data.read_mask, data.read_space):
        with contextlib.suppress(data.DataError):
            found = read(path)
            if kind == 0 and read is data.read_mask:
                np.testing.assert_array_equal(found.array, pixels)


@pytest.mark.parametrize("colours", [(0, 255), (255, 0), (2, 252)])
def test_black_and_white_of_a_gif_are_0_and_1_wherever_its_palette_has_them(tmp_path, colours):
    index = np.eye(6, 8, dtype=np.uint8)
    picture = Image.fromarray(index, mode=None).convert("P")
    picture.putpalette([level for level in colours for _ in range(3)])
    picture.save(tmp_path / "a.gif")
    expected = index if colours[0] < colours[1] else 1 - index
    np.testing.assert_array_equal(data.read_mask(tmp_path / "a.gif").array, expected)
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(tmp_path / "white.gif")
    assert data.read_mask(tmp_path / "white.gif").array.all()
    # Other colours have no order but that of the palette.
    picture.putpalette([200, 0, 0, 0, 200, 0])
    picture.save(tmp_path / "b.gif")
    found = data.read_mask(tmp_path / "b.gif").array
    assert sorted(np.unique(found).tolist()) == [0, 1]
