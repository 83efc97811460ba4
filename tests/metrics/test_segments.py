"""Scores of segments against every pair of voxels, and what splits and mergers do to them."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import metrics
from jaxmed.metrics import SegmentScores

LABELS = hnp.arrays(np.int64, (4, 5), elements=st.integers(0, 3))


def by_pairs(found, true):
    """Of all ordered pairs of voxels inside true segments, borders that were found being alone."""
    inside = true > 0
    found, true = found[inside], true[inside]
    n = len(true)
    together = np.array(
        [[i == j or (found[i] == found[j] > 0) for j in range(n)] for i in range(n)]
    )
    same = true[:, None] == true
    both = (together & same).sum()
    return 2 * both / (together.sum() + same.sum()), both / same.sum(), both / together.sum()


@settings(max_examples=50, deadline=None)
@given(LABELS, LABELS)
def test_rand_scores_are_those_of_all_pairs(found, true):
    scores = metrics.v_rand(found, true, thin=False)
    if not true.any():
        assert np.isnan(scores).all()
        return
    np.testing.assert_allclose(scores, by_pairs(found, true))
    # Thinned are those of the segments that have grown.
    grown = metrics.grown(found)
    np.testing.assert_allclose(metrics.v_rand(found, true), by_pairs(grown, true))
    # Names of segments mean nothing; what lies on true borders neither.
    renamed = np.array([0, 7, 5, 9])[found]
    elsewhere = np.where(true > 0, renamed, 1)
    np.testing.assert_allclose(metrics.v_rand(elsewhere, true, thin=False), scores)


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_each_border_voxel_goes_to_the_nearest_segment(found):
    grown = metrics.grown(found)
    inside = np.argwhere(found > 0)
    if not len(inside):
        assert not grown.any()
        return
    np.testing.assert_array_equal(grown[found > 0], found[found > 0])
    for place in np.argwhere(found == 0):
        distances = ((inside - place) ** 2).sum(1)
        nearest = {found[tuple(x)] for x in inside[distances == distances.min()]}
        assert grown[tuple(place)] in nearest


def test_information_scores_are_those_of_entropies():
    measures = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 4, (6, 7)), rng.integers(1, 5, (6, 7))
    inside = true > 0
    scores = metrics.v_info(found, true)
    homogeneity, completeness, both = measures.homogeneity_completeness_v_measure(
        true[inside], found[inside]
    )
    assert scores.merge == pytest.approx(homogeneity)
    assert scores.split == pytest.approx(completeness)
    assert scores.score == pytest.approx(both)
    # And by hand: a segment of 4 cut in halves; H(S) is 1.5 bits, of which 1 is shared.
    hand = metrics.v_info([1, 1, 2, 2, 3, 3, 3, 3], [1, 1, 1, 1, 2, 2, 2, 2])
    assert hand == pytest.approx(SegmentScores(0.8, 2 / 3, 1.0))


@pytest.mark.parametrize("measure", [metrics.v_rand, metrics.v_info])
def test_splits_and_mergers_are_told_apart(measure):
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3, 3]] * 2)
    assert measure(true, true) == pytest.approx(SegmentScores(1.0, 1.0, 1.0))
    split, merged = true.copy(), true.copy()
    split[:, 2:4] = 4
    merged[:, 4:7] = 1
    assert measure(split, true).merge == pytest.approx(1.0)
    assert measure(split, true).split < 0.9
    assert measure(merged, true).split == pytest.approx(1.0)
    assert measure(merged, true).merge < 0.9
    # A border that is broader is no error, but where it is not thinned.
    broad = true.copy()
    broad[:, 3] = broad[:, 5] = 0
    assert measure(broad, true) == pytest.approx(SegmentScores(1.0, 1.0, 1.0))
    assert measure(broad, true, thin=False).score < 0.95
    # Nothing found but borders: every voxel alone.
    assert measure(0 * true, true).merge == pytest.approx(1.0)
    assert np.isnan(measure(true, 0 * true)).all()


def test_what_is_wrong_is_said():
    whole = np.ones((3, 4), int)
    with pytest.raises(ValueError, match="segments differ in shape"):
        metrics.v_rand(whole, whole.T)
    for measure in (metrics.v_rand, metrics.v_info):
        with pytest.raises(ValueError, match=r"prediction has no voxel: its shape is \(0, 3\)"):
            measure(np.zeros((0, 3), int), np.zeros((0, 3), int))
    with pytest.raises(ValueError, match="segments has no voxel"):
        metrics.grown([])
    with pytest.raises(ValueError, match=r"prediction must be .* whole numbers.*float64"):
        metrics.v_rand(0.5 * whole, whole)
    with pytest.raises(ValueError, match="target must be numbers from 0 on, but holds -1"):
        metrics.v_info(whole, -whole)
