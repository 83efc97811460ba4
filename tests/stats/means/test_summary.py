"""Means and medians with their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp

from jaxmed import stats


def test_mean_and_median() -> None:
    rng = np.random.default_rng(3)
    x = rng.beta(8, 2, 40)
    e = stats.mean(x)
    ci = sp.ttest_1samp(x, 0).confidence_interval()
    assert (e.lower, e.upper) == pytest.approx((ci.low, ci.high))
    m = stats.median(np.append(x, np.inf))
    assert np.isfinite(m.value)
    assert m.details["exact_level"] >= 0.95
    q = sp.quantile_test(x, p=0.5).confidence_interval(0.95)
    ours = stats.median(x)
    assert (ours.lower, ours.upper) == pytest.approx((q.low, q.high))
    assert stats.median([1.0, 2.0, 3.0]).notes
    assert stats.mean([0.5]).notes
    with pytest.raises(ValueError, match="NaN"):
        stats.mean([1.0, np.nan])
    dropped = stats.mean([1.0, np.nan, 3.0], missing="drop")
    assert dropped.n == 2
    assert "1 of 3" in dropped.notes[0]


@pytest.mark.parametrize("method", ["t", "normal", "percentile", "basic", "bca"])
def test_no_interval_of_a_mean_leaves_its_bounds(method: str) -> None:
    x = [0.99, 1.0, 1.0, 0.6, 1.0, 1.0]
    free = stats.mean(x, method=method)
    kept = stats.mean(x, method=method, bounds=(0, 1))
    assert (kept.value, kept.lower) == (free.value, free.lower)
    assert kept.upper == min(free.upper, 1)
    if method in ("t", "normal", "basic"):
        assert free.upper > 1


def test_bounds_hold_for_the_values_too() -> None:
    alone = stats.mean([0.5], bounds=(0, 1))
    assert (alone.lower, alone.upper) == (0, 1)
    with pytest.raises(ValueError, match=r"0.5 to 1.5, out of bounds=\(0, 1\)"):
        stats.mean([0.5, 1.5], bounds=(0, 1))
    with pytest.raises(ValueError, match="least value comes first"):
        stats.mean([0.5], bounds=(1, 0))
    rounded = stats.mean(np.full(3, np.float32(1) + np.finfo(np.float32).eps), bounds=(0, 1))
    assert rounded.lower <= rounded.value <= rounded.upper


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda rows: stats.mean(rows), "values"),
        (lambda rows: stats.auc(rows, [0.1, 0.2]), "labels"),
        (lambda rows: stats.auc([0, 1], rows), "scores"),
        (lambda rows: stats.mean([1.0, 2.0], groups=rows), "groups"),
    ],
)
def test_rows_of_several_lengths_are_told_by_the_arguments_name(call, name):
    with pytest.raises(ValueError, match=f"{name} must be an array of numbers: its rows are of"):
        call([[1.0], [1.0, 2.0]])
