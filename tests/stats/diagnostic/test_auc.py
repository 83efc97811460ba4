"""AUC and curves: brute-force oracles, properties, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from jaxmed import stats


def _data(seed: int, n: int = 60, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(int)
    y[:2] = [0, 1]
    a = rng.normal(size=n) + y
    b = a + rng.normal(size=n)
    return (y, np.round(2 * a), np.round(2 * b)) if ties else (y, a, b)


def _brute(y: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Placements by comparing all pairs."""
    gap = x[y == 1][:, None] - x[y == 0][None, :]
    wins = (gap > 0) + 0.5 * (gap == 0)
    return wins.mean(), wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [True, False])
def test_delong_is_the_pairwise_definition(seed: int, ties: bool) -> None:
    y, a, b = _data(seed, ties=ties)
    one, up1, down1 = _brute(y, a)
    two, up2, down2 = _brute(y, b)
    variance = up1.var(ddof=1) / up1.size + down1.var(ddof=1) / down1.size
    e = stats.auc(y, a, method="delong")
    assert e.value == pytest.approx(one, abs=1e-14)
    assert e.value == pytest.approx(sk.roc_auc_score(y, a), abs=1e-12)
    assert e.details["variance"] == pytest.approx(variance, rel=1e-12)
    r = stats.delong_test(y, a, b)
    cov = np.cov(up1, up2)[0, 1] / up1.size + np.cov(down1, down2)[0, 1] / down1.size
    assert r.details["covariance"] == pytest.approx(cov, rel=1e-10)
    assert r.effect == pytest.approx(one - two, abs=1e-14)
    batch = stats.delong_batch(y, np.stack([a, b]), np.stack([b, a]))
    np.testing.assert_allclose(batch.z, [r.statistic, -r.statistic], rtol=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=4, max_size=30).filter(
        lambda rows: 0 < sum(r[0] for r in rows) < len(rows)
    )
)
def test_auc_properties(rows: list[tuple[bool, int]]) -> None:
    y, x = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    e = stats.auc(y, x)
    assert 0 <= e.lower <= e.value <= e.upper <= 1
    # Monotone maps leave ranks alone; exchanging labels or signs mirrors the area.
    assert stats.auc(y, np.exp(x)).value == pytest.approx(e.value, abs=1e-12)
    swapped = stats.auc(~y, x)
    assert swapped.value == pytest.approx(1 - e.value, abs=1e-12)
    assert stats.auc(y, -x).value == pytest.approx(1 - e.value, abs=1e-12)
    assert swapped.se == pytest.approx(e.se, abs=1e-12)
    order = np.random.default_rng(0).permutation(len(rows))
    assert stats.auc(y[order], x[order]).lower == pytest.approx(e.lower, abs=1e-9)
    doubled = stats.auc(np.tile(y, 2), np.tile(x, 2))
    assert doubled.value == pytest.approx(e.value, abs=1e-12)


def test_perfect_and_null_areas_have_intervals() -> None:
    y = np.repeat([0, 1], 10)
    e = stats.auc(y, y)
    assert e.value == e.upper == 1
    assert 0.6 < e.lower < 0.95
    assert any("0 here" in note for note in e.notes)
    # Newcombe's score limits solve (A - t)^2 = z^2 V(t) with Hanley and McNeil's variance.
    t, z, m = e.lower, 1.959963984540054, 10 - 1
    v = t * (1 - t) * (1 + m * (1 - t) / (2 - t) + m * t / (1 + t)) / 100
    assert (1 - t) ** 2 == pytest.approx(z * z * v, rel=1e-6)
    assert stats.auc(1 - y, y).lower == 0
    flat = stats.auc(y, np.zeros(20))
    assert flat.value == 0.5
    assert flat.lower < 0.5 < flat.upper
    wald = stats.auc(y, y, method="delong")
    assert wald.notes


def test_groups_of_one_are_the_plain_variance_up_to_the_small_sample_factor() -> None:
    y, a, b = _data(4, ties=False)
    plain = stats.auc(y, a, method="delong")
    alone = stats.auc(y, a, method="delong", groups=np.arange(y.size))
    # Cross products of single cases vanish; each sum keeps its own n / (n - 1).
    assert alone.details["variance"] == pytest.approx(plain.details["variance"], rel=1e-10)
    # Rows doubled inside their patient must not narrow the interval.
    twice = stats.auc(np.tile(y, 2), np.tile(a, 2), groups=np.tile(np.arange(y.size), 2))
    assert twice.n == y.size
    assert twice.details["variance"] == pytest.approx(plain.details["variance"], rel=1e-10)
    naive = stats.auc(np.tile(y, 2), np.tile(a, 2))
    assert naive.se < 0.8 * twice.se
    r = stats.delong_test(
        np.tile(y, 2), np.tile(a, 2), np.tile(b, 2), groups=np.tile(np.arange(y.size), 2)
    )
    assert r.p_value == pytest.approx(stats.delong_test(y, a, b).p_value, rel=1e-9)


