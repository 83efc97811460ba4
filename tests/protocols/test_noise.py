"""Labels that may be wrong: counted by hand, found where they were put, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from jaxmed.protocols import suspect_labels, transition_matrix

FEW = {"n_resamples": 20}


def noisy(seed=0, n=600, classes=3, rate=0.2, skill=3.0):
    """Probabilities of the true classes, labels of which some are wrong, and which."""
    rng = np.random.default_rng(seed)
    true = np.arange(n) % classes
    p = special.softmax(rng.normal(size=(n, classes)) + skill * np.eye(classes)[true], axis=1)
    wrong = rng.random(n) < rate
    written = np.where(wrong, (true + 1) % classes, true)
    return p, written, wrong


def test_suspects_are_counted_as_by_hand():
    p, y, _ = noisy(n=60)
    found = suspect_labels(p, y, **FEW)
    threshold = [p[y == j, j].mean() for j in range(3)]
    counts, suspects = np.zeros((3, 3)), {}
    for i, row in enumerate(p):
        sure = [j for j in range(3) if row[j] >= threshold[j]]
        if not sure:
            continue
        j = max(sure, key=lambda j: row[j])
        counts[y[i], j] += 1
        if j != y[i]:
            suspects[i] = (row[y[i]], j)
    joint = counts / counts.sum(1, keepdims=True) * (np.bincount(y) / 60)[:, None]
    np.testing.assert_allclose(found.joint, joint)
    assert found.rows.tolist() == sorted(suspects, key=lambda i: suspects[i][0])
    assert found.suggested.tolist() == [suspects[i][1] for i in found.rows]
    np.testing.assert_allclose(found.joint.sum(), 1)
    np.testing.assert_allclose(found.wrong.value, 1 - np.trace(joint))


def test_wrong_labels_are_found_and_their_share_is_estimated():
    p, y, wrong = noisy()
    found = suspect_labels(p, y, n_resamples=200)
    assert wrong[found.rows].mean() > 0.9
    assert np.isin(np.flatnonzero(wrong), found.rows).mean() > 0.7
    assert abs(found.wrong.value - 0.2) < 0.05
    assert found.wrong.lower < found.wrong.value < found.wrong.upper
    np.testing.assert_allclose(np.diag(found.transition), 0.8, atol=0.1)
    np.testing.assert_allclose(found.transition.sum(1), 1)
    assert "labels; share of wrong labels" in repr(found)


def test_right_labels_are_hardly_suspect_and_patients_are_counted():
    p, y, _ = noisy(rate=0.0, skill=6.0)
    found = suspect_labels(p, y, groups=np.arange(600) // 3, **FEW)
    assert len(found.rows) < 6
    assert (found.wrong.n, found.wrong.unit) == (200, "patient")


def test_anchors_give_the_transition():
    transition = np.array([[0.7, 0.3, 0.0], [0.0, 0.8, 0.2], [0.1, 0.1, 0.8]])
    rng = np.random.default_rng(0)
    true = special.softmax(8 * rng.normal(size=(3000, 3)), axis=1)
    found = transition_matrix(true @ transition, quantile=0.97)
    np.testing.assert_allclose(found, transition, atol=0.02)
    np.testing.assert_allclose(found.sum(1), 1)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda p, y: suspect_labels(p * 2, y), "add up to 1"),
        (lambda p, y: suspect_labels(p, y[:5]), r"labels must be \(60,\)"),
        (lambda p, y: suspect_labels(p, y * 0), r"without \[1, 2\]"),
        (lambda p, y: suspect_labels(p, y + 1), "1 to 3"),
        (lambda p, y: transition_matrix(p, quantile=0), r"\(0, 1\]"),
    ],
)
def test_mistakes_are_told(call, told):
    p, y, _ = noisy(n=60)
    with pytest.raises(ValueError, match=told):
        call(p, y)
