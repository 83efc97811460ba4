"""Pseudo-labels in rounds, with a classifier by hand: the nearer of the classes' means."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.protocols import pseudo_label_rounds

RNG = np.random.default_rng(3)
LABELLED = {"image": np.array([[0.0], [4.0]]), "label": np.array([0, 1]), "site": np.array([7, 7])}


def centroids(seen):
    def train(data):
        seen.append(data)
        weights = data["weight"]
        means = [
            np.average(data["image"][rows], axis=0, weights=weights[rows])
            for rows in (data["label"] == c for c in (0, 1))
        ]

        def predict(images):
            near = np.exp(-np.stack([((images - m) ** 2).sum(1) for m in means], 1))
            return near / near.sum(1, keepdims=True)

        return predict

    return train


def test_the_surest_share_of_each_round_is_handed_on():
    seen = []
    others = np.array([[0.5], [3.0], [2.1], [4.5], [1.0]])
    rounds = pseudo_label_rounds(
        centroids(seen), LABELLED, others, shares=(0.4, 1.0), threshold=0.6, weight=0.5
    )
    assert len(rounds) == len(seen) == 3
    assert [len(data["image"]) for data in seen[:2]] == [2, 4]
    # Means 0 and 4: log odds 8 (2 - x): 4.5 and 0.5 are surest.
    assert rounds[0].rows.tolist() == [3, 0]
    assert rounds[0].labels.tolist() == [1, 0]
    np.testing.assert_allclose(rounds[0].confidence, 1 / (1 + np.exp([-20.0, -12.0])))
    assert set(seen[1]) == {"image", "label", "weight"}
    np.testing.assert_array_equal(seen[1]["image"][:, 0], [0.0, 4.0, 4.5, 0.5])
    np.testing.assert_array_equal(seen[1]["label"], [0, 1, 1, 0])
    np.testing.assert_array_equal(seen[1]["weight"], [1, 1, 0.5, 0.5])
    # Means (0 + 0.5 / 2) / 1.5 = 1/6 and (4 + 4.5 / 2) / 1.5 = 25/6; 2.1 is as good as any.
    odds = (others[:, 0] - 1 / 6) ** 2 - (others[:, 0] - 25 / 6) ** 2
    sure = 1 / (1 + np.exp(-np.abs(odds)))
    expected = [i for i in np.argsort(-sure) if sure[i] >= 0.6]
    assert rounds[1].rows.tolist() == expected
    assert len(rounds[2].rows) == 0


def test_shares_of_each_class():
    # Eight of class 0 are surer than both of class 1.
    others = np.array([*np.linspace(-3, -2, 8), 2.4, 2.6])[:, None]
    together, balanced = (
        pseudo_label_rounds(centroids([]), LABELLED, others, shares=(0.5,), balanced=b)[0]
        for b in (False, True)
    )
    assert np.bincount(together.labels, minlength=2).tolist() == [5, 0]
    assert np.bincount(balanced.labels, minlength=2).tolist() == [4, 1]
    assert (np.diff(balanced.confidence) <= 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shares": ()}, ValueError, "at least one"),
        ({"shares": (0.5, 1.2)}, ValueError, "shares are in"),
        ({"threshold": 1.5}, ValueError, "threshold"),
        ({"weight": 0.0}, ValueError, "weight positive"),
        ({"target": "grade"}, KeyError, r"no \['grade'\]; they have \['image', 'label', 'site'\]"),
    ],
)
def test_misuse_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        pseudo_label_rounds(centroids([]), LABELLED, np.ones((2, 1)), **options)


def test_predictions_must_be_probabilities_of_classes():
    with pytest.raises(ValueError, match=r"2 images must be \(2, classes\), got \(2,\)"):
        pseudo_label_rounds(
            lambda data: lambda images: np.ones(len(images)), LABELLED, np.ones((2, 1))
        )