def test_bootstrap_agrees_with_delong_and_is_seeded() -> None:
    y, a, _ = _data(5, n=200)
    e = stats.auc(y, a, method="bootstrap", n_resamples=4000)
    again = stats.auc(y, a, method="bootstrap", n_resamples=4000)
    assert (e.lower, e.upper) == (again.lower, again.upper)
    exact = stats.auc(y, a, method="delong")
    assert e.se == pytest.approx(exact.se, rel=0.06)
    assert e.lower == pytest.approx(exact.lower, abs=0.01)
    # Counts over sorted ranks are the AUC of the resampled rows themselves.
    rng = np.random.default_rng(0)
    rows = rng.integers(0, y.size, y.size)
    weights = np.bincount(rows, minlength=y.size)[None].astype(float)
    value = stats.weighted_auc(y == 1, a, weights)[0]
    assert value == pytest.approx(sk.roc_auc_score(y[rows], a[rows]), abs=1e-12)


def test_multiclass_matches_scikit_learn_and_its_parts() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 200)
    p = rng.random((200, 4)) + np.eye(4)[y]
    p /= p.sum(axis=1, keepdims=True)
    for ours, theirs in (
        ({"average": "macro"}, {"multi_class": "ovr", "average": "macro"}),
        ({"average": "weighted"}, {"multi_class": "ovr", "average": "weighted"}),
        ({"average": "hand-till"}, {"multi_class": "ovo", "average": "macro"}),
    ):
        value = stats.multiclass_auc(y, p, **ours).value
        assert value == pytest.approx(sk.roc_auc_score(y, p, **theirs), abs=1e-12)
    # With two classes both averages are the AUC, with DeLong's error.
    half = y < 2
    q = p[half][:, :2]
    q /= q.sum(axis=1, keepdims=True)
    e, one = stats.multiclass_auc(y[half], q), stats.auc(y[half], q)
    assert e.value == pytest.approx(one.value, abs=1e-12)
    assert e.se == pytest.approx(one.se, rel=1e-9)
    # The error of the macro area against a bootstrap of cases.
    macro = stats.multiclass_auc(y, p)
    boot = stats.bootstrap(
        lambda a, b: sk.roc_auc_score(a, b, multi_class="ovr"),
        y,
        p,
        method="normal",
        n_resamples=300,
        strata=y,
    )
    assert macro.se == pytest.approx(boot.se, rel=0.1)
    absent = stats.multiclass_auc(y % 3, p)
    assert any("[3]" in note for note in absent.notes)


@pytest.mark.parametrize(
    ("labels", "scores", "told"),
    [
        ([1, 1, 1], [1, 2, 3], "both classes"),
        ([0, 1], [np.nan, 1], "NaN"),
        ([0, 1, 1], [1, 2], "lengths differ"),
        ([0, 2], [1, 2], "0 or 1"),
        ([0, 1], [[0.1, 0.2, 0.7], [0.1, 0.1, 0.8]], "scores must be"),
    ],
)
def test_bad_input_is_named(labels: list, scores: list, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        stats.auc(labels, scores)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="level"):
        stats.auc([0, 1], [0, 1], level=1.5)
    with pytest.raises(ValueError, match="logit-delong"):
        stats.auc([0, 1], [0, 1], method="wald")
    with pytest.raises(ValueError, match="groups has 1"):
        stats.auc([0, 1], [0, 1], groups=[1])


def test_curves_points_and_parts() -> None:
    y, a, _ = _data(7, n=80)
    curve = stats.roc_curve(y, a)
    fpr, tpr, _ = sk.roc_curve(y, a, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    whole = stats.partial_auc(y, a, limits=(0.0, 1.0), n_resamples=20).value
    assert whole == pytest.approx(stats.auc(y, a).value, abs=1e-12)
    cuts = [
        stats.partial_auc(y, a, limits=c, n_resamples=20).value
        for c in ((0.0, 0.3), (0.3, 0.85), (0.85, 1.0))
    ]
    assert sum(cuts) == pytest.approx(whole, abs=1e-12)
    point = stats.operating_points(y, a)[0]
    at = stats.youden(y, a, threshold=point.threshold).value
    assert at == pytest.approx(point.sensitivity + point.specificity - 1)
    assert at == pytest.approx((curve.tpr - curve.fpr).max())
    precision, recall, _ = sk.precision_recall_curve(y, a)
    ours = stats.pr_curve(y, a)
    np.testing.assert_allclose(ours.recall[::-1], recall[:-1])
    np.testing.assert_allclose(ours.precision[::-1], precision[:-1])
    band = stats.roc_band(y, a, grid=[0.0, 0.2, 1.0], n_resamples=200)
    assert (band.lower <= band.value + 1e-9).all()
    assert band.value[-1] == 1
    e = stats.average_precision(y, a)
    assert e.value == pytest.approx(sk.average_precision_score(y, a), abs=1e-12)
