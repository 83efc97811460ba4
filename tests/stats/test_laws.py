"""Laws of every statistic of labels and scores: rows have no order, ranks no scale.

A permutation of the rows changes nothing, ties or not; a rising transform of the scores changes no
statistic of ranks. What draws resamples is asked for its value alone.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import bayes, quantities, stats

# Dyadic grids: sums do not depend on the order, so that what differs is not rounding.
GRID = st.integers(1, 31).map(lambda k: k / 32)
TABLES = st.lists(st.tuples(st.booleans(), GRID, GRID), min_size=6, max_size=24).filter(
    lambda rows: 1 < sum(row[0] for row in rows) < len(rows) - 1
)
NONE = {"n_resamples": 0}
FEW = {"n_resamples": 20}


def limits(e):
    return e.value, e.lower, e.upper


def points(y, x, **options):
    return [p[1:3] for p in stats.operating_points(y, x, **options)]


def softmax_pair(x):
    return np.stack([1 - x, x], axis=1)


# Of ranks alone: (labels, scores) to numbers.
OF_RANKS = {
    "auc": lambda y, x: limits(stats.auc(y, x)),
    "auc newcombe": lambda y, x: limits(stats.auc(y, x, method="newcombe")),
    "average precision": lambda y, x: stats.average_precision(y, x, **FEW).value,
    "partial auc": lambda y, x: stats.partial_auc_value(y, x, (0.7, 1.0), "specificity", False),
    "rate": lambda y, x: stats.rate_value(y, x, 0.8, True),
    "roc": lambda y, x: np.concatenate(stats.roc_curve(y, x)[:2]),
    "pr": lambda y, x: np.concatenate(stats.pr_curve(y, x)[:2]),
    "operating": lambda y, x: points(y, x),
    "operating at specificity": lambda y, x: points(y, x, rule="specificity", at=0.8),
    "cost": lambda y, x: stats.cost_curve(y, x, points=11).cost,
    "cliff": lambda y, x: limits(stats.cliffs_delta(x[y == 1], x[y == 0])),
    "kruskal": lambda y, x: stats.kruskal_test(x[y == 1], x[y == 0]).statistic,
    "selective": lambda y, x: [v for v in bayes.selective_scores(y, x) if np.isfinite(v)],
    "risk at": lambda y, x: bayes.risk_coverage(y, x).risk,
}
# Of the scores as probabilities.
OF_VALUES = {
    "accuracy": lambda y, x: limits(stats.accuracy(y, x, threshold=0.5)),
    "sensitivity": lambda y, x: limits(stats.sensitivity(y, x, threshold=0.5)),
    "ppv": lambda y, x: limits(stats.ppv(y, x, threshold=0.25)),
    "f1": lambda y, x: limits(stats.f1(y, x, threshold=0.5)),
    "top-1": lambda y, x: stats.top_k_accuracy(y, softmax_pair(x), k=1).value,
    "macro precision": lambda y, x: stats.macro_precision(y, softmax_pair(x)).value,
    "brier": lambda y, x: limits(stats.brier(y, x)),
    "ece by width": lambda y, x: stats.ece(y, x, n_bins=4, **NONE).value,
    "ece by mass": lambda y, x: stats.ece(y, x, n_bins=4, binning="mass", **NONE).value,
    "mce by mass": lambda y, x: stats.ece(y, x, n_bins=3, binning="mass", norm="max", **NONE).value,
    "reliability by mass": lambda y, x: stats.reliability(y, x, n_bins=4, binning="mass").count,
    "net benefit": lambda y, x: stats.decision_curve(y, x, **NONE).net_benefit,
    "isotonic": lambda y, x: np.sort(np.asarray(stats.corp(y, x)[:3], float)),
    "spiegelhalter": lambda y, x: stats.spiegelhalter_test(y, x + 1 / 64).statistic,
    "cumulative": lambda y, x: stats.cumulative_test(y, x, n_resamples=1).statistic,
    "slope": lambda y, x: np.nan_to_num(stats.calibration_slope(y, x).value),
}
# Of two scores of the same rows.
OF_PAIRS = {
    "delong": lambda y, a, b: stats.delong_test(y, a, b).effect,
    "delong p": lambda y, a, b: stats.delong_test(y, a, b).p_value,
    "wilcoxon": lambda y, a, b: stats.wilcoxon_test(a, b).p_value,
    "hodges-lehmann": lambda y, a, b: stats.wilcoxon_test(a, b).effect,
    "mcnemar": lambda y, a, b: stats.mcnemar_test(a >= 0.5, b >= 0.5).p_value,
    "concordance correlation": lambda y, a, b: (
        stats.concordance_correlation(a, b).value if np.ptp(a) * np.ptp(b) else 0.0
    ),
    "kappa": lambda y, a, b: stats.kappa((4 * a).astype(int), (4 * b).astype(int)).value,
}


def columns(rows):
    y, a, b = (np.array(column) for column in zip(*rows, strict=True))
    return y.astype(int), a, b


def alike(got, want):
    np.testing.assert_allclose(
        np.asarray(got, float), np.asarray(want, float), rtol=1e-7, atol=1e-9, equal_nan=True
    )


@pytest.mark.parametrize("name", [*OF_RANKS, *OF_VALUES, *OF_PAIRS])
@settings(max_examples=15, deadline=None)
@given(rows=TABLES, seed=st.integers(0, 99))
def test_the_order_of_the_rows_changes_nothing(name, rows, seed):
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    by_label = sorted(rows, key=lambda row: row[0])  # what breaks ties one way, or the other
    found = []
    for table in (rows, shuffled, by_label, by_label[::-1]):
        y, a, b = columns(table)
        if name in OF_PAIRS:
            found.append(OF_PAIRS[name](y, a, b))
        else:
            found.append((OF_RANKS | OF_VALUES)[name](y, a))
    for other in found[1:]:
        alike(other, found[0])


@pytest.mark.parametrize("name", OF_RANKS)
@settings(max_examples=15, deadline=None)
@given(rows=TABLES)
def test_a_rising_transform_changes_no_statistic_of_ranks(name, rows):
    y, x, _ = columns(rows)
    want = OF_RANKS[name](y, x)
    alike(OF_RANKS[name](y, np.exp(8 * x)), want)
    alike(OF_RANKS[name](y, x * 1e-9 - 3), want)
    # The largest score may be as large as it likes: it ties with no other.
    far = np.where(x == x.max(), 1e15, x)
    alike(OF_RANKS[name](y, far), want)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=12, unique=True), st.integers(0, 9))
def test_an_operating_point_has_the_rates_it_tells(scores, seed):
    x = np.array([*scores, np.nextafter(scores[0], np.inf), -np.inf, np.inf])
    y = np.random.default_rng(seed).integers(0, 2, x.size)
    y[:2] = 0, 1
    for options in ({}, {"rule": "sensitivity", "at": 0.6}, {"rule": "specificity", "at": 1.0}):
        if options.get("rule") == "specificity" and y[-1] == 0:
            # The negative that scores +inf is positive at every threshold.
            with pytest.raises(ValueError, match="scores"):
                stats.operating_points(y, x, **options)
            continue
        for point in stats.operating_points(y, x, **options):
            called = x >= point.threshold
            assert point.sensitivity == pytest.approx(called[y == 1].mean(), abs=1e-12)
            assert point.specificity == pytest.approx(1 - called[y == 0].mean(), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.integers(1, 2), st.integers(0, 9))
def test_absent_classes_change_no_average(labels, more, seed):
    """Unused columns of scores, or unused numbers between, count for nothing."""
    y = np.array(labels)
    guess = np.random.default_rng(seed).permutation(y)
    wide = np.eye(int(max(y.max(), guess.max())) + 1 + more)[guess]
    _, codes = np.unique(np.concatenate([y, guess]), return_inverse=True)
    a, b = codes[: y.size], codes[y.size :]
    for average in (stats.macro_precision, stats.macro_recall):
        want = average(a, b).value
        assert average(y, guess).value == pytest.approx(want)
        assert average(y, wide).value == pytest.approx(want)
    f = stats.f1(a, b, average="macro").value
    assert stats.f1(y, guess, average="macro").value == pytest.approx(f)
    if (y == guess).all():
        assert stats.macro_precision(y, guess).value == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=15))
def test_hodges_lehmann_is_the_median_of_all_pairs(values):
    from jaxmed.stats.comparison._rank_tests import hodges_lehmann

    x = np.array(values) / 7
    pairs = (x[:, None] + x)[np.triu_indices(x.size)] / 2
    assert hodges_lehmann(x) == pytest.approx(np.median(pairs), abs=1e-15)


def test_hodges_lehmann_of_many_is_not_the_median():
    from jaxmed.stats.comparison._rank_tests import hodges_lehmann

    x = np.random.default_rng(0).exponential(size=2500)
    pairs = (x[:, None] + x)[np.triu_indices(x.size)] / 2
    assert hodges_lehmann(x) == pytest.approx(np.median(pairs), rel=1e-12)
    assert stats.wilcoxon_test(x).effect == hodges_lehmann(x) > np.median(x) + 0.1


@pytest.mark.parametrize("missing", [np.nan, None, ""])
def test_rows_of_an_unknown_group_are_not_one_group(missing):
    y, x = [0, 1, 0, 1], [0.2, 0.4, 0.6, 0.8]
    groups = (
        ["a", missing, "b", missing] if missing is None or missing == "" else [1, missing, 2, 2]
    )
    for statistic in (stats.auc, stats.brier, stats.log_loss):
        with pytest.raises(ValueError, match="groups has no name"):
            statistic(y, x, groups=groups)


# (labels, scores, groups) to an estimate of rows that a patient may have several of.
BY_GROUP = {
    "accuracy": lambda y, x, g: stats.accuracy(y, x, threshold=0.5, groups=g),
    "balanced accuracy": lambda y, x, g: stats.balanced_accuracy(y, x, threshold=0.5, groups=g),
    "sensitivity": lambda y, x, g: stats.sensitivity(y, x, threshold=0.5, groups=g),
    "specificity": lambda y, x, g: stats.specificity(y, x, threshold=0.5, groups=g),
    "ppv": lambda y, x, g: stats.ppv(y, x, threshold=0.5, groups=g),
    "npv": lambda y, x, g: stats.npv(y, x, threshold=0.5, groups=g),
    "f1": lambda y, x, g: stats.f1(y, x, threshold=0.5, groups=g),
    "mcc": lambda y, x, g: stats.mcc(y, x, threshold=0.5, groups=g),
    "kappa": lambda y, x, g: stats.kappa(y, x >= 0.5, groups=g),
    "macro precision": lambda y, x, g: stats.macro_precision(y, softmax_pair(x), groups=g),
    "auc": lambda y, x, g: stats.auc(y, x, groups=g),
    "auc by bootstrap": lambda y, x, g: stats.auc(y, x, method="bootstrap", groups=g, **FEW),
    "multiclass auc": lambda y, x, g: stats.multiclass_auc(y, softmax_pair(x), groups=g),
    "average precision": lambda y, x, g: stats.average_precision(y, x, groups=g, **FEW),
    "partial auc": lambda y, x, g: stats.partial_auc(y, x, groups=g, **FEW),
    "rate": lambda y, x, g: stats.rate_at(y, x, specificity=0.7, groups=g, **FEW),
    "brier": lambda y, x, g: stats.brier(y, x, groups=g),
    "log loss": lambda y, x, g: stats.log_loss(y, x, groups=g),
    "mean": lambda y, x, g: stats.mean(x, groups=g),
    "median": lambda y, x, g: stats.median(x, groups=g, **FEW),
}  # fmt: skip
RANGES = {
    "mcc": (-1, 1), "kappa": (-1, 1), "brier": (0, np.inf), "log loss": (0, np.inf),
    "mean": (-np.inf, np.inf), "median": (-np.inf, np.inf), "partial auc": (0, pytest.approx(0.1)),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_GROUP)
def test_rows_of_one_group_have_the_whole_range(name):
    y, x = np.array([0, 1, 0, 1, 1, 0]), np.array([0.2, 0.7, 0.6, 0.9, 0.4, 0.1])
    e = BY_GROUP[name](y, x, ["a"] * 6)
    assert (e.lower, e.upper) == RANGES.get(name, (0, 1))
    assert (e.n, e.unit) == (1, "patient")
    assert any("one group" in note or "one patient" in note for note in e.notes)
    assert e.value == pytest.approx(BY_GROUP[name](y, x, None).value)


def test_curves_of_one_group_have_no_limits():
    y, x = [0, 1, 0, 1], [0.2, 0.7, 0.6, 0.9]
    for band in (stats.roc_band, stats.pr_band):
        made = band(y, x, groups=["a"] * 4, **FEW)
        assert (made.lower == 0).all()
        assert (made.upper == 1).all()
        assert "one group" in made.method
    assert np.isnan(stats.decision_curve(y, x, groups=["a"] * 4, **FEW).lower).all()
    with pytest.raises(ValueError, match="at least 2 groups"):
        stats.bootstrap_replicates(np.mean, x, groups=["a"] * 4)


RNG = np.random.default_rng(0)
U = RNG.normal(size=12) + 1
V = U + 0.3 * RNG.normal(size=12) + 0.1
RATINGS = 2 * RNG.normal(size=(8, 1)) + RNG.normal(size=(8, 3))
FOLDS = RNG.normal(0.5, 1, size=(5, 2))
CHAINS = RNG.normal(size=(40, 4))
RUNS = U + RNG.normal(size=(3, 12))
IN_THREES = np.repeat(range(4), 3)


def its_test(r):
    return r.statistic, r.p_value


def mean_gap(y, x):
    return np.mean(x - y)


# (factor) to numbers that have no unit: values in another unit give the same.
WITHOUT_UNIT = {
    "paired t": lambda a: its_test(stats.paired_t_test(a * U, a * V)),
    "paired t by patient": lambda a: its_test(stats.paired_t_test(a * U, a * V, groups=IN_THREES)),
    "cohen dz": lambda a: stats.paired_t_test(a * U, a * V).details["cohen_dz"],
    "non-inferiority": lambda a: its_test(
        stats.paired_t_test(a * U, a * V, alternative="non-inferiority", margin=0.2 * a)
    ),
    "corrected t": lambda a: its_test(stats.corrected_t_test(a * U, ratio=0.1)),
    "5x2cv F": lambda a: its_test(stats.five_by_two_test(a * FOLDS)),
    "5x2cv t": lambda a: its_test(stats.five_by_two_test(a * FOLDS, method="t")),
    "bayes t": lambda a: stats.bayes_correlated_t(a * U, rope=0.5 * a, ratio=0.1),
    "wilcoxon": lambda a: its_test(stats.wilcoxon_test(a * U, a * V)),
    "sign flip": lambda a: stats.sign_flip_test(a * U, a * V).p_value,
    "kruskal": lambda a: its_test(stats.kruskal_test(a * U, a * V)),
    "friedman": lambda a: its_test(stats.friedman_test(a * RATINGS)),
    "cohen d": lambda a: limits(stats.cohen_d(a * U, a * V)),
    "cliff": lambda a: limits(stats.cliffs_delta(a * U, a * V)),
    "icc": lambda a: limits(stats.icc(a * RATINGS)),
    "icc of means": lambda a: limits(stats.icc(a * RATINGS, form="ICC3k")),
    "concordance": lambda a: limits(stats.concordance_correlation(a * U, a * V)),
    "bland-altman": lambda a: np.array(limits(stats.bland_altman(a * U, a * V).upper_limit)) / a,
    "mean": lambda a: np.array(limits(stats.mean(a * U))) / a,
    "mean by patient": lambda a: np.array(limits(stats.mean(a * U, groups=IN_THREES))) / a,
    "mean by bca": lambda a: np.array(limits(stats.mean(a * U, method="bca", **FEW))) / a,
    "median": lambda a: np.array(limits(stats.median(a * U))) / a,
    "jackknife": lambda a: np.array(limits(stats.jackknife(np.mean, a * U))) / a,
    "bootstrap": lambda a: stats.bootstrap(np.mean, a * U, method="normal", **FEW).lower / a,
    "acceleration": lambda a: stats.acceleration(a * U),
    "runs": lambda a: np.array(limits(stats.over_runs(mean_gap, a * U, a * RUNS))) / a,
    "seeds": lambda a: stats.seed_components(mean_gap, a * U, a * RUNS, **FEW).upper / a,
    "chains": lambda a: stats.chain_diagnostics(a * CHAINS)[1:5],
    "r2": lambda a: quantities.r2(a * U, a * V),
    "rmse": lambda a: quantities.rmse(a * U, a * V) / a,
    "auc": lambda a: limits(stats.auc(U > 1, a * V)),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_UNIT)
def test_the_unit_of_the_values_changes_nothing(name):
    """However small or large: squares of values must neither underflow nor overflow."""
    want = np.asarray(WITHOUT_UNIT[name](1.0), float)
    for factor in (1e-200, 1e-160, 1e150, 1e200):
        np.testing.assert_allclose(WITHOUT_UNIT[name](factor), want, rtol=1e-9, atol=1e-12)
    assert np.array_equal(WITHOUT_UNIT[name](2.0**-40), want)  # to the bit


EQUAL = [0.1] * 7
ALIKE = {
    "mean": lambda: stats.mean(EQUAL),
    "mean of groups": lambda: stats.mean(EQUAL, groups=[0, 0, 1, 1, 2, 2, 3]),
    "mean by bootstrap": lambda: stats.mean(EQUAL, method="bca"),
    "median": lambda: stats.median(EQUAL),
    "brier": lambda: stats.brier([0, 1, 0], [0.3, 0.7, 0.3]),
    "log loss": lambda: stats.log_loss([0, 1, 0], [0.3, 0.7, 0.3]),
    "log loss that is clipped": lambda: stats.log_loss([0, 1, 0], [1.0, 0.0, 1.0]),
    "jackknife": lambda: stats.jackknife(np.mean, EQUAL),
    "bootstrap": lambda: stats.bootstrap(np.mean, EQUAL, n_resamples=50),
    "bland-altman": lambda: stats.bland_altman([1.1, 2.3, 3.7], [1.0, 2.2, 3.6]).bias,
    "limit of agreement": lambda: stats.bland_altman([1, 2, 3], [1, 2, 3]).lower_limit,
    "concordance": lambda: stats.concordance_correlation([1.0, 2.0, 3.1], [1.0, 2.0, 3.1]),
    "likelihood ratio": lambda: stats.likelihood_ratio([1, 1, 0, 0], [1, 1, 1, 1]),
    "ece": lambda: stats.ece([1, 1, 1], [0.9, 0.9, 0.9], **FEW),
    "accuracy by wald": lambda: stats.accuracy([1, 0], [1, 0], method="wald"),
    "youden by wald": lambda: stats.youden([1, 0], [1, 0], method="wald"),
    "auc by wald": lambda: stats.auc([0, 0, 1, 1], [1, 2, 3, 4], method="delong"),
    "kappa by wald": lambda: stats.kappa([0, 1, 1], [0, 1, 1], method="delta"),
    "fleiss kappa": lambda: stats.fleiss_kappa([[0, 0], [1, 1], [1, 1]], method="wald"),
    "icc": lambda: stats.icc([[1, 1], [2, 2], [3, 3]]),
    "paired t": lambda: stats.paired_t_test([1.1, 2.1, 3.1], [1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("name", ALIKE)
def test_an_interval_that_is_a_point_has_a_note(name):
    e = ALIKE[name]()
    low, high = e.interval if isinstance(e, stats.TestResult) else (e.lower, e.upper)
    assert high - low <= 1e-13 * max(abs(high), abs(low))
    assert any("point" in note or "error" in note for note in e.notes)
    assert len(e.notes) == len(set(e.notes))


@pytest.mark.parametrize("statistic", [stats.accuracy, stats.sensitivity, stats.f1, stats.ppv])
def test_a_threshold_of_nan_calls_nothing_negative(statistic):
    with pytest.raises(ValueError, match="threshold is NaN"):
        statistic([0, 1, 1], [0.2, 0.8, 0.6], threshold=float("nan"))
