"""Average precision of boxes as pycocotools has it, FROC by counting, and what does not matter."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from jaxmed.stats import COCO_IOUS, box_average_precision, froc

IMAGES, CLASSES = 8, 3


def drawn(seed: int, *, crowd: bool = False):
    """Images with objects of three classes, some with none, and noisy boxes of distinct scores."""
    rng = np.random.default_rng(seed)
    true, kinds, many, boxes, scores, labels = [], [], [], [], [], []
    for i in range(IMAGES):
        n = 0 if i == 3 else int(rng.integers(1, 7))
        low = rng.uniform(0, 60, (n, 2))
        own = np.concatenate([low, low + rng.uniform(8, 30, (n, 2))], 1)
        label = rng.integers(0, CLASSES - 1, n)  # the last class has no true box
        near = own[rng.random(n) < 0.8]
        near = np.repeat(near, 2, axis=0) + rng.normal(0, 3, (2 * len(near), 4))
        far = rng.uniform(0, 60, (3, 2))
        found = np.concatenate([near, np.concatenate([far, far + 12], 1)])
        true.append(own)
        kinds.append(label)
        many.append(rng.random(n) < (0.3 if crowd else 0))
        boxes.append(found)
        scores.append(rng.random(len(found)))
        labels.append(rng.integers(0, CLASSES, len(found)))
    return (true, kinds, boxes, scores, labels), many


def by_pycocotools(arrays, many, ious, most):
    """Precision of each class at each overlap, by pycocotools."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    true, kinds, boxes, scores, labels = arrays

    def row(box):
        return [box[1], box[0], box[3] - box[1], box[2] - box[0]]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(IMAGES)],
            "categories": [{"id": k} for k in range(CLASSES)],
            "annotations": [
                {"id": 1 + 100 * i + j, "image_id": i, "category_id": int(kinds[i][j]),
                 "bbox": row(b), "area": (b[2] - b[0]) * (b[3] - b[1]),
                 "iscrowd": int(many[i][j])}
                for i in range(IMAGES) for j, b in enumerate(true[i])
            ],
        }  # fmt: skip
        truth.createIndex()
        found = truth.loadRes([
            {"image_id": i, "category_id": int(labels[i][j]), "bbox": row(b),
             "score": float(scores[i][j])}
            for i in range(IMAGES) for j, b in enumerate(boxes[i])
        ])  # fmt: skip
        run = evaluation.COCOeval(truth, found, "bbox")
        run.params.iouThrs = np.asarray(ious)
        run.params.maxDets = [1, 2, most]  # it takes the third
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][:, :, :, 0, 2].mean(1)  # (ious, classes)


@pytest.mark.parametrize(("seed", "crowd", "most"), [(0, False, 100), (1, True, 100), (2, True, 3)])
def test_average_precision_is_pycocotools(seed, crowd, most):
    arrays, many = drawn(seed, crowd=crowd)
    ious = (0.1, *COCO_IOUS)
    table = by_pycocotools(arrays, many, ious, most)
    given = {"iou": ious, "crowd": many, "most": most, "n_resamples": 0}
    found = box_average_precision(*arrays, **given)
    there = table[0] > -1
    assert there.tolist() == [True, True, False]
    np.testing.assert_allclose(found.value, table[:, there].mean(), atol=1e-12)
    np.testing.assert_allclose(
        [*found.details["ious"].values()], table[:, there].mean(1), atol=1e-12
    )
    each = [*found.details["classes"].values()]
    np.testing.assert_allclose(each[:2], table[:, :2].mean(0), atol=1e-12)
    assert np.isnan(each[2])
    assert any("no true box of 2" in note for note in found.notes)


def test_order_padding_and_empty_images_change_nothing():
    arrays, _ = drawn(4)
    whole = box_average_precision(*arrays, n_resamples=0).value
    curve = froc(*arrays, n_resamples=0)
    rng = np.random.default_rng(0)
    turned = rng.permutation(IMAGES)
    others = [[x[i] for i in turned] for x in arrays]
    for i in range(IMAGES):
        order = rng.permutation(len(others[2][i]))
        for part in others[2:]:
            part[i] = part[i][order]
    assert box_average_precision(*others, n_resamples=0).value == pytest.approx(whole, abs=1e-12)
    assert froc(*others, n_resamples=0).cpm.value == pytest.approx(curve.cpm.value, abs=1e-12)
    padded = [_padded(x, fill) for x, fill in zip(arrays, (0, -1, 0, 0, -1), strict=True)]
    assert box_average_precision(*padded, n_resamples=0).value == pytest.approx(whole, abs=1e-12)


def _padded(rows, fill):
    most = max(len(x) for x in rows) + 2
    out = np.full((len(rows), most, *rows[0].shape[1:]), fill, rows[0].dtype)
    for i, x in enumerate(rows):
        out[i, : len(x)] = x
    return out


def test_tied_scores_share_a_place():
    true = [np.array([[0.0, 0, 4, 4], [10, 10, 14, 14]])]
    boxes = np.array([[0.0, 0, 4, 4], [30, 30, 31, 31], [10, 10, 14, 14]])
    values = set()
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        found = box_average_precision(
            true, [[0, 0]], [boxes[order]], [[0.5] * 3], [[0] * 3], n_resamples=0
        )
        values.add(found.value)
    np.testing.assert_allclose([*values], [2 / 3])


