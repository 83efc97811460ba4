"""The report of a detection: numbers, tables, pictures with boxes."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from jaxmed import report, stats

CLASSES = ("cell", "plate", "never")
TRUE = [
    np.array([[2.0, 2, 10, 10], [12, 12, 18, 20]]),
    np.array([[3.0, 4, 9, 9]]),
    np.zeros((0, 4)),
]
KINDS = [np.array([0, 1]), np.array([0]), np.zeros(0, int)]
BOXES = [
    np.array([[2.0, 2, 10, 9], [12, 12, 18, 19], [0, 0, 3, 3]]),
    np.zeros((0, 4)),
    np.array([[1.0, 1, 5, 5]]),
]
SCORES = [np.array([0.9, 0.8, 0.3]), np.zeros(0), np.array([0.7])]
LABELS = [np.array([0, 1, 0]), np.zeros(0, int), np.array([1])]
ALL = (TRUE, KINDS, BOXES, SCORES, LABELS)


def measured(**options):
    images = lambda i: np.random.default_rng(i).random((24, 24, 3))  # noqa: E731
    return report.detection(
        *ALL, classes=CLASSES, cases=("a", "b", "c"), images=images, n_resamples=30, **options
    )


def test_numbers_are_those_of_stats():
    results = measured()
    for name, iou in {"ap50": 0.5, "ap": stats.COCO_IOUS, "ap10": 0.1}.items():
        wanted = stats.box_average_precision(*ALL, iou=iou, n_resamples=0)
        assert results.metrics[name].value == wanted.value
    each = stats.box_average_precision(*ALL, n_resamples=0).details["classes"]
    assert results.metrics["ap50/cell"].value == each["0"]
    assert results.metrics["ap50/plate"].value == each["1"]
    assert "ap50/never" not in results.metrics  # it has no true box, and none was found
    assert results.metrics["cpm"].value == stats.froc(*ALL, iou=0.5, n_resamples=0).cpm.value


def test_the_page_shows_boxes_the_curve_and_every_image(tmp_path):
    written = report.write(measured(), tmp_path)
    page = written.report.read_text()
    for text in ("Free-response ROC", "AP, IoU 0.5", "Images with boxes", "most errors", "CPM"):
        assert text in page
    assert "2 of 2 objects found" in page
    record = json.loads(written.metrics.read_text())
    assert record["task"] == "detection"
    rows = [*csv.DictReader(io.StringIO(written.predictions.read_text()))]
    assert [row["image"] for row in rows] == ["a", "a", "a", "b", "c"]
    assert rows[0]["label"] == "cell"
    assert rows[3]["score"] == ""
    assert [float(rows[1][f"low_{i}"]) for i in (0, 1)] == [12, 12]


def test_pictures_tell_hits_from_false_boxes_and_missed_objects():
    drawn = {p.case: p for p in measured().drawn}
    assert drawn["a"].hit.tolist() == [True, True, False]
    assert drawn["a"].found.tolist() == [True, True]
    assert drawn["b"].found.tolist() == [False]
    assert drawn["c"].caption == "0 of 0 objects found, 1 false box"


def test_a_volume_is_shown_in_a_plane_that_cuts_its_objects():
    box = np.array([[4.0, 1, 2, 8, 6, 7], [5, 6, 6, 7, 9, 9]])
    results = report.detection(
        [box], [np.zeros(2, int)], [box[:1]], [np.array([0.5])], [np.zeros(1, int)],
        classes=("lesion",), images=lambda i: np.zeros((10, 12, 12, 1)), n_resamples=5,
    )  # fmt: skip
    (picture,) = results.drawn
    assert picture.image.shape == (12, 12)
    np.testing.assert_array_equal(picture.true, [[1, 2, 6, 7], [6, 6, 9, 9]])
    assert picture.found.tolist() == [True, False]
    assert results.hit_iou == 0.1


def test_names_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="2 cases for 3 images"):
        report.detection(*ALL, classes=CLASSES, cases=("a", "b"), n_resamples=5)


def test_subgroups_are_measured_at_one_threshold(tmp_path):
    rng = np.random.default_rng(0)
    true = [np.array([[2.0, 2, 8, 8], [12, 12, 18, 18]]) for _ in range(24)]
    sites = ["a", "b"] * 12
    boxes = [t[: 1 + (s == "a")] for t, s in zip(true, sites, strict=True)]
    results = report.detection(
        true, [np.zeros(2, int)] * 24, boxes, [rng.random(len(b)) for b in boxes],
        [np.zeros(len(b), int) for b in boxes], classes=("cell",), n_resamples=20,
    )  # fmt: skip
    found = report.with_subgroups(results, {"site": sites}, n_resamples=20)
    of = {table.metric: table.found.estimates for table in found.subgroups}
    shares = of["sensitivity/1 false boxes an image"]
    assert (shares["a"].value, shares["b"].value) == (1.0, 0.5)
    assert of["false boxes an image"]["a"].value == 0.0
    assert "by site" in report.write(found, tmp_path).report.read_text()
