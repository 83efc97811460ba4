"""The classes' shares among unlabelled cases: fixed points, known shifts, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.protocols import prior_shift

FEW = {"n_resamples": 50}


def gaussians(n, share, seed=0, apart=2.0):
    """Probabilities of a classifier that is right for equal shares, and the labels."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    x = rng.normal(size=n) + apart * y
    p = 1 / (1 + np.exp(-apart * (x - apart / 2)))
    return np.stack([1 - p, p], 1), y


def test_em_is_at_the_fixed_point_of_highest_likelihood():
    p, _ = gaussians(400, 0.2)
    source = np.array([0.5, 0.5])
    found = prior_shift(p, source, **FEW)
    np.testing.assert_allclose(found.adjusted(p).mean(0), found.prior, atol=1e-5)
    grid = np.linspace(0.001, 0.999, 999)
    likelihood = [np.log(p @ (np.array([1 - s, s]) / source)).sum() for s in grid]
    assert abs(grid[int(np.argmax(likelihood))] - found.prior[1]) < 2e-3


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_both_methods_find_a_known_shift(share):
    p, y = gaussians(3000, share)
    known = gaussians(1500, 0.5, seed=1)
    for options in ({}, {"method": "bbse", "held_out": known}):
        found = prior_shift(p, [0.5, 0.5], **options, **FEW)
        assert abs(found.prior[1] - y.mean()) < 0.05
        assert found.shares[1].lower < y.mean() < found.shares[1].upper
        np.testing.assert_allclose(found.prior.sum(), 1)
        better = found.adjusted(p)[np.arange(len(y)), y], p[np.arange(len(y)), y]
        assert np.log(better[0]).mean() > np.log(better[1]).mean()


def test_bbse_undoes_the_confusions():
    rng = np.random.default_rng(0)
    confusion = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]])

    def predicted(y):
        drawn = (rng.random(len(y))[:, None] > confusion[y].cumsum(1)).sum(1)
        return np.eye(3)[drawn] * 0.97 + 0.01

    known = np.arange(3000) % 3
    y = rng.choice(3, 4000, p=[0.6, 0.3, 0.1])
    held_out = predicted(known), known
    given = predicted(y)
    found = prior_shift(given, [1 / 3] * 3, method="bbse", held_out=held_out, **FEW)
    counted = np.linalg.solve(
        np.stack([np.eye(3)[held_out[0].argmax(1)][known == c].mean(0) for c in range(3)], 1),
        np.eye(3)[given.argmax(1)].mean(0),
    )
    np.testing.assert_allclose(found.prior, counted / counted.sum(), atol=1e-6)
    np.testing.assert_allclose(found.prior, [0.6, 0.3, 0.1], atol=0.05)


def test_no_shift_changes_nothing_and_patients_are_counted():
    p, _ = gaussians(300, 0.5)
    found = prior_shift(p, p.mean(0), groups=np.arange(300) // 3, **FEW)
    np.testing.assert_allclose(found.prior, p.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.adjusted(p), p, atol=1e-4)
    assert found.shares[0].n == 100
    assert found.shares[0].unit == "patient"


def test_a_class_without_a_share_leaves_sure_cases_alone():
    found = prior_shift(np.array([[1.0, 0.0], [1.0, 0.0]]), [0.5, 0.5], **FEW)
    np.testing.assert_allclose(found.prior, [1, 0], atol=1e-6)
    sure = np.array([[0.0, 1.0]])
    assert np.isfinite(found._replace(prior=np.array([1.0, 0.0])).adjusted([*sure, *sure])).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"source": [0.5, 0.6]}, "source must be 2 shares"),
        ({"source": [1.0, 0.0]}, "above 0"),
        ({"method": "ml"}, "method 'ml'"),
        ({"method": "bbse"}, "needs held_out"),
        ({"held_out": (np.eye(2), [0, 1])}, "are for method='bbse'"),
        ({"method": "bbse", "held_out": (np.eye(3), [0, 1, 2])}, "have 3 classes"),
        ({"method": "bbse", "held_out": (np.eye(2), [0, 0])}, "without"),
        ({"method": "bbse", "held_out": (np.eye(2), [0, 2])}, "0 to 2"),
        ({"method": "bbse", "held_out": (np.eye(2)[[0, 0]], [0, 1])}, "cannot be inverted"),
        ({"probabilities": [[0.2, 0.2], [1, 0]]}, "add up to 1"),
    ],
)
def test_mistakes_are_told(options, told):
    given = {"probabilities": gaussians(20, 0.5)[0], "source": [0.5, 0.5], **options}
    with pytest.raises(ValueError, match=told):
        prior_shift(**given, **FEW)
