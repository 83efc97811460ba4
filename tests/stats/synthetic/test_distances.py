"""Distances of feature sets: closed forms, double loops, laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from jaxmed import quantities, stats

NAMED = {"extractor": "numbers"}


def sets(seed, n=40, m=30, f=4):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(f, f))
    return rng.normal(size=(n, f)) @ mix, 0.5 + 2 * rng.normal(size=(m, f))


def by_root(x, y):
    """The published formula, by the root of a matrix."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.asarray(linalg.sqrtm(a @ b)).real
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)


@pytest.mark.parametrize(("n", "m", "f"), [(40, 30, 4), (6, 30, 12), (8, 7, 20)])
def test_the_frechet_distance_is_that_of_the_matrix_root(n, m, f):
    x, y = sets(0, n, m, f)
    want = by_root(x, y)
    # The root of a singular matrix is known to half the digits.
    assert quantities.frechet_distance(x, y) == pytest.approx(want, rel=1e-5 if f > n else 1e-9)


def test_the_frechet_distance_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    mean, scale = np.array([1.0, -2, 0]), np.array([1.0, 2, 0.5])
    x, y = rng.normal(size=(2, 20_000, 3))
    found = stats.frechet_distance(x, mean + scale * y, **NAMED)
    want = (mean**2).sum() + ((scale - 1) ** 2).sum()
    assert found.lower < want < found.upper
    assert found.value == pytest.approx(want, rel=0.03)
    assert found.name == "Frechet distance (numbers)"


def loop(x, y):
    k = lambda a, b: (a @ b / len(a) + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    one = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    two = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return one + two - 2 * np.mean([[k(a, b) for b in y] for a in x])


def test_the_kernel_distance_is_a_double_loop():
    x, y = sets(1, 12, 9)
    found = stats.kernel_distance(x, y, **NAMED)
    assert found.value == pytest.approx(loop(x, y), rel=1e-10)
    without = [loop(np.delete(x, i, 0), y) for i in range(12)]
    others = [loop(x, np.delete(y, i, 0)) for i in range(9)]
    variance = 11 * np.var(without) + 8 * np.var(others)
    assert found.se == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_patients_are_left_out_whole():
    x, y = sets(2, 12, 9)
    groups = np.array(list("aabbccddeeff"))
    found = stats.kernel_distance(x, y, groups=groups, **NAMED)
    without = [loop(x[groups != g], y) for g in "abcdef"]
    others = [loop(x, np.delete(y, i, 0)) for i in range(9)]
    assert found.se == pytest.approx(np.sqrt(5 * np.var(without) + 8 * np.var(others)), rel=1e-9)
    with pytest.raises(ValueError, match="1 patient"):
        stats.kernel_distance(x, y, groups=["a"] * 12, **NAMED)


DISTANCES = {
    "frechet": lambda x, y: stats.frechet_distance(x, y, blocks=2, **NAMED).value,
    "kernel": lambda x, y: stats.kernel_distance(x, y, **NAMED).value,
}


@pytest.mark.parametrize("name", DISTANCES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_distances_are_symmetric_and_blind_to_order(name, seed):
    x, y = sets(seed, 9, 7)
    measure = DISTANCES[name]
    rng = np.random.default_rng(seed)
    scale = 1e-9 * (1 + abs(x).max() + abs(y).max()) ** 6
    assert measure(x, y) == pytest.approx(measure(y, x), abs=scale)
    assert measure(x, y) == pytest.approx(
        measure(rng.permutation(x), rng.permutation(y)), abs=scale
    )


def test_equal_sets_are_at_no_distance():
    x, _ = sets(3)
    assert stats.frechet_distance(x, x[::-1], **NAMED).value == pytest.approx(0, abs=1e-9)
    # Unbiased: an image and its copy in the other set count, an image and itself do not.
    assert stats.kernel_distance(x, x, **NAMED).value < 0


@pytest.mark.slow
def test_intervals_cover():
    """As the docstrings say: the kernel distance's a little short at 40 images of each set."""
    hits = []
    for seed in range(400):
        x, y = np.random.default_rng(seed).normal(size=(2, 40, 3))
        e = stats.kernel_distance(x, y + 0.5, **NAMED)
        hits.append(e)
    truth = np.mean([e.value for e in hits])
    assert 0.87 < np.mean([e.lower < truth < e.upper for e in hits]) < 0.99
    values = [
        stats.frechet_distance(*np.random.default_rng(s).normal(size=(2, 60, 3)) * 1.5, **NAMED)
        for s in range(300)
    ]
    centre = np.mean([e.value for e in values])
    assert np.mean([e.lower < centre < e.upper for e in values]) > 0.90


def test_what_cannot_be_told_is_refused():
    x, y = sets(4)
    with pytest.raises(ValueError, match=r"synthetic has 1 image\(s\); a covariance needs 2"):
        stats.frechet_distance(x, y[:1], **NAMED)
    with pytest.raises(ValueError, match=r"real has 1 image\(s\); a distance of pairs needs 2"):
        stats.kernel_distance(x[:1], y, **NAMED)
    with pytest.raises(ValueError, match=r"features of one network.*real 4, synthetic 3"):
        stats.kernel_distance(x, y[:, :3], **NAMED)
    with pytest.raises(ValueError, match="NaN"):
        stats.frechet_distance(x, np.where(y > 0, np.nan, y), **NAMED)
    with pytest.raises(ValueError, match="extractor is the name of the network"):
        stats.frechet_distance(x, y, extractor=" ")
    few = stats.frechet_distance(x[:4], y, **NAMED)
    assert any("4 images do not determine a covariance of 4 features" in n for n in few.notes)
    two = stats.kernel_distance(x[:2], y, **NAMED)
    assert two.lower == -np.inf
    assert any("no interval" in note for note in two.notes)
    assert stats.frechet_distance(x[:2], y, **NAMED).upper == np.inf
