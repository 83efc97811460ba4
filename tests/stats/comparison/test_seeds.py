"""The components of variance, against a model in which they are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import stats


def bias(y, x):
    return float(np.mean(x - y))


def test_the_components_are_those_of_the_model():
    rng = np.random.default_rng(0)
    n, seeds, case_sd, seed_sd, rest = 400, 200, 1.0, 0.3, 0.5
    y = np.zeros(n)
    x = (
        rng.normal(0, case_sd, n)
        + rng.normal(0, seed_sd, (seeds, 1))
        + rng.normal(0, rest, (seeds, n))
    )
    found = stats.seed_components(bias, y, x, n_resamples=400)
    sampling = np.sqrt((case_sd**2 + rest**2 / seeds) / n)
    assert found.details["sampling_sd"] == pytest.approx(sampling, rel=0.12)
    assert found.details["seed_sd"] == pytest.approx(np.sqrt(seed_sd**2 + rest**2 / n), rel=0.12)
    assert found.value == pytest.approx(x.mean())


@pytest.mark.slow
def test_the_interval_covers_the_mean_over_seeds_and_cases():
    rng = np.random.default_rng(1)
    covered = 0
    for i in range(300):
        x = rng.normal(0, 1, 60) + rng.normal(0, 0.2, (5, 1)) + rng.normal(0, 0.3, (5, 60))
        found = stats.seed_components(bias, np.zeros(60), x, n_resamples=200, seed=i)
        covered += found.lower <= 0 <= found.upper
    assert 0.915 <= covered / 300 <= 0.985


def test_patients_are_drawn_whole():
    rng = np.random.default_rng(2)
    x = np.repeat(rng.normal(size=(3, 30)), 4, axis=1)
    patients = np.repeat(np.arange(30), 4)
    alone = stats.seed_components(bias, np.zeros(120), x, n_resamples=300)
    whole = stats.seed_components(bias, np.zeros(120), x, groups=patients, n_resamples=300)
    assert whole.n == 30
    assert whole.unit == "patient"
    ratio = whole.details["sampling_sd"] / alone.details["sampling_sd"]
    assert ratio == pytest.approx(2, rel=0.1)


def test_hard_cases_are_told():
    one = stats.seed_components(bias, np.zeros(20), np.ones((1, 20)), n_resamples=50)
    assert "one seed" in one.notes[0]
    with pytest.raises(ValueError, match=r"outputs must be \(seeds, 20"):
        stats.seed_components(bias, np.zeros(20), np.ones(20))
    with pytest.raises(ValueError, match="not finite for seeds"):
        stats.seed_components(bias, np.zeros(3), np.array([[1.0, np.nan, 1.0]]))
    with pytest.raises(ValueError, match="at least 2 units"):
        stats.seed_components(bias, np.zeros(3), np.ones((2, 3)), groups=[1, 1, 1])
    with pytest.raises(ValueError, match="level"):
        stats.seed_components(bias, np.zeros(3), np.ones((2, 3)), level=95)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, np.inf), (-np.inf, 1.0), (-2.0, 1.0)])
@given(share=st.floats(0.02, 0.98), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_an_interval_stays_between_the_bounds_of_its_metric(bounds, share, seed):
    rng = np.random.default_rng(seed)
    hits = (rng.random((3, 12)) < share).astype(float)
    hits[:, 0] = [0, 1, 1]  # neither all nor none
    found = stats.seed_components(
        lambda y, x: np.mean(x), np.zeros(12), hits, bounds=bounds, n_resamples=60
    )
    plain = stats.seed_components(lambda y, x: np.mean(x), np.zeros(12), hits, n_resamples=60)
    assert bounds[0] <= found.lower <= found.value <= found.upper <= bounds[1]
    assert found.value == plain.value
    assert found.se == plain.se


def test_far_from_its_bounds_an_interval_is_that_without_them():
    x = np.random.default_rng(0).normal(0.5, 0.01, (4, 400))
    mean = bias
    near = stats.seed_components(mean, np.zeros(400), x, bounds=(0.0, 1.0), n_resamples=100)
    plain = stats.seed_components(mean, np.zeros(400), x, n_resamples=100)
    assert [near.lower, near.upper] == pytest.approx([plain.lower, plain.upper], abs=1e-6)
    assert "logit" in near.method
    with pytest.raises(ValueError, match="outside of its bounds"):
        stats.seed_components(mean, np.zeros(400), x, bounds=(0.6, 1.0), n_resamples=100)
