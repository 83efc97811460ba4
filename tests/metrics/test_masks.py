"""Dice, IoU and volume error by hand and by scikit-learn; the table; collections; errors."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxmed import metrics

NAN = float("nan")


def _random(shape=(4, 3, 4, 2), classes=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape)
    predicted = np.where(rng.uniform(size=shape) < 0.5, truth, rng.integers(0, classes, shape))
    return np.eye(classes)[predicted].astype(np.float32), predicted, truth


def test_dice_and_iou_are_f1_and_jaccard_of_the_voxels_of_each_case():
    logits, predicted, truth = _random()
    cases = list(zip(truth.reshape(4, -1), predicted.reshape(4, -1), strict=True))
    f1 = np.array([sk.f1_score(t, p, average=None, labels=[1, 2]) for t, p in cases])
    jaccard = np.array([sk.jaccard_score(t, p, average=None, labels=[1, 2]) for t, p in cases])
    assert metrics.evaluate(metrics.dice(), logits, truth) == pytest.approx(f1.mean())
    np.testing.assert_allclose(
        metrics.evaluate(metrics.dice(average=None), logits, truth), f1.mean(0)
    )
    assert metrics.evaluate(metrics.iou(), logits, truth) == pytest.approx(jaccard.mean())
    pooled = sk.f1_score(truth.ravel(), predicted.ravel(), average=None)
    np.testing.assert_allclose(
        metrics.evaluate(
            metrics.dice(average=None, over="all", include_background=True), logits, truth
        ),
        pooled,
    )
    from_maps = metrics.evaluate(metrics.dice(classes=3), predicted, truth)
    assert from_maps == pytest.approx(f1.mean())


def test_volume_error_by_hand():
    truth = np.array([[0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    predicted = np.array([[0, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0]])  # -2/3, +1, undefined

    def value(**options):
        return metrics.evaluate(metrics.volume_error(classes=2, **options), predicted, truth)

    assert value() == pytest.approx((2 / 3 + 1) / 2)
    assert value(signed=True) == pytest.approx((-2 / 3 + 1) / 2)
    assert value(relative=False, voxel_volume=0.5) == pytest.approx((2 + 1 + 2) / 3 * 0.5)


def test_the_rule_for_empty_classes():
    truth = np.array([[0, 0], [0, 0], [1, 0]])
    predicted = np.array([[0, 0], [1, 0], [1, 0]])  # both empty, false positive, perfect
    assert metrics.evaluate(metrics.dice(classes=2), predicted, truth) == pytest.approx(1 / 2)
    one = metrics.evaluate(metrics.dice(classes=2, empty=1.0), predicted, truth)
    assert one == pytest.approx(2 / 3)
    assert np.isnan(metrics.evaluate(metrics.dice(classes=2), predicted[:1], truth[:1]))


def test_voxels_can_be_left_out_and_regions_have_no_background():
    logits, predicted, truth = _random()
    where = np.zeros(truth.shape, bool)
    where[:, :2] = True
    cut = metrics.evaluate(metrics.dice(), logits[:, :2], truth[:, :2])
    garbage = np.where(where, truth, 99)
    assert metrics.evaluate(metrics.dice(), logits, garbage, where=where) == pytest.approx(cut)
    inside = jax.jit(metrics.dice().from_batch)(logits, garbage, where=where)
    assert metrics.dice().compute(inside) == pytest.approx(cut)
    bits = np.stack([truth >= 1, truth == 2], -1).astype(np.int32)
    regions = np.stack([predicted >= 1, predicted == 2], -1) * 2.0 - 1
    expected = [
        np.mean([sk.f1_score(t.ravel(), p.ravel()) for t, p in zip(a, b, strict=True)])
        for a, b in (((truth >= 1), predicted >= 1), ((truth == 2), predicted == 2))
    ]
    np.testing.assert_allclose(
        metrics.evaluate(metrics.dice(average=None), regions, bits), expected
    )
    one = metrics.evaluate(metrics.dice(), regions[..., :1], bits[..., 0])
    assert one == pytest.approx(expected[0])


def test_case_table_lists_the_cases_without_the_padding():
    logits, _, truth = _random()
    metric = metrics.dice()
    first = metric.from_batch(logits[:3], truth[:3])
    last = metric.from_batch(logits[[3, 3]], truth[[3, 3]], weight=[1, 0])
    rows = metrics.case_table(
        metric.merge(first, last), case_ids=list("abcd"), class_names=["bg", "x", "y"]
    )
    assert [r["case"] for r in rows] == list("aaabbbcccddd")
    assert [r["class"] for r in rows[:3]] == ["bg", "x", "y"]
    foreground = [r["dice"] for r in rows if r["class"] != "bg"]
    assert np.mean(foreground) == pytest.approx(metrics.evaluate(metric, logits, truth))
    assert rows[1]["true_volume"] == (truth[0] == 1).sum()
    assert rows[1]["iou"] == pytest.approx(rows[1]["dice"] / (2 - rows[1]["dice"]))
    scaled = metrics.case_table(first, voxel_volume=[1.0, 2.0, 0.5])
    assert scaled[4]["true_volume"] == 2 * (truth[1] == 1).sum()
    with pytest.raises(ValueError, match="2 case_ids for 3"):
        metrics.case_table(first, case_ids=["a", "b"])


def test_a_collection_reads_each_batch_once_per_accumulator():
    ranking = {"auc": metrics.auc(), "ap": metrics.average_precision()}
    both = metrics.collection({"f1": metrics.f1(), "mcc": metrics.mcc(), **ranking})
    accumulator = both.from_batch([0.5, -1.0, 2.0], [1, 0, 0])
    assert len(accumulator) == 2
    assert list(both.compute(accumulator)) == ["f1", "mcc", "auc", "ap"]
    assert metrics.f1().from_batch is metrics.accuracy().from_batch
    assert metrics.dice().from_batch is metrics.iou().from_batch
    assert metrics.f1(threshold=0.3).from_batch is not metrics.f1().from_batch


def test_the_threshold_is_a_probability():
    x, y = np.array([-1.0, -0.2, 0.0, 0.3]), np.array([0, 1, 1, 1])
    p = 1 / (1 + np.exp(-x))
    for cut in (0.25, 0.4, 0.5, 0.6):  # 0.5 is the probability of the third
        want = sk.accuracy_score(y, p >= cut)
        assert metrics.evaluate(metrics.accuracy(threshold=cut), x, y) == want
        raw = metrics.accuracy(threshold=cut, activation=None)
        assert metrics.evaluate(raw, p, y) == want


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: metrics.evaluate(metrics.f1(), [0.1, 0.2], [0, 2]), r"label 2 is outside.*0\.\.1"),
        (lambda: metrics.evaluate(metrics.f1(), np.eye(3), [0, 1, -1]), "label -1 is outside"),
        (lambda: metrics.evaluate(metrics.f1(), np.eye(3), [0, 1, 0.5]), "label 0.5"),
        (lambda: metrics.evaluate(metrics.auc(), [NAN, 0.2], [0, 1]), "1 of the outputs are NaN"),
        (lambda: metrics.evaluate(metrics.auc(), np.eye(3), [0, 1]), r"\(3, 3\).*\(2,\)"),
        (
            lambda: metrics.evaluate(metrics.f1(), np.eye(3), [0, 1, 2], weight=[1, 1]),
            r"weight has shape \(2,\)",
        ),
        (
            lambda: metrics.evaluate(metrics.f1(), np.eye(3), [0, 1, 2], weight=[1, 1, -1]),
            "weight holds a negative",
        ),
        (lambda: metrics.evaluate(metrics.brier(activation=None), [2.0], [1]), "probabilities"),
        (
            lambda: metrics.evaluate(metrics.log_loss(activation=None), np.eye(3) * 0.5, [0, 1, 2]),
            "sum to 1",
        ),
        (lambda: metrics.evaluate(metrics.mse(), np.ones((2, 2)), np.ones(2)), "one shape"),
        (lambda: metrics.evaluate(metrics.r2(), [NAN, 1.0], [1, 1]), "NaN"),
        (lambda: metrics.f1(average="mean"), "average='mean'"),
        (lambda: metrics.auc(average="binary"), "average='binary'"),
        (lambda: metrics.evaluate(metrics.f1(average="binary"), np.eye(3), [0, 1, 2]), "binary"),
        (lambda: metrics.accuracy(threshold=1.5), "threshold=1.5"),
        (lambda: metrics.accuracy(activation="softmax"), "activation='softmax'"),
        (lambda: metrics.ece(bins=0), "bins=0"),
        (lambda: metrics.collection({}), "at least one"),
        (lambda: metrics.evaluate(metrics.dice(), np.zeros((2, 4, 3)), [[0, 1], [0, 1]]), "dice"),
        (
            lambda: metrics.evaluate(metrics.dice(), np.zeros((1, 2, 3)), [[0, 3]]),
            r"1 cases hold labels outside the classes 0\.\.2",
        ),
        (lambda: metrics.evaluate(metrics.dice(), np.zeros((1, 2, 3)), [[0, 0.5]]), "not integer"),
        (lambda: metrics.dice(over="batch"), "over='batch'"),
    ],
)
def test_a_wrong_argument_names_itself_and_the_rule(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()


def test_r2_of_a_constant_target_is_nan():
    assert np.isnan(metrics.evaluate(metrics.r2(), [1.0, 2.0], [0.1, 0.1]))
