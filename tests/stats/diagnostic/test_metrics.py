"""Metrics of decisions: scikit-learn as oracle, published intervals, hand-worked tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sp
from sklearn import metrics as sk

from jaxmed import stats


def _decisions(seed: int, k: int = 2, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return y, np.where(rng.random(n) < 0.7, y, rng.integers(0, k, n))


@pytest.mark.parametrize("k", [2, 4])
def test_points_match_scikit_learn(k: int) -> None:
    y, g = _decisions(k, k)
    pairs = {
        "accuracy": (stats.accuracy(y, g), sk.accuracy_score(y, g)),
        "balanced": (stats.balanced_accuracy(y, g), sk.balanced_accuracy_score(y, g)),
        "mcc": (stats.mcc(y, g), sk.matthews_corrcoef(y, g)),
        "kappa": (stats.kappa(y, g), sk.cohen_kappa_score(y, g)),
        "linear": (
            stats.kappa(y, g, weights="linear"),
            sk.cohen_kappa_score(y, g, weights="linear"),
        ),
        "macro f1": (stats.f1(y, g, average="macro"), sk.f1_score(y, g, average="macro")),
        "weighted": (stats.f1(y, g, average="weighted"), sk.f1_score(y, g, average="weighted")),
        "precision": (stats.macro_precision(y, g), sk.precision_score(y, g, average="macro")),
    }
    if k == 2:
        pairs["f1"] = (stats.f1(y, g), sk.f1_score(y, g))
        pairs["ppv"] = (stats.ppv(y, g), sk.precision_score(y, g))
        pairs["sensitivity"] = (stats.sensitivity(y, g), sk.recall_score(y, g))
    for name, (ours, theirs) in pairs.items():
        assert ours.value == pytest.approx(theirs, abs=1e-12), name
        assert ours.lower <= ours.value <= ours.upper, name
        assert ours.n > 0, name


@pytest.mark.parametrize(
    "call",
    [
        stats.mcc,
        stats.kappa,
        stats.macro_precision,
        stats.macro_recall,
        lambda *a, **k: stats.f1(*a, average="macro", **k),
    ],
)
def test_delta_errors_agree_with_the_bootstrap(call) -> None:
    y, g = _decisions(3, 3, 400)
    delta = call(y, g, method="delta")
    boot = call(y, g, method="bootstrap", n_resamples=4000)
    assert delta.se == pytest.approx(boot.se, rel=0.06)


def test_published_proportion_intervals() -> None:
    # Newcombe (1998), Stat Med 17:857, table I: 81/263, 15/148, 0/20, 1/29.
    wilson = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    exact = {
        (81, 263): (0.2527, 0.3676),
        (15, 148): (0.0578, 0.1617),
        (0, 20): (0.0, 0.1684),
        (1, 29): (0.0009, 0.1776),
    }
    mid = {
        (81, 263): (0.2544, 0.3658),
        (15, 148): (0.0601, 0.1581),
        (0, 20): (0.0, 0.1391),
        (1, 29): (0.0017, 0.1585),
    }
    for method, table in (("wilson", wilson), ("clopper-pearson", exact), ("mid-p", mid)):
        for (x, n), limits in table.items():
            e = stats.proportion(x, n, method=method)
            assert (e.lower, e.upper) == pytest.approx(limits, abs=6e-5), (method, x, n)
    # Newcombe (1998), Stat Med 17:873, table II, 56/70 - 48/80: methods 10 and 11.
    for method, limits in (
        ("newcombe", (0.0524, 0.3339)),
        ("newcombe-cc", (0.0428, 0.3422)),
        ("miettinen-nurminen", (0.0528, 0.3382)),
        ("mee", (0.0533, 0.3377)),
    ):
        e = stats.proportion_difference(56, 70, 48, 80, method=method)
        assert (e.lower, e.upper) == pytest.approx(limits, abs=6e-5), method


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 80),
    st.floats(0, 1),
    st.sampled_from(
        [
            "wilson",
            "wilson-cc",
            "agresti-coull",
            "jeffreys",
            "clopper-pearson",
            "mid-p",
            "likelihood-ratio",
            "arcsine",
            "logit",
            "wald",
        ]
    ),
)
def test_proportion_properties(n: int, share: float, method: str) -> None:
    x = round(share * n)
    low, high = stats.proportion_limits(x, n, method=method)
    assert 0 <= low <= high <= 1
    if method not in ("arcsine",):
        assert low <= x / n + 1e-9
        assert x / n <= high + 1e-9
    # Failures mirror successes, and a higher level is wider.
    mirrored = stats.proportion_limits(n - x, n, method=method)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-7)
    wide = stats.proportion_limits(x, n, method=method, level=0.99)
    assert wide[0] <= low + 1e-9
    assert wide[1] >= high - 1e-9


@pytest.mark.parametrize("x", [0, 3, 20])
def test_exact_interval_is_scipys(x: int) -> None:
    ci = sp.binomtest(x, 20).proportion_ci(0.9, method="exact")
    e = stats.proportion(x, 20, method="exact", level=0.9)
    assert (e.lower, e.upper) == pytest.approx((ci.low, ci.high), abs=1e-12)


def test_predictive_values_at_a_prevalence_are_bayes() -> None:
    y, g = np.repeat([1, 1, 0, 0], [90, 10, 30, 170]), np.repeat([1, 0, 1, 0], [90, 10, 30, 170])
    pi, se, sp_ = 0.02, 0.9, 0.85
    e = stats.ppv(y, g, prevalence=pi)
    assert e.value == pytest.approx(se * pi / (se * pi + (1 - sp_) * (1 - pi)))
    n = stats.npv(y, g, prevalence=pi)
    assert n.value == pytest.approx(sp_ * (1 - pi) / (sp_ * (1 - pi) + (1 - se) * pi))
    # At the sample's own prevalence it is the sample's predictive value.
    own = stats.ppv(y, g, prevalence=100 / 300)
    assert own.value == pytest.approx(stats.ppv(y, g).value)
    assert any("stated prevalence" in note for note in e.notes)
    with pytest.raises(ValueError, match="prevalence"):
        stats.ppv(y, g, prevalence=0)


def test_hand_worked_ratios() -> None:
    # 40 of 50 positives and 10 of 50 negatives called: LR+ 4, LR- .25, DOR 16.
    y, g = np.repeat([1, 1, 0, 0], [40, 10, 10, 40]), np.repeat([1, 0, 1, 0], [40, 10, 10, 40])
    plus = stats.likelihood_ratio(y, g)
    assert plus.value == pytest.approx(4)
    half = 1.959964 * np.sqrt(1 / 40 - 1 / 50 + 1 / 10 - 1 / 50)
    assert (plus.lower, plus.upper) == pytest.approx((4 / np.exp(half), 4 * np.exp(half)), rel=1e-6)
    assert stats.likelihood_ratio(y, g, sign="negative").value == pytest.approx(0.25)
    assert stats.diagnostic_odds_ratio(y, g).value == pytest.approx(16)
    none = stats.likelihood_ratio([1, 1, 0, 0], [1, 1, 0, 0])
    assert none.value == np.inf
    assert np.isfinite(none.lower)
    assert len(none.notes) == 2


def test_undefined_values_come_with_a_note() -> None:
    assert np.isnan(stats.ppv([1, 0], [0, 0]).value)
    assert stats.ppv([1, 0], [0, 0]).notes
    assert stats.sensitivity([0, 0], [0, 1]).notes
    assert np.isnan(stats.mcc([1, 0], [1, 1]).value)
    assert np.isnan(stats.f1([0, 0], [0, 0]).value)
    assert stats.kappa([0, 0, 0], [0, 0, 0]).notes
    with pytest.raises(ValueError, match="threshold"):
        stats.accuracy([0, 1], [0.2, 0.7])
    with pytest.raises(ValueError, match="threshold"):
        stats.sensitivity([0, 1], [0.2, 0.7])


def test_clusters_widen_intervals() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(40) < 0.7, 5).astype(int)
    patient = np.repeat(np.arange(40), 5)
    plain = stats.accuracy(right * 0 + 1, right)
    grouped = stats.accuracy(right * 0 + 1, right, groups=patient)
    assert grouped.n == 40
    assert grouped.details["design_effect"] == pytest.approx(5 * 40 / 39, rel=1e-9)
    assert grouped.width > 2 * plain.width
    m = stats.mean(right, groups=patient)
    assert m.se == pytest.approx(np.std(right[::5], ddof=1) / np.sqrt(40))
