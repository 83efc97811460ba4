"""The plan of a detector: levels, shapes, reasons, the file that people edit."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.planning import BoxPlan, BoxPrint, plan_boxes, plan_instances, read_plan, write_plan
from jaxmed.planning._boxes import input_shape, levels_of

STRIDES = [(2, 2), (4, 4), (8, 8), (16, 16), (32, 32)]


def printed(shapes=((480, 640),), edges=(0.05, 0.1, 0.2), channels=3):
    return BoxPrint(len(shapes), channels, shapes, np.array(edges), np.zeros(len(edges), int))


def test_levels_and_shapes_are_those_of_the_objects():
    assert levels_of(STRIDES, np.array([15.0, 40, 80])) == (1, 2, 3)
    assert levels_of(STRIDES, np.array([60.0, 65])) == (3, 4)
    assert levels_of(STRIDES[:3], np.array([200.0])) == (1, 2)
    assert levels_of([(1,) * 3, (2,) * 3, (4,) * 3], np.array([3.0, 14])) == (1, 2)
    assert input_shape([(480, 640)], 320) == (256, 320)
    for shapes in ([(480, 640), (641, 100)], [(30, 31)], [(9, 40, 40), (40, 9, 9)]):
        whole = input_shape(shapes, 320)
        for shape in shapes:  # every image fits in, as large as it may be
            factor = min(1.0, 320 / max(shape))
            assert all(round(n * factor) <= m for n, m in zip(shape, whole, strict=True))


def test_each_choice_has_its_reason_and_the_file_comes_back(tmp_path):
    plan = plan_boxes(printed(), ("cell",), lambda *_: STRIDES, width=32)
    assert plan.shape == (256, 320)
    assert plan.start == "imagenet"
    assert plan.levels == (1, 2, 3)
    assert plan.why["width"] == "given"
    assert "images have up to 640" in plan.why["shape"]
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json", BoxPlan) == plan
    volumes = printed(shapes=((40, 200, 200),), channels=1)
    plan = plan_boxes(volumes, ("a",), lambda *_: [(2,) * 3, (4,) * 3, (8,) * 3])
    assert (plan.network, plan.start, plan.shape) == ("resnet8", "scratch", (24, 96, 96))
    with pytest.raises(ValueError, match="of pictures"):
        plan_boxes(volumes, ("a",), lambda *_: STRIDES, start="imagenet")


def test_thick_slices_are_turned_in_their_plane_alone():
    options = {"channels": 1, "radius": 4.0, "most": 9}
    plan = plan_instances(shape=(64, 64, 12), spacing=(1.0, 1.0, 5.0), **options)
    assert plan.rotation == (0.0, 0.0, 180.0)
    assert plan.patch[2] < plan.patch[0]
    plan = plan_instances(shape=(64, 64), spacing=None, mirror=False, **options)
    assert (plan.rotation, plan.mirror, plan.rays) == ((180.0,), (), 32)
    with pytest.raises(ValueError, match="threshold is a probability"):
        plan_instances(shape=(64, 64), spacing=None, threshold=2.0, **options)
