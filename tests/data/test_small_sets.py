"""MNIST, USPS, the UCR archive and ISBI 2012 in the formats in which they are handed around."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmed import data

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 4, 3), np.uint8)
LABELS = np.uint8([3, 0, 9, 9, 1])


def idx(array):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + bytes(array)


@pytest.mark.parametrize("place", ["MNIST/raw", "mnist/MNIST/raw", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_digits_are_read_as_they_were_written(tmp_path, monkeypatch, place, packed):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
        content = gzip.compress(idx(array)) if packed else idx(array)
        (folder / f"t10k-{name}-ubyte{'.gz' if packed else ''}").write_bytes(content)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    source = data.mnist("test")
    assert len(source) == 5
    np.testing.assert_array_equal(source[2]["image"], IMAGES[2, ..., None] / np.float32(255))
    assert data.column(source, "label").tolist() == LABELS.tolist()
    with pytest.raises(data.DataError, match="neither train-images-idx3-ubyte nor"):
        data.mnist("train")
    with pytest.raises(ValueError, match="'train' or 'test'"):
        data.mnist("val")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (idx(IMAGES)[:-1], idx(LABELS), r"its header says \(5, 4, 3\), behind it are 59 bytes"),
        (idx(LABELS), idx(LABELS), "no idx file of unsigned bytes of rank 3"),
        (b"", idx(LABELS), "no idx file"),
        (idx(IMAGES), idx(LABELS[:4]), "4 labels of 5 images"),
        (idx(IMAGES), idx(LABELS + 2), "11 at row 2 is no digit"),
    ],
)
def test_digits_that_are_none_are_refused(tmp_path, images, labels, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(data.DataError, match=message):
        data.mnist(root=tmp_path)


def test_a_table_of_digits_is_read(tmp_path):
    values = np.round(RNG.uniform(-1, 1, (3, 256)), 3)
    lines = [" ".join([f"{label:.4f}", *map(str, row)]) for label, row in zip((5, 0, 9), values)]
    (tmp_path / "zip.train.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    source = data.usps(root=tmp_path)
    assert source.column("label").tolist() == [5, 0, 9]
    np.testing.assert_allclose(source[1]["image"].ravel(), (values[1] + 1) / 2, atol=1e-6)
    for text, message in (
        ("1 0.5", "a label and 256 values, got 2"),
        (lines[0].replace("5.0000", "5.5"), "not whole numbers"),
        (lines[0].replace("5.0000", "12"), "12 at row 0 is no digit"),
        (lines[0].rsplit(" ", 1)[0] + " 2", r"not all in \[-1, 1\]"),
        ("no numbers", "the table of digits"),
    ):
        (tmp_path / "zip.train.gz").write_bytes(gzip.compress(text.encode()))
        with pytest.raises(data.DataError, match=message):
            data.usps(root=tmp_path)


def write_series(tmp_path, train, test):
    folder = tmp_path / "UCR" / "Beats"
    folder.mkdir(parents=True, exist_ok=True)
    for part, lines in (("TRAIN", train), ("TEST", test)):
        (folder / f"Beats_{part}.tsv").write_text("\n".join(lines))


def test_series_are_read_with_their_lengths(tmp_path):
    write_series(tmp_path, ["-1\t0.5\t1.5\tNaN", "4\t1\t2\t3"], ["2\t0\t0\t1"])
    source = data.ucr("Beats", root=tmp_path)
    assert source.classes == ("-1", "2", "4")
    assert source.column("label").tolist() == [0, 2]
    assert source.column("length").tolist() == [2, 3]
    np.testing.assert_array_equal(source[0]["image"], np.float32([[0.5], [1.5], [0]]))
    assert data.ucr("Beats", "test", root=tmp_path).column("label").tolist() == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\tNaN\t2\t3", "a value inside a series is not finite"),
        ("1\tNaN\tNaN\tNaN", "series 0 has no values"),
        ("NaN\t1\t2\t3", "a class is not a finite number"),
        ("1\t2\tx\t3", "the table of series"),
    ],
)
def test_series_that_are_none_are_refused(tmp_path, line, message):
    write_series(tmp_path, [line], ["1\t1\t2\t3"])
    with pytest.raises(data.DataError, match=message):
        data.ucr("Beats", root=tmp_path)
    with pytest.raises(data.DataError, match="neither UCR/Other nor Other"):
        data.ucr("Other", root=tmp_path)


SLICES = np.uint8(RNG.integers(0, 256, (11, 4, 6)))
MEMBRANES = np.uint8(255 * (RNG.random((11, 4, 6)) < 0.8))


def write_slices(folder, packed):
    """Eleven slices, so that the order of their names is not that of their numbers."""
    folder.mkdir(parents=True)
    if packed:
        for name, array in (("volume", SLICES), ("labels", MEMBRANES)):
            first, *others = map(Image.fromarray, array)
            first.save(folder / f"train-{name}.tif", save_all=True, append_images=others)
        return
    for name, array in (("image", SLICES), ("label", MEMBRANES)):
        (folder / name).mkdir()
        for i, picture in enumerate(array):
            Image.fromarray(picture).save(folder / name / f"{i}.png")


@pytest.mark.parametrize(("place", "packed"), [(".", True), ("membrane/train", False)])
def test_slices_of_membranes_are_read_in_their_order(tmp_path, place, packed):
    write_slices(tmp_path / "em" / place, packed)
    source = data.isbi2012(tmp_path / "em")
    np.testing.assert_allclose(source.column("image")[..., 0], SLICES / 255, atol=1e-6)
    np.testing.assert_array_equal(source.column("mask"), MEMBRANES == 0)
    assert source.case_ids[-2:] == ("9", "10")


def test_slices_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(data.DataError, match="nor a folder image"):
        data.isbi2012(tmp_path)
    write_slices(tmp_path / "em", packed=False)
    Image.fromarray(SLICES[0, :3]).save(tmp_path / "em/label/4.png")
    with pytest.raises(data.DataError, match="one a slice, all of one size"):
        data.isbi2012(tmp_path / "em")
    (tmp_path / "em/label/4.png").unlink()
    with pytest.raises(data.DataError, match="there is no such file"):
        data.isbi2012(tmp_path / "em")
    Image.fromarray(SLICES[0]).save(tmp_path / "em/image/first.png")
    with pytest.raises(data.DataError, match="a slice's name is its number"):
        data.isbi2012(tmp_path / "em")


@pytest.mark.skipif(
    not (Path(os.environ.get("JAXMED_DATA", "")) / "mnist").is_dir(), reason="no real data here"
)
def test_the_published_sizes():
    sizes = [(len(read(part)), read(part)[0]["image"].shape)
             for read in (data.mnist, data.usps) for part in ("train", "test")]  # fmt: skip
    assert sizes == [
        (60_000, (28, 28, 1)), (10_000, (28, 28, 1)), (7_291, (16, 16, 1)), (2_007, (16, 16, 1)),
    ]  # fmt: skip
