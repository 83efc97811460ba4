"""Noncentral laws against integrals over the denominator, where SciPy's forms hold and beyond."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special
from scipy import stats as sp

from jaxmed import stats
from jaxmed.stats._noncentral import noncentral_f_sf, noncentral_t_cdf, noncentral_t_sf


def over_the_denominator(inside, df):
    """The mean of a chance given W over W's chi-square law."""
    low, high = sp.chi2.ppf(1e-16, df), sp.chi2.isf(1e-16, df)
    points = [np.clip(df * k, low, high) for k in (0.8, 1, 1.2)]
    value, _ = integrate.quad(
        lambda w: inside(w) * sp.chi2.pdf(w, df), low, high, points=points, limit=400, epsabs=1e-12
    )
    return value


@pytest.mark.parametrize(
    ("t", "df", "nc"),
    [(2, 10, 1), (0.5, 3, -2), (30, 8, 28), (200, 50, 190), (1.97, 300, 3), (5, 4, -3), (0, 5, 2),
     (1000, 30, 1000)],
)  # fmt: skip
def test_t_is_its_integral(t, df, nc):
    want = over_the_denominator(lambda w: special.ndtr(t * np.sqrt(w / df) - nc), df)
    assert noncentral_t_cdf(t, df, nc) == pytest.approx(want, abs=1e-9)
    assert noncentral_t_cdf(-t, df, -nc) == pytest.approx(1 - want, abs=1e-9)
    assert noncentral_t_sf(t, df, nc) == pytest.approx(1 - want, abs=1e-9)


@pytest.mark.parametrize(
    ("f", "df2", "nc"), [(4, 10, 8), (3.9, 200.5, 12), (5000, 20.3, 5000), (40, 7.1, 1e4)]
)
def test_f_with_one_degree_of_freedom_is_the_square_of_t(f, df2, nc):
    t, d = math.sqrt(f), math.sqrt(nc)
    want = noncentral_t_sf(t, df2, d) + noncentral_t_cdf(-t, df2, d)
    assert noncentral_f_sf(f, 1, df2, nc) == pytest.approx(want, abs=1e-9)


def test_f_where_scipys_holds_and_at_its_ends():
    for f, df1, df2, nc in ((2.0, 4, 33, 10.0), (0.5, 4, 33, 0.0), (1.5, 3, 12.5, 2.0)):
        want = 1 - special.ncfdtr(df1, df2, nc, f)
        assert noncentral_f_sf(f, df1, df2, nc) == pytest.approx(want, abs=1e-10)
    assert noncentral_f_sf(3.0, 1, math.inf, 4.0) == pytest.approx(sp.ncx2.sf(3.0, 1, 4.0))
    assert noncentral_f_sf(4.0, 1, 7.0, 1e12) == 1.0  # far beyond any noncentrality SciPy takes
    near = noncentral_f_sf(1e9, 1, 50, 0.99e9), noncentral_f_sf(1.02e9, 1, 50, 1.01e9)
    assert near[0] == pytest.approx(near[1], abs=0.01)
    with pytest.raises(ValueError, match="noncentrality"):
        noncentral_f_sf(1.0, 1, 5, math.nan)
    with pytest.raises(ValueError, match="numbers"):
        noncentral_t_cdf(math.nan, 5, 0.0)


@pytest.fixture(scope="module")
def pilot():
    rng = np.random.default_rng(3)
    readers, cases = 4, 80
    t, r, c = (g.ravel() for g in np.meshgrid(range(2), range(readers), range(cases)))
    y = c % 2
    x = (1.2 * y + rng.normal(size=cases)[c]) + 0.8 * rng.normal(size=c.size) + 0.05 * t * y
    return stats.reader_study(y, x, r, t, c)


def test_power_of_readers_is_known_at_every_size_and_rises(pilot):
    power = [
        stats.reader_power(pilot, readers=8, cases=c, effect=0.05).power
        for c in (*range(20, 400, 20), *range(1000, 100_000, 4500))
    ]
    assert np.isfinite(power).all()
    assert (np.diff(power) > -1e-9).all()


@pytest.mark.parametrize("effect", [0.03, 0.05, 0.08])
def test_the_sample_size_does_not_depend_on_where_the_search_stops(pilot, effect):
    sizes = {
        stats.reader_sample_size(pilot, readers=8, effect=effect, largest=n).cases
        for n in (5000, 17_000, 100_000)
    }
    (size,) = sizes
    reached = stats.reader_power(pilot, readers=8, cases=size, effect=effect).power
    short = stats.reader_power(pilot, readers=8, cases=size - 1, effect=effect).power
    assert short < 0.8 <= reached


def test_cohens_interval_far_from_zero_inverts_the_law():
    x = np.linspace(0, 0.1, 12)
    e = stats.cohen_d(x + 5.0, x, hedges=False)
    scale = math.sqrt(12 * 12 / 24)
    for limit, chance in ((e.lower, 0.975), (e.upper, 0.025)):
        want = over_the_denominator(
            lambda w, at=limit: special.ndtr(e.value * scale * np.sqrt(w / 22) - at * scale), 22
        )
        assert want == pytest.approx(chance, abs=1e-6)