def test_interpolations_on_a_curve_known_by_hand():
    true = [np.array([[0.0, 0, 4, 4], [10, 10, 14, 14]])]
    boxes = [np.array([[0.0, 0, 4, 4], [30, 30, 34, 34], [10, 10, 14, 14]])]
    given = (true, [[0, 0]], boxes, [[0.9, 0.8, 0.7]], [[0, 0, 0]])
    # Precision is 1 up to a recall of 1/2, then 2/3.
    for name, value in {
        "all": (1 + 2 / 3) / 2, "11": (6 + 5 * 2 / 3) / 11, "101": (51 + 50 * 2 / 3) / 101,
    }.items():  # fmt: skip
        found = box_average_precision(*given, interpolation=name, n_resamples=0)
        np.testing.assert_allclose(found.value, value, rtol=1e-12)


def counted(arrays, iou, rate):
    """The largest sensitivity of all thresholds with few enough false boxes, by trying each."""
    from jaxmed.quantities import box_overlaps

    true, kinds, boxes, scores, labels = arrays
    best = 0.0
    for threshold in np.concatenate(scores):
        hits = false = 0
        for i in range(IMAGES):
            for k in range(CLASSES):
                mine = (labels[i] == k) & (scores[i] >= threshold)
                order = np.argsort(-scores[i][mine])
                own = true[i][kinds[i] == k]
                free = np.ones(len(own), bool)
                for row in box_overlaps(boxes[i][mine][order], own):
                    row = np.where(free, row, 0)
                    if row.size and row.max() >= iou:
                        free[row.argmax()] = False
                        hits += 1
                    else:
                        false += 1
        if false / IMAGES <= rate:
            best = max(best, hits / sum(map(len, true)))
    return best


def test_froc_is_what_counting_gives():
    arrays, _ = drawn(7)
    curve = froc(*arrays, iou=0.3, n_resamples=0)
    for rate, estimate in curve.at.items():
        np.testing.assert_allclose(estimate.value, counted(arrays, 0.3, rate), rtol=1e-12)
    np.testing.assert_allclose(curve.cpm.value, np.mean([e.value for e in curve.at.values()]))
    assert (np.diff(curve.false_rate) >= 0).all()
    assert (np.diff(curve.thresholds) < 0).all()
    for rate in (0.25, 1.0):
        threshold = curve.threshold(rate)
        found, false = curve.counts(threshold)
        assert false.sum() / IMAGES <= rate
        assert found.sum() / curve.objects.sum() == curve.at[rate].value
    assert curve.threshold(1e-9) > curve.thresholds[0] or curve.hit[0]


def test_images_without_objects_count_in_the_rate():
    arrays, _ = drawn(7)
    more = [[*x, *[np.zeros((0, *x[0].shape[1:]), x[0].dtype)] * IMAGES] for x in arrays]
    one, two = froc(*arrays, n_resamples=0), froc(*more, n_resamples=0)
    np.testing.assert_allclose(two.false_rate, one.false_rate / 2)
    assert two.at[0.5].value == one.at[1.0].value


def test_intervals_by_patient_hold_the_value_and_are_wider():
    arrays, _ = drawn(9)
    twice = [[*x, *x, *x, *x] for x in arrays]
    patients = np.tile(np.arange(IMAGES), 4)
    rows = box_average_precision(*twice, n_resamples=60)
    whole = box_average_precision(*twice, groups=patients, n_resamples=60)
    assert rows.value == whole.value
    assert whole.lower <= whole.value <= whole.upper
    assert whole.width > rows.width
    assert (whole.n, whole.unit, rows.n, rows.unit) == (IMAGES, "patient", 4 * IMAGES, "image")
    again = box_average_precision(*twice, groups=patients, n_resamples=60)
    assert (again.lower, again.upper) == (whole.lower, whole.upper)
    cpm = froc(*twice, groups=patients, n_resamples=60).cpm
    assert cpm.lower <= cpm.value <= cpm.upper
    lone = froc(*twice, groups=np.zeros(4 * IMAGES), n_resamples=60).cpm
    assert (lone.lower, lone.upper) == (0, 1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"true_boxes": [[[0, 0, 0, 4]]]}, "image 0: true box 0 is .* no area"),
        ({"true_boxes": [[]], "true_labels": [[]]}, "no true box in any image"),
        ({"scores": [[float("nan")]]}, "image 0: a score is NaN"),
        ({"boxes": [[[0, 0, 1]]]}, "image 0: boxes are"),
        ({"boxes": [[[0, 0, 0, 1, 1, 1]]]}, "4 and 6 numbers"),
        ({"box_labels": [[0.5]]}, "whole numbers"),
        ({"scores": []}, "lengths differ"),
    ],
)
def test_what_has_no_answer_is_told(change, match):
    given = {
        "true_boxes": [[[0, 0, 4, 4]]], "true_labels": [[0]], "boxes": [[[0, 0, 4, 4]]],
        "scores": [[0.5]], "box_labels": [[0]],
    }  # fmt: skip
    for function in (box_average_precision, froc):
        with pytest.raises(ValueError, match=match):
            function(**{**given, **change}, n_resamples=0)
    with pytest.raises(ValueError, match="interpolation"):
        box_average_precision(**given, interpolation="12")
    with pytest.raises(ValueError, match="above 0"):
        froc(**given, rates=(0.0,))
