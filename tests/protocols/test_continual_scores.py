"""Scores of a sequence of tasks, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.protocols import continual_scores


def test_scores_are_those_of_the_matrix():
    r = np.random.default_rng(0).random((4, 3, 3))
    found = continual_scores(r)
    accuracy = [m[2].mean() for m in r]
    transfer = [np.mean([m[2, j] - m[j, j] for j in range(2)]) for m in r]
    lost = [np.mean([max(m[0, j], m[1, j]) - m[2, j] for j in range(2)]) for m in r]
    for estimate, values in zip(found, (accuracy, transfer, lost), strict=True):
        np.testing.assert_allclose(estimate.value, np.mean(values))
        assert estimate.lower < estimate.value < estimate.upper
        assert (estimate.n, estimate.unit) == (4, "seed")


def test_one_seed_says_nothing_of_others():
    found = continual_scores([[1.0, 0.0], [1.0, 1.0]])
    assert found.accuracy.value == 1
    assert found.forgetting.value == found.backward_transfer.value == 0
    assert found.accuracy.lower == -np.inf
    assert found.accuracy.notes


@pytest.mark.parametrize("scores", [[[1.0]], np.ones((2, 3)), np.full((2, 2), np.nan), [1.0]])
def test_mistakes_are_told(scores):
    with pytest.raises(ValueError, match="scores"):
        continual_scores(scores)
