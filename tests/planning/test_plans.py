"""Fingerprints and plans: what data are like, and what follows from it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from jaxmed.data import DataError, MaskLabels
from jaxmed.planning import (
    Budget,
    Fingerprint,
    ImagePlan,
    ImagePrint,
    Intensity,
    SegmentationPlan,
    fingerprint,
    image_print,
    plan_images,
    plan_segmentation,
    read_plan,
    write_plan,
)

FOUND = Fingerprint(
    cases=10,
    channels=("MRI",),
    classes=("background", "tumour"),
    shapes=((40, 50, 30),) * 10,
    spacings=((1.0, 1.0, 2.0),) * 10,
    kept=1.0,
    intensities=(Intensity(3.0, 2.0, -1.0, 8.0),),
    unit_range=False,
    volumes=(100.0,),
    present=(10,),
)
SMALL = Budget(0.01, features=4, batch=2)


def planned(**changes):
    return plan_segmentation(
        dataclasses.replace(FOUND, **changes), budget=SMALL, steps=5, platform="cpu"
    )


class Scans:
    """A source of scans in memory, as `data.dataset` has it."""

    def __init__(self, examples, labels=None):
        self.examples, self.name = examples, "scans"
        self.case_ids = [str(i) for i in range(len(examples))]
        self.mask_labels = labels or MaskLabels(("background", "a", "b"))

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, i):
        return self.examples[i]


def scan(shape=(10, 8, 6), margin=2, spacing=(1, 2, 3)):
    rng = np.random.default_rng(sum(shape))
    image = np.zeros((*shape, 1), np.float32)
    inner = tuple(slice(margin, n - margin) for n in shape)
    image[inner] = 100 + 10 * rng.normal(size=image[inner].shape)
    mask = np.zeros(shape, np.int32)
    mask[inner] = 1
    return {"image": image, "mask": mask, "spacing": np.float32(spacing)}


def test_a_fingerprint_is_of_the_nonzero_region_and_of_the_structures():
    found = fingerprint(Scans([scan(), scan((12, 9, 7)), scan()]))
    assert found.shapes == ((6, 4, 2), (8, 5, 3), (6, 4, 2))
    assert found.spacings[0] == (1.0, 2.0, 3.0)
    assert found.classes == ("background", "a", "b")
    assert found.present == (3, 0)
    assert found.volumes == (48.0, 0.0)
    assert found.kept == pytest.approx(0.1, abs=1e-9)
    assert found.intensities[0].mean == pytest.approx(100, abs=3)
    assert found.intensities[0].sd == pytest.approx(10, abs=2)
    assert not found.unit_range
    assert found.one_piece == 3
    apart = scan()
    apart["mask"][0, 0, 0] = 2
    assert fingerprint(Scans([scan(), apart])).one_piece == 0
    assert fingerprint(Scans([scan(), scan()]), [1]).cases == 1


def test_scans_that_do_not_fit_together_are_named():
    flat = {"image": np.ones((4, 4, 1)), "mask": np.ones((4, 4), int), "spacing": np.ones(2)}
    with pytest.raises(DataError, match="1: 2 spatial axes and 1 channels"):
        fingerprint(Scans([scan(), flat]))
    with pytest.raises(DataError, match="no mask marks anything"):
        fingerprint(Scans([{**flat, "mask": np.zeros((4, 4), int)}]))


def test_ct_is_standardised_by_the_data_sets_own_numbers():
    plan = planned(channels=("CT",))
    assert plan.normalisation == "fixed"
    assert plan.intensities == ((-1.0, 8.0, 3.0, 2.0),)
    assert planned().normalisation == "zscore"
    assert planned().intensities == ()


def test_surroundings_of_zero_are_left_out_of_the_statistics():
    assert planned(kept=0.5).over == "nonzero"
    assert planned(kept=0.8).over == "all"
    assert planned(kept=0.5, channels=("CT",)).over == "all"


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        (("kidney",), (0,)), (("left kidney", "right kidney"), ()), (("Kidney_L",), ()),
        (("bright lesion",), (0,)), (("leftover",), ()), (("LV", "RV"), (0,)),
    ],
)  # fmt: skip
def test_no_mirror_image_where_classes_name_a_side(names, axes):
    found = planned(classes=("background", *names), volumes=(1.0,) * len(names))
    assert found.mirror == axes


def test_more_work_a_step_is_fewer_steps():
    def steps(budget):
        return plan_segmentation(FOUND, budget=budget, platform="cpu").steps

    assert steps(SMALL) > steps(Budget(0.25, features=16, batch=2))
    assert planned().steps == 5


def test_regions_have_an_output_each():
    plan = plan_segmentation(
        FOUND, budget=SMALL, steps=1, regions={"whole": [1], "core": [1], "x": [1]},
        region_order=(1, 1, 1),
    )  # fmt: skip
    assert plan.outputs == 3
    assert plan.regions["core"] == (1,)


def test_a_plan_comes_back_from_its_file_and_slips_are_named(tmp_path):
    path = tmp_path / "plan.json"
    plan = planned()
    write_plan(path, plan)
    assert read_plan(path, SegmentationPlan) == plan
    table = json.loads(path.read_text())
    assert '"spacing": [1.0, 1.0, 2.0]' in path.read_text()  # one line: people read it
    for change, says in (
        ({"stepz": 3}, "there is no field stepz; there are classes"),
        ({"steps": "many"}, "steps is int, got 'many'"),
        ({"normalisation": "none"}, "normalisation is one of 'zscore'"),
        ({"full": {**table["full"], "patch": 3}}, r"full.patch is a list, got 3"),
        ({"low": {"spacing": [1]}}, "the field low.median_shape is missing"),
    ):
        path.write_text(json.dumps({**table, **change}))
        with pytest.raises(ValueError, match=f"plan.json.*{says}"):
            read_plan(path, SegmentationPlan)
    path.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_plan(path, SegmentationPlan)


PICTURES = ImagePrint(100, ("red", "green", "blue"), ((200, 300),) * 100, True, counts=(80, 20))


def test_images_come_to_a_size_that_the_device_has_time_for():
    plan = plan_images(PICTURES, ("a", "b"), start="scratch", platform="cpu")
    assert plan.shape == (80, 120)  # 9,600 pixels of 9,216, sides of 8
    assert plan_images(PICTURES, ("a", "b"), start="scratch", platform="gpu").shape == (184, 272)
    assert plan_images(PICTURES, ("a", "b"), start="scratch", size=64).shape == (40, 64)
    small = dataclasses.replace(PICTURES, shapes=((28, 28),) * 100)
    plan = plan_images(small, ("a", "b"))
    assert (plan.network, plan.start, plan.shape) == ("resnet18", "scratch", (28, 28))


def test_rare_classes_count_as_much_as_others_and_no_more_than_ten_times():
    plan = plan_images(PICTURES, ("a", "b"), start="scratch")
    assert plan.weights == (0.625, 2.5)
    rare = dataclasses.replace(PICTURES, counts=(9990, 10))
    assert plan_images(rare, ("a", "b"), start="scratch").weights[1] == 10.0
    even = dataclasses.replace(PICTURES, counts=(60, 40))
    assert plan_images(even, ("a", "b"), start="scratch").weights == ()
    with pytest.raises(ValueError, match="no training image is 'b'"):
        plan_images(dataclasses.replace(PICTURES, counts=(100, 0)), ("a", "b"))


def test_what_is_measured_is_learned_in_standard_deviations():
    ages = ImagePrint(50, ("MRI",), ((40, 40, 40),) * 50, False, mean=(60.0,), sd=(12.0,))
    plan = plan_images(ages, (), platform="cpu")
    assert (plan.task, plan.target, plan.normalisation) == ("regression", ((60.0, 12.0),), "zscore")
    assert plan.mirror == (0,)
    with pytest.raises(ValueError, match="for pictures of 1 or 3 channels"):
        plan_images(ages, (), start="imagenet")


def test_several_labels_are_counted_where_they_are_known():
    class Pictures(Scans):
        classes, known = ("a", "b"), np.array([[True, True], [False, True]])
        labels = np.array([[1, 0], [1, 1]])
        channels = ()

        def image(self, i):
            from types import SimpleNamespace

            return SimpleNamespace(array=np.full((4, 4, 1), 0.5))

        def paths(self, i):
            return (f"{i}.png",)

    found = image_print(Pictures([{}, {}]))
    assert found.counts == (1, 1)
    assert plan_images(found, ("a", "b"), several=True).task == "multi-label"
    plan = plan_images(found, ("a", "b"), several=True)
    assert isinstance(plan, ImagePlan)
    assert plan.weights == ()


BIG = dataclasses.replace(FOUND, shapes=((200, 200, 120),) * 10, spacings=((1.0, 1.0, 1.0),) * 10)


def test_a_configuration_says_which_networks_are_planned():
    budget = Budget(0.05, features=8, batch=2)
    plans = {
        name: plan_segmentation(BIG, budget=budget, configuration=name, platform="cpu")
        for name in ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
    }
    full, low = plans["3d_fullres"], plans["3d_lowres"]
    assert plans["3d_cascade_fullres"].full == full.full
    assert plans["3d_cascade_fullres"].low == full.low == low.full
    assert "may go before" in full.why["low"]
    assert "goes before" in plans["3d_cascade_fullres"].why["low"]
    assert "a quarter" in low.why["spacing"]
    assert low.low is None
    flat = plans["2d"].full
    assert flat.patch[2] == 1  # of equal spacings, slices stand across the axis of fewest voxels
    assert flat.spacing == (1.0, 1.0, 0.0)
    assert {k[2] for k in flat.network.kernels} == {s[2] for s in flat.network.strides} == {1}
    assert plans["2d"].rotation == (0.0, 0.0, 180.0)
    assert (plans["2d"].rotated, full.rotated) == (0.5, 1.0)
    assert plans["2d"].scale == (0.7, 1.4)
    assert full.scale == (0.85, 1.15)
    assert full.rotation == (15.0,) * 3
    # The same work, whichever network does it.
    assert plans["3d_cascade_fullres"].steps <= full.steps


def test_one_piece_is_kept_where_all_of_many_masks_are_one():
    assert not planned().one_piece
    assert not planned(one_piece=29).one_piece
    plan = planned(one_piece=30)
    assert plan.one_piece
    assert "30 masks" in plan.why["one_piece"]


def test_a_configuration_that_data_do_not_have_is_refused():
    pictures = {"shapes": ((40, 50),) * 10, "spacings": ((1.0, 1.0),) * 10}
    assert planned(**pictures).configuration == "2d"
    with pytest.raises(ValueError, match="these are pictures"):
        plan_segmentation(dataclasses.replace(FOUND, **pictures), configuration="3d_lowres")
    with pytest.raises(ValueError, match="so take 3d_fullres"):
        plan_segmentation(FOUND, budget=Budget(8.0), configuration="3d_cascade_fullres")


def test_a_memory_that_no_network_fits_is_told():
    with pytest.raises(ValueError, match=r"fits 0\.0001 GB.*plan for more memory"):
        plan_segmentation(BIG, budget=Budget(0.0001))


def test_thick_slices_are_turned_in_their_plane():
    thick = planned(shapes=((128, 128, 20),) * 10, spacings=((1.0, 1.0, 6.0),) * 10)
    assert thick.full.patch[2] * 3 < max(thick.full.patch)
    assert thick.rotation == (0.0, 0.0, 180.0)
    sided = dataclasses.replace(
        FOUND,
        classes=("background", "left kidney", "right kidney"),
        shapes=((128, 128, 20),) * 10,
        spacings=((1.0, 1.0, 6.0),) * 10,
    )
    assert plan_segmentation(sided, budget=Budget(8.0)).rotation == (0.0, 0.0, 15.0)
