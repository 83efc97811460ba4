"""Agreement: limits that hold what they say, near 1 and of few raters, and their limit cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmed import stats


def test_fleiss_error_is_the_jackknifes():
    rng = np.random.default_rng(0)
    base = rng.random(300) < 0.3
    x = np.where(rng.random((300, 4)) < 0.8, base[:, None], rng.random((300, 4)) < 0.3).astype(int)
    e = stats.fleiss_kappa(x, method="wald")
    left = [stats.fleiss_kappa(np.delete(x, i, axis=0)).value for i in range(300)]
    jackknife = np.sqrt(299 / 300 * np.sum((left - np.mean(left)) ** 2))
    assert e.se == pytest.approx(jackknife, rel=0.01)
    # Fleiss' own error is that under no agreement, and is kept for a test of it.
    null = stats.fleiss_kappa(x, method="null")
    assert null.se == pytest.approx(e.details["null_se"])
    assert null.se < 0.7 * e.se


def test_fleiss_limits_cover_at_moderate_agreement():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        base = rng.random(60) < 0.2
        own = rng.random((60, 4)) < 0.2
        x = np.where(rng.random((60, 4)) < np.sqrt(0.6), base[:, None], own).astype(int)
        e = stats.fleiss_kappa(x)
        held += e.lower <= 0.6 <= e.upper
    assert held / 400 > 0.91


@pytest.mark.parametrize("raters", [2, 3])
def test_perfect_agreement_has_an_interval(raters):
    x = np.repeat([0, 0, 0, 1, 1, 0, 1, 0, 0, 0], raters).reshape(10, raters)
    for e in (stats.fleiss_kappa(x), stats.kappa(x[:, 0], x[:, 1])):
        assert e.value == e.upper == 1
        assert 0 < e.lower < 0.7
    assert stats.kappa(x[:, 0], x[:, 1], method="delta").lower == 1  # the point it was


def test_kappa_near_one_covers():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        base = rng.random(60) < 0.5
        a, b = (
            np.where(rng.random(60) < np.sqrt(0.9), base, rng.random(60) < 0.5) for _ in range(2)
        )
        e = stats.kappa(a.astype(int), b.astype(int))
        held += e.lower <= 0.9 <= e.upper
    assert held / 400 > 0.93  # value +- z se holds .86


def test_kappa_of_many_disagreements_keeps_the_delta_limits():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 3, (2, 60))
    auto, delta = stats.kappa(a, b), stats.kappa(a, b, method="delta")
    assert (auto.lower, auto.upper, auto.method) == (delta.lower, delta.upper, "delta")


def test_icc2_of_two_raters_covers():
    rng = np.random.default_rng(4)
    held = {"f": 0, "auto": 0}
    for _ in range(300):
        x = np.sqrt(0.8) * rng.normal(size=(60, 1)) + np.sqrt(0.1) * rng.normal(size=2)
        x = x + np.sqrt(0.1) * rng.normal(size=(60, 2))
        for method in held:
            e = stats.icc(x, method=method)
            held[method] += e.lower <= 0.8 <= e.upper
    assert held["auto"] / 300 > 0.92
    assert held["f"] / 300 < 0.87  # what the approximation was


def test_icc_of_raters_who_agree_exactly_is_a_point_with_a_note():
    x = np.repeat(np.arange(5.0)[:, None], 3, axis=1)
    for form in ("ICC1", "ICC2", "ICC3", "ICC2k"):
        e = stats.icc(x, form=form)
        assert e.value == e.lower == e.upper == 1
        assert "no error" in e.notes[0]
    with pytest.raises(ValueError, match="generalised limits are for ICC2"):
        stats.icc(x, form="ICC3", method="generalized")


def test_fixed_readers_have_the_error_that_the_covariance_gives():
    """MRMCaov's: nothing is cut at 0, for differences and for means."""
    clipped = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        readers, cases = 3, 30
        y = np.arange(cases) % 2
        x = rng.normal(size=(2, readers, cases)) + y + 0.8 * rng.normal(size=(1, readers, cases))
        t, r, c = (
            g.ravel() for g in np.meshgrid(range(2), range(readers), range(cases), indexing="ij")
        )
        study = stats.reader_study(y[c], x.ravel(), r, t, c)
        made = stats.reader_test(study, readers="fixed")
        weights = np.array([1, -1])[:, None] * np.ones((2, readers)) / readers
        direct = np.einsum("ij,ijkl,kl", weights, study.covariance, weights)
        (difference,) = made.differences.values()
        assert difference.details["se"] ** 2 == pytest.approx(direct)
        # Of two treatments the test of all is the test of the difference.
        assert made.overall.p_value == pytest.approx(difference.p_value)
        parts = made.components
        clipped += parts.cov2 < parts.cov3
        for i, mean in enumerate(made.means.values()):
            assert mean.se**2 == pytest.approx(study.covariance[i, :, i, :].mean())
    assert clipped >= 3  # the cut would have changed these


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=2, max_size=6))
def test_limits_of_icc_hold_the_estimate(rows):
    e = stats.icc(np.array(rows, float))
    assert np.isnan(e.value) or e.lower <= e.value <= e.upper
