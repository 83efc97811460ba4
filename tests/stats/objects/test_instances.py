"""Scores of instances: pairs by hand and by trying all, StarDist's numbers, limits, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxmed import stats
from jaxmed.quantities import aggregated_jaccard, contingency, match_instances

NONE = {"n_resamples": 0}


def maps(seed, images=4, side=12, objects=6):
    """Label maps in which objects are blocks, and those found are shifted, merged and lost."""
    rng = np.random.default_rng(seed)
    true, found = [], []
    for _ in range(images):
        label, other = np.zeros((2, side, side), int)
        for name in rng.choice(50, objects, replace=False) + 1:
            r, c = rng.integers(0, side - 3, 2)
            label[r : r + 3, c : c + 3] = name
            r, c = np.maximum(np.array([r, c]) + rng.integers(-1, 2, 2), 0)
            if rng.uniform() < 0.8:
                other[r : r + 3, c : c + 3] = name % 7 + 1
        true.append(label)
        found.append(other)
    return true, found


def values(scores):
    return {name: score.value for name, score in scores._asdict().items()}


def test_the_scores_by_hand():
    true = np.array([[1, 1, 1, 1, 0, 5, 5, 0, 9]])
    found = np.array([[2, 2, 2, 0, 0, 3, 3, 0, 0]])
    scores = values(stats.instance_scores([true], [found], **NONE))
    assert scores["precision"] == 1
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(4 / 5)
    assert scores["average_precision"] == pytest.approx(2 / 3)
    assert scores["panoptic_quality"] == pytest.approx((0.75 + 1) / 2.5)
    assert scores["aggregated_jaccard"] == pytest.approx(5 / 7)
    strict = values(stats.instance_scores([true], [found], iou=0.8, **NONE))
    assert strict["recall"] == pytest.approx(1 / 3)
    both = stats.instance_scores([true], [found], iou=(0.5, 0.8), **NONE)
    assert both.recall.value == pytest.approx(0.5)
    assert both.recall.details["ious"] == pytest.approx({0.5: 2 / 3, 0.8: 1 / 3})


@settings(max_examples=25)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**16), st.sampled_from([0.1, 0.3, 0.5])
)
@example(2, 4, 361, 0.5)  # an overlap that is no pair outweighed one that is
def test_pairs_are_the_best_of_all(m, n, seed, least):
    iou = np.random.default_rng(seed).integers(0, 9, (m, n)) / 10
    pairs = match_instances(iou, least)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert (iou[tuple(pairs.T)] >= least).all()
    best = (0, 0.0)
    for columns in itertools.permutations(range(max(m, n)), m):
        taken = [iou[i, j] for i, j in enumerate(columns) if j < n and iou[i, j] >= least]
        best = max(best, (len(taken), round(sum(taken), 9)))
    assert (len(pairs), round(iou[tuple(pairs.T)].sum(), 9)) == best


@settings(max_examples=10)
@given(st.integers(0, 2**16))
def test_names_mean_nothing_and_images_have_no_order(seed):
    true, found = maps(seed)
    renamed = [np.where(x > 0, 1000 - x, 0) for x in true]
    expected = values(stats.instance_scores(true, found, **NONE))
    assert values(stats.instance_scores(renamed, found, **NONE)) == pytest.approx(expected)
    turned = values(stats.instance_scores(true[::-1], found[::-1], **NONE))
    assert turned == pytest.approx(expected)
    itself = values(stats.instance_scores(true, renamed, **NONE))
    assert set(itself.values()) == {1.0}


def test_the_aggregated_index_counts_what_nothing_joins():
    table = contingency([[1, 1, 2, 2, 0, 0]], [[4, 4, 4, 0, 0, 6]])
    # Both are joined with 4 (3 voxels): unions 3 and 4; 6 is free.
    assert aggregated_jaccard(table) == (3, 3 + 4 + 1)
    assert aggregated_jaccard(contingency([[0, 0]], [[3, 0]])) == (0, 1)
    assert aggregated_jaccard(contingency([[1, 0]], [[0, 3]])) == (0, 2)


def test_empty_images_count_as_they_should():
    empty, one = np.zeros((3, 3), int), np.eye(3, dtype=int)
    alone = values(stats.instance_scores([one], [one], **NONE))
    beside = values(stats.instance_scores([one, empty], [one, empty], **NONE))
    assert beside == alone == dict.fromkeys(alone, 1.0)
    false = values(stats.instance_scores([one, empty], [one, one], **NONE))
    assert false["precision"] == 0.5
    assert false["aggregated_jaccard"] == 0.5
    nothing = values(stats.instance_scores([one], [empty], **NONE))
    assert set(nothing.values()) == {0.0}


def test_intervals_are_over_images_or_patients():
    true, found = maps(0, images=12)
    by_image = stats.instance_scores(true, found, n_resamples=200)
    by_patient = stats.instance_scores(true, found, n_resamples=200, groups=np.arange(12) // 3)
    for one, other in zip(by_image, by_patient, strict=True):
        assert one.value == other.value
        assert one.lower <= one.value <= one.upper
        assert (one.n, other.n) == (12, 4)
        assert (one.unit, other.unit) == ("image", "patient")


@pytest.mark.parametrize(
    ("true", "found", "message"),
    [
        ([np.eye(2, dtype=int)], [], "one map found for each true one, got 1 and 0"),
        ([], [], "got 0 and 0"),
        ([np.eye(2, dtype=int)], [np.eye(3, dtype=int)], r"image 0: the true map is \(2, 2\)"),
        ([np.eye(2)], [np.eye(2, dtype=int)], "the true map is of whole numbers"),
        ([np.eye(2, dtype=int)], [-np.eye(2, dtype=int)], "the found map is .* with -1"),
        ([np.zeros((2, 2), int)], [np.eye(2, dtype=int)], "no true object in any image"),
    ],
)
def test_maps_that_do_not_fit_are_refused(true, found, message):
    with pytest.raises(ValueError, match=message):
        stats.instance_scores(true, found)


@pytest.mark.parametrize("iou", [0.1, 0.5, 0.7])
def test_they_are_stardists(iou):
    peer = pytest.importorskip("stardist.matching")
    true, found = maps(3, images=6)
    theirs = peer.matching_dataset(true, found, thresh=iou, show_progress=False)
    ours = values(stats.instance_scores(true, found, iou=iou, **NONE))
    for name in ("precision", "recall", "f1", "panoptic_quality"):
        assert ours[name] == pytest.approx(getattr(theirs, name))
    assert ours["average_precision"] == pytest.approx(theirs.accuracy)
