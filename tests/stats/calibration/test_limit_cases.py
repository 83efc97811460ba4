"""Limit cases of calibration: few groups, equal probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats


def test_hosmer_lemeshow_needs_a_degree_of_freedom():
    y = [0] * 10 + [1, 0] * 5 + [1] * 10
    p = [0.0] * 10 + [0.4] * 5 + [0.6] * 5 + [1.0] * 10
    with pytest.raises(ValueError, match="2 usable groups leave 0 degrees of freedom"):
        stats.hosmer_lemeshow_test(y, p)
    assert stats.hosmer_lemeshow_test(y, p, df=2).df == 2
    with pytest.raises(ValueError, match="leave 0 degrees"):
        stats.hosmer_lemeshow_test(y, p, df=0)


@pytest.mark.parametrize("n", [7, 12, 100])
@pytest.mark.parametrize("n_bins", [1, 3, 10])
def test_bins_of_equal_mass_are_equal_without_ties(n, n_bins):
    p = np.random.default_rng(0).permutation(np.linspace(0.01, 0.99, n))
    count = stats.reliability(np.arange(n) % 2, p, n_bins=n_bins, binning="mass").count
    want = [len(part) for part in np.array_split(np.arange(n), n_bins)]
    assert count.tolist() == [size for size in want if size]


def test_equal_probabilities_stand_in_one_bin():
    for y in (np.repeat([1, 0], 50), np.tile([1, 0], 50)):
        e = stats.ece(y, np.full(100, 0.5), n_bins=2, binning="mass", n_resamples=0)
        assert e.value == 0
