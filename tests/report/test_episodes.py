"""The section of a report on an agent's ways through images."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed import report

IMAGE = np.random.default_rng(0).random((6, 7, 5))


def walk(name, away, *, failed=False):
    """Three steps along the first axis, which end so far from the target."""
    path = np.array([[1, 1, 1], [2, 1, 1], [3, 1, 1]])
    return report.Episode(
        IMAGE, path, target=[3 + away, 1, 1], values=np.zeros((2, 6)), name=name, failed=failed
    )


def results(*walks, **options):
    made = report.classification([0, 1, 0, 1], [0.2, 0.9, 0.4, 0.7])
    return made.replace(episodes=report.Episodes(walks, **options))


def test_the_page_shows_all_the_median_and_the_worst(tmp_path):
    walks = (walk("far", 2.5), walk("<lost>", 0.5, failed=True), walk("near", 0.25), walk("mid", 1))
    written = report.write(results(*walks, chosen="The first of each."), tmp_path)
    page = written.report.read_text()
    section = page[page.index('id="episodes"') :]
    assert "The first of each. 4 episodes, those that came to no end first (1)" in section
    assert "The median of the episodes that came to an end, mid, 1.0 mm." in section
    assert "The worst episode, &lt;lost&gt;, 0.5 mm, no end." in section
    assert "<lost>" not in page
    record = json.loads(written.metrics.read_text())["episodes"]
    assert [(w["case"], w["steps"], w["failed"]) for w in record["walks"]] == [
        ("far", 2, False), ("<lost>", 2, True), ("near", 2, False), ("mid", 2, False)
    ]  # fmt: skip
    assert [w["distance"] for w in record["walks"]] == pytest.approx([2.5, 0.5, 0.25, 1.0])
    assert record["unit"] == "mm"


def test_where_none_failed_the_farthest_is_shown_and_a_lone_walk_once():
    page = report.html(results(walk("near", 0.25), walk("far", 2.5)))
    assert "The episode that ends farthest, far, 2.5 mm." in page
    alone = report.html(results(walk("only", 1)))
    assert alone.count("only, 1.0 mm") == 4  # the montage's ends, the median's two texts
    assert "ends farthest" not in alone
    lost = report.html(results(walk("only", 1, failed=True)))
    assert "The median" not in lost
    assert "The worst episode, only, 1.0 mm, no end." in lost


def test_without_episodes_there_is_no_section():
    assert 'id="episodes"' not in report.html(results())
    plain = report.classification([0, 1, 0, 1], [0.2, 0.9, 0.4, 0.7])
    assert 'id="episodes"' not in report.html(plain)
    assert "episodes" not in report.metrics_record(plain)


def test_of_boxes_the_overlap_is_told_with_whichever_they_overlap_most():
    boxes = [[0, 0, 6, 7], [0, 0, 4, 4]]
    way = report.Episode(IMAGE[..., 0], boxes, target=[[5, 5, 6, 6], [0, 0, 4, 2]], name="b")
    record = report.metrics_record(results(way))["episodes"]["walks"]
    assert record[0]["overlap"] == 0.5
    assert "b, overlap 0.50" in report.html(results(way))


def test_of_planes_the_distance_is_in_degrees_and_mm():
    way = report.Episode(IMAGE, [[0, 0, 0, 0], [8, 0, 0, 1]], target=[5, 0, 0, -3], name="p")
    record = report.metrics_record(results(way))["episodes"]["walks"]
    assert record[0]["distance"] == 5
    assert "p, 5.0 degrees and mm" in report.html(results(way))
