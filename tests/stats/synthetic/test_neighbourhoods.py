"""Manifolds by balls, and copies: definitions by loops, laws, planted cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import quantities, stats

NAMED = {"extractor": "numbers"}


def by_loops(real, synthetic, k):
    """Precision, recall, density and coverage as their papers define them."""
    d = lambda a, b: float(np.sqrt(((a - b) ** 2).sum()))  # noqa: E731
    radius = lambda rows: [sorted(d(a, b) for b in rows)[k] for a in rows]  # noqa: E731
    of_real, of_synthetic = radius(real), radius(synthetic)
    inside = [[d(s, r) <= q for r, q in zip(real, of_real, strict=True)] for s in synthetic]
    reached = [
        any(d(r, s) <= q for s, q in zip(synthetic, of_synthetic, strict=True)) for r in real
    ]
    return (
        np.mean([any(row) for row in inside]),
        np.mean(reached),
        np.sum(inside) / (k * len(synthetic)),
        np.mean(np.any(inside, axis=0)),
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 4))
def test_shares_are_those_of_the_papers(seed, k):
    rng = np.random.default_rng(seed)
    real, synthetic = rng.normal(size=(14, 3)), 0.3 + rng.normal(size=(11, 3))
    both = stats.precision_recall(real, synthetic, k=k, **NAMED)
    dense = stats.density_coverage(real, synthetic, k=k, **NAMED)
    found = both.precision.value, both.recall.value, dense.density.value, dense.coverage.value
    np.testing.assert_allclose(found, by_loops(real, synthetic, k), atol=1e-12)
    other = stats.precision_recall(synthetic, real, k=k, **NAMED)
    assert (other.recall.value, other.precision.value) == found[:2]
    shuffled = stats.density_coverage(
        rng.permutation(real), rng.permutation(synthetic), k=k, **NAMED
    )
    assert shuffled.density.value == pytest.approx(dense.density.value)
    assert shuffled.coverage.value == dense.coverage.value


def test_a_set_beside_itself_is_all_of_it():
    x = np.random.default_rng(0).normal(size=(30, 5))
    both = stats.precision_recall(x, x, **NAMED)
    assert both.precision.value == both.recall.value == 1
    assert stats.density_coverage(x, x, **NAMED).coverage.value == 1


def test_collapse_costs_recall_and_noise_costs_precision():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200, 4))
    collapsed = stats.precision_recall(x, 0.05 * y, **NAMED)
    assert collapsed.precision.value > 0.9
    assert collapsed.recall.value < 0.1
    scattered = stats.precision_recall(x, 6 * y, **NAMED)
    assert scattered.precision.value < 0.2


def test_many_images_are_compared_block_by_block(monkeypatch):
    x, y = np.random.default_rng(0).normal(size=(2, 23, 3))
    whole = quantities.neighbourhoods(x, y, 2), quantities.nearest_rows(x)
    monkeypatch.setattr("jaxmed.quantities._features._BLOCK", 50)
    parts = quantities.neighbourhoods(x, y, 2), quantities.nearest_rows(x)
    for one, other in zip(whole, parts, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def three():
    return np.random.default_rng(0).normal(size=(3, 120, 6))


def test_new_images_are_no_copies(three):
    train, held_out, new = three
    found = stats.memorised(train, held_out, new, **NAMED)
    assert found.copies.lower < 0.05 < found.copies.upper
    assert found.nearer.lower < 0.5 < found.nearer.upper
    assert found.held_out_unauthentic.lower < found.unauthentic.upper


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_copies_are_counted_and_named(three, share):
    train, held_out, new = three
    n = int(share * len(new))
    drawn = new.copy()
    drawn[:n] = train[::-1][:n] + 0.001 * new[:n]
    found = stats.memorised(train, held_out, drawn, **NAMED)
    assert share <= found.copies.value <= share + 0.1
    assert found.copies.lower > 0.05
    np.testing.assert_array_equal(found.nearest[:n], np.arange(len(train))[::-1][:n])
    assert found.unauthentic.value >= share
    assert found.nearer.value > 0.5 + 0.4 * share
    exact = stats.memorised(train, held_out, train, **NAMED)
    assert exact.distance.max() == 0


def test_no_copy_among_few_is_not_none_at_all(three):
    train, held_out, new = three
    found = stats.memorised(train, held_out, 9 + new[:20], **NAMED).copies
    assert found.value == 0
    assert 0.01 < found.upper < 0.2


def test_quality_puts_real_images_beside(three):
    train, held_out, new = three
    found = stats.synthetic_quality(train, held_out, np.concatenate([new, new + 0.1]), **NAMED)
    assert found.measures.keys() == {
        "kernel_distance", "frechet_distance", "precision", "recall", "density", "coverage",
    }  # fmt: skip
    for both in found.measures.values():
        assert both.found.n == both.floor.n  # of as many images
        assert "numbers" in both.found.name
    alone = stats.kernel_distance(held_out, train, **NAMED)
    assert found.measures["kernel_distance"].floor.value == alone.value
    copied = stats.synthetic_quality(train, held_out, train, **NAMED)
    assert copied.measures["recall"].found == copied.measures["recall"].floor
    assert copied.memorised.copies.value == 1


def test_what_cannot_be_told_is_refused(three):
    train, held_out, new = three
    with pytest.raises(ValueError, match=r"synthetic has 3 image\(s\); neighbour 3 needs 4"):
        stats.precision_recall(train, new[:3], **NAMED)
    with pytest.raises(ValueError, match=r"of which the share 0\.05 is less than one"):
        stats.memorised(train, held_out[:10], new, **NAMED)
    with pytest.raises(ValueError, match="k must be a whole number"):
        stats.density_coverage(train, new, k=1.5, **NAMED)
    with pytest.raises(ValueError, match="quantile must lie in"):
        stats.memorised(train, held_out, new, quantile=1.0, **NAMED)
    with pytest.raises(ValueError, match=r"synthetic has 1 image\(s\)"):
        stats.synthetic_quality(train, held_out, new[:1], **NAMED)
