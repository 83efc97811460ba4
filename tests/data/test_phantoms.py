from __future__ import annotations

import numpy as np
import pytest

from jaxmed import data
from jaxmed.data import phantoms
from jaxmed.data.phantoms import _shapes

MAKERS = {
    "classification": phantoms.classification,
    "segmentation": phantoms.segmentation,
    "detection": phantoms.detection,
    "modalities": phantoms.modalities,
    "bags": phantoms.bags,
    "cells": phantoms.cells,
}
SHAPES = [(32, 28), (26, 22, 24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MAKERS)
def test_phantoms_are_seeded_and_an_example_does_not_depend_on_their_number(name, shape):
    make = MAKERS[name]
    few, more = make(2, shape, seed=4, bias=0.1), make(3, shape, seed=4, bias=0.1)
    other = make(2, shape, seed=5, bias=0.1)
    for key, value in few.arrays.items():
        np.testing.assert_array_equal(value, more.arrays[key][:2])
        assert np.all(np.isfinite(value))
        if key in ("image", "t1", "t2"):
            assert value.dtype == np.float32
            assert value.shape[-1] == 1
            assert value.shape[-1 - len(shape) : -1] == shape
            assert (value != other.arrays[key]).any()
    assert len(set(few.case_ids)) == 2
    assert data.batches(few, 2)[0]["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("kind", _shapes.KINDS)
def test_volumes_are_exact(kind, rank):
    side = {2: 400, 3: 90}[rank]
    shape = _shapes.Shape(kind, np.full(rank, side / 2), np.linspace(0.3, 0.45, rank) * side)
    inside = shape.inside((side,) * rank)
    np.testing.assert_allclose(inside.sum(), shape.volume(), rtol=0.04)
    found = np.argwhere(inside)
    np.testing.assert_allclose(shape.box(), [*found.min(0), *(found.max(0) + 1)], atol=1.01)


def test_hand_worked_volumes():
    one = np.ones(2)
    assert _shapes.Shape("box", one, one * 2).volume() == 16
    assert _shapes.Shape("ellipsoid", one, one * 2).volume() == pytest.approx(4 * np.pi)
    assert _shapes.Shape("shell", one, one * 10).volume() == pytest.approx(64 * np.pi)
    # Two bars of 6 x 2 that share 2 x 2.
    assert _shapes.Shape("cross", one, one * 3).volume() == pytest.approx(20)
    three = np.ones(3)
    assert _shapes.Shape("ellipsoid", three, three * 3).volume() == pytest.approx(36 * np.pi)
    # Three bars of 6 x 2 x 2 that share 2 x 2 x 2.
    assert _shapes.Shape("cross", three, three * 3).volume() == pytest.approx(3 * 24 - 2 * 8)


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_hold_each_class_once_at_its_volume(shape):
    source = phantoms.segmentation(4, shape, classes=4, noise=0)
    for i in range(4):
        mask, volume = source[i]["mask"], source[i]["volume"]
        counts = np.bincount(mask.ravel(), minlength=4)[1:]
        assert counts[1] == volume[1]  # boxes lie on whole voxels
        np.testing.assert_allclose(counts, volume, rtol=0.06, atol=2)
        for k in range(1, 4):
            inside = source[i]["image"][..., 0][mask == k]
            assert inside.min() == inside.max() >= 0.5
        assert np.all(source[i]["image"][..., 0][mask == 0] == np.float32(0.2))


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_enclose_what_is_drawn(shape):
    source = phantoms.detection(6, shape, objects=3, noise=0)
    rank = len(shape)
    for i in range(6):
        example = source[i]
        bright = example["image"][..., 0] > 0.3
        real = example["box_label"] >= 0
        assert real.any()
        for box in example["box"][real]:
            part = tuple(
                slice(int(np.floor(a)), int(np.ceil(b)))
                for a, b in zip(box[:rank], box[rank:], strict=True)
            )
            assert bright[part].any()
            bright[part] = False
        assert not bright.any()
        assert not example["box"][~real].any()


def test_a_modality_tells_one_bit():
    source = phantoms.modalities(40, (24, 24), noise=0)
    label = source.arrays["label"]
    for j, name in enumerate(("t1", "t2")):
        for image, bit in zip(source.arrays[name], (label >> j) & 1, strict=True):
            drawn = np.argwhere(image[..., 0] > 0.3)
            full = np.prod(drawn.max(0) - drawn.min(0) + 1) == len(drawn)
            assert full == bit  # a box fills its bounding box, an ellipse does not
    assert set(label) == {0, 1, 2, 3}


def test_bags_have_the_label_of_their_most_positive_instance():
    source = phantoms.bags(40, (12, 12), instances=5, rate=0.3)
    truth = source.arrays["instance_label"]
    np.testing.assert_array_equal(source.arrays["label"], truth.max(axis=1))
    positive = truth[source.arrays["label"] == 1].mean()
    assert 0.25 < positive < 0.65
    assert source.arrays["image"].shape == (40, 5, 12, 12, 1)


def test_patients_share_images():
    source = phantoms.classification(6, patients=3)
    parts = data.split(source, {"train": 0.67, "test": 0.33})
    assert sorted(map(len, parts.values())) == [2, 4]


@pytest.mark.parametrize("bad", [{"n": 0}, {"n": 1, "classes": 9}])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match=r"at least one|kinds of shapes"):
        phantoms.classification(**bad)
    with pytest.raises(ValueError, match="do not fit"):
        phantoms.detection(1, (8, 8), objects=200)


def test_synthetic_brains_look_like_the_template():
    pytest.importorskip("nilearn")
    template = phantoms.brain_template(resolution=6)
    drawn = phantoms.brain(3, resolution=6, seed=1)
    again = phantoms.brain(2, resolution=6, seed=1)
    np.testing.assert_array_equal(drawn.arrays["image"][:2], again.arrays["image"])
    assert drawn[0]["image"].shape == template[0]["image"].shape
    assert template[0]["mask"].dtype == np.int32
    for example in [template[0], *(drawn[i] for i in range(3))]:
        image, mask = example["image"][..., 0], example["mask"]
        assert image.dtype == np.float32
        share = np.bincount(mask.ravel(), minlength=3) / (mask > 0).sum()
        assert 0.45 < share[1] < 0.8
        assert image[mask == 2].mean() > image[mask == 1].mean() + 0.3 > image[mask == 0].mean()
    masks = drawn.arrays["mask"]
    assert 0.02 < (masks[0] != masks[1]).mean() < 0.4
    with pytest.raises(ValueError, match="contrast"):
        phantoms.brain(1, resolution=6, contrast="t3")


@pytest.mark.parametrize("shape", [(48, 40), (24, 26, 22)])
def test_cells_touch_and_each_has_a_number(shape):
    made = phantoms.cells(4, shape, objects=8, radius=(3.0, 5.0), noise=0.0)
    touching = 0
    for image, mask in zip(made.arrays["image"], made.arrays["mask"], strict=True):
        names = np.unique(mask)
        assert names.tolist() == list(range(len(names)))
        assert 4 <= len(names) <= 9
        assert ((image[..., 0] > 0) == (mask > 0)).all()
        for name in names[1:]:
            assert np.ptp(image[mask == name]) == 0  # of one brightness
        for axis in range(mask.ndim):
            low, high = (np.moveaxis(mask, axis, 0)[s] for s in (np.s_[:-1], np.s_[1:]))
            touching += int(((low != high) & (low > 0) & (high > 0)).any())
    assert touching > 4
