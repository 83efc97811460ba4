"""Walks over images: what is drawn is what was walked."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.reinforcement import plane_image
from jaxmed.report import Episode, episode_figure, episodes_figure

PATH = np.array([[1, 1, 1], [3, 1, 1], [3, 4, 1], [3, 4, 2]])
WALK = Episode(
    np.arange(5 * 6 * 4.0).reshape(5, 6, 4), PATH, target=[3, 5, 2], values=np.ones((3, 6)),
    scale=[0, 0, 1, 1], spacing=(1, 2, 1), name="scan 1",
)  # fmt: skip


def test_planes_go_through_the_answer_and_the_path_lies_on_each():
    figure = episode_figure(WALK)
    first, _, last = figure.axes[:3]
    shown = last.images[0].get_array()
    plane = WALK.image[:, :, 2].T  # across the last axis, its second upwards
    np.testing.assert_array_equal(np.argsort(shown, axis=None), np.argsort(plane, axis=None))
    assert last.images[0].origin == "lower"
    lines = {line.get_label(): line.get_xydata() for line in last.lines}
    np.testing.assert_array_equal(lines["path"], PATH[:, :2])
    np.testing.assert_array_equal(lines["target"], [[3, 5]])
    np.testing.assert_array_equal(lines["answer"], [[3, 4]])
    assert last.get_aspect() == 2  # 2 mm upwards, 1 mm to the right
    np.testing.assert_array_equal(first.lines[0].get_xydata(), PATH[:, 1:])


def test_distance_is_in_mm_and_each_action_has_a_line():
    distance, values = episode_figure(WALK).axes[3:]
    away = np.linalg.norm((PATH - [3, 5, 2]) * [1, 2, 1], axis=1)
    np.testing.assert_allclose(distance.lines[1].get_ydata(), away)
    assert distance.lines[0].get_xdata()[0] == 2  # the scale changes
    assert len(values.lines) == 1 + 6
    assert "2.0 mm" in distance.lines[-1].get_label()


def test_an_image_is_drawn_as_it_is_stored():
    flat = Episode(np.eye(4), [[0, 1], [2, 1]], answer=[1.5, 1.0])
    (plane,) = episode_figure(flat).axes
    assert plane.images[0].origin == "upper"
    np.testing.assert_array_equal(plane.lines[0].get_xydata(), [[1, 0], [1, 2]])
    np.testing.assert_array_equal(plane.lines[-1].get_xydata(), [[1.0, 1.5]])


def test_those_that_failed_come_first_and_then_the_farthest():
    far = [
        WALK._replace(name=name, answer=[3, 5 - away, 2], failed=failed)
        for name, away, failed in (("a", 1, False), ("b", 3, False), ("c", 0, True))
    ]
    figure = episodes_figure(far)
    titles = [ax.get_title() for ax in figure.axes[:3]]
    assert titles == ["c\n0.0 mm, no end", "b\n6.0 mm", "a\n2.0 mm"]
    assert len(episodes_figure(far * 5, most=4).axes) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": np.ones(4)}, "two or three axes"),
        ({"path": PATH[:, :2]}, r"\(steps \+ 1, 3\)"),
        ({"path": PATH[:0]}, "path needs"),
        ({"target": [1, 2]}, "target is a point"),
        ({"values": np.ones((4, 6))}, "each of 3 steps"),
        ({"scale": [0, 1]}, "each of 4 positions"),
        ({"image": np.full((2, 2, 2), np.nan)}, "image"),
        ({"target": [1, np.nan, 2]}, "target holds 1"),
        ({"answer": [1, 2, np.inf]}, "answer holds 1"),
        ({"spacing": (1, 0, 1)}, "above 0"),
    ],
)
def test_what_does_not_belong_together_is_told(change, said):
    with pytest.raises(ValueError, match=said):
        episode_figure(WALK._replace(**change))


def test_names_are_one_an_action():
    with pytest.raises(ValueError, match="2 have names"):
        episode_figure(WALK, actions=("left", "right"))
    with pytest.raises(ValueError, match="no episodes"):
        episodes_figure([])
    with pytest.raises(ValueError, match="at least 1 walk"):
        episodes_figure([WALK], most=0)


def test_a_legend_below_low_axes_clears_their_label():
    figure = episode_figure(WALK)
    figure.canvas.draw()
    values = figure.axes[-1]
    label, legend = values.xaxis.label.get_window_extent(), values.get_legend().get_window_extent()
    assert legend.y1 <= label.y0


def test_boxes_are_outlined_about_their_voxels_and_overlap_counts():
    path = [[0, 0, 6, 4], [0, 0, 5, 4], [1, 0, 5, 4]]
    way = Episode(np.eye(6, 4), path, target=[1, 1, 5, 3], values=np.zeros((2, 9)), name="box")
    picture, overlap, values = episode_figure(way).axes
    outlines = {patch.get_label(): patch.get_bbox().extents for patch in picture.patches}
    # Stored: the second axis to the right; voxel i is drawn about i.
    np.testing.assert_array_equal(outlines["target"], [0.5, 0.5, 2.5, 4.5])
    np.testing.assert_array_equal(outlines["answer"], [-0.5, 0.5, 3.5, 4.5])
    np.testing.assert_allclose(overlap.lines[0].get_ydata(), [8 / 24, 8 / 20, 8 / 16])
    assert values.get_legend().get_texts()[-1].get_text() == "action 8"


def test_planes_are_shown_as_an_agent_sees_them():
    volume = np.random.default_rng(0).random((9, 8, 7))
    way = Episode(volume, [[0, 0, 0, 0], [4, 0, 0, 1]], target=[0, 0, 0, 1], name="plane")
    figure = episode_figure(way, unit="cm")
    assert [ax.get_title() for ax in figure.axes[:3]] == ["start", "target", "answer"]
    seen = np.asarray(plane_image(volume, [0, 0, 0, 1], spacing=(1, 1, 1), size=96)).T
    shown = figure.axes[1].images[0].get_array()
    low, high = np.percentile(seen, [1, 99.5])
    np.testing.assert_allclose(shown, np.clip((seen - low) / (high - low), 0, 1), atol=1e-6)
    np.testing.assert_array_equal(figure.axes[3].lines[0].get_ydata(), [1, 4])
