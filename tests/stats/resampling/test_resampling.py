"""Bootstrap schemes and repeats: SciPy as oracle, known spreads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp

from jaxmed import stats


def test_bootstrap_methods_match_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.exponential(size=40)
    for method, name in (("percentile", "percentile"), ("basic", "basic"), ("bca", "BCa")):
        theirs = sp.bootstrap((x,), np.mean, method=name, n_resamples=20_000, rng=1)
        ours = stats.bootstrap(
            lambda v, w: w @ v / w.sum(1), x, method=method, weighted=True, n_resamples=20_000
        )
        ci = theirs.confidence_interval
        assert (ours.lower, ours.upper) == pytest.approx((ci.low, ci.high), abs=0.015), method
    plain = stats.bootstrap(np.mean, x, n_resamples=500, method="percentile")
    fast = stats.bootstrap(
        lambda v, w: w @ v / w.sum(1), x, n_resamples=500, weighted=True, method="percentile"
    )
    assert plain.lower == pytest.approx(fast.lower)


def test_schemes_have_the_spread_they_should() -> None:
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(30), 4)
    x = rng.normal(size=30)[patient] + 0.5 * rng.normal(size=120)

    def mean(v, w):
        return w @ v / w.sum(1)

    def se(**options) -> float:
        return stats.bootstrap(
            mean, x, weighted=True, n_resamples=4000, method="percentile", **options
        ).se

    between = np.array([x[patient == p].mean() for p in range(30)])
    cluster = between.std() / np.sqrt(30)
    assert se(groups=patient) == pytest.approx(cluster, rel=0.06)
    assert se() == pytest.approx(x.std() / np.sqrt(120), rel=0.06)
    assert se(scheme="bayesian") == pytest.approx(x.std() / np.sqrt(121), rel=0.06)
    assert se(groups=patient, scheme="hierarchical") > se(groups=patient)
    assert se(scheme="subsample", fraction=0.5) == pytest.approx(x.std() / np.sqrt(120), rel=0.08)
    layer = (x > 0).astype(int)
    assert se(strata=layer) < 0.8 * se()
    with pytest.raises(ValueError, match="two strata"):
        stats.bootstrap(mean, x, weighted=True, groups=patient, strata=np.arange(120) % 2)
    with pytest.raises(ValueError, match="groups="):
        stats.bootstrap(mean, x, weighted=True, scheme="hierarchical", method="percentile")
    jack = stats.jackknife(mean, x, weighted=True)
    assert jack.se == pytest.approx(x.std(ddof=1) / np.sqrt(120))
    t = stats.bootstrap(
        np.mean,
        x,
        method="studentised",
        n_resamples=400,
        standard_error=lambda v: v.std(ddof=1) / np.sqrt(v.size),
    )
    assert t.lower < x.mean() < t.upper
