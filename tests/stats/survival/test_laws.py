"""Laws of survival statistics: without censoring, influences, invariance, odd input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxmed import quantities, stats


def data(seed, n=14, ties=False):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death, end = rng.exponential(np.exp(-risk)), rng.exponential(1.2, n)
    time, event = np.minimum(death, end), death <= end
    event[np.argmax(time)] = True
    time = np.ceil(time * 4) if ties else time
    return time, event, (np.round(risk) if ties else risk)


def survival(risk):
    return np.exp(-np.exp(0.7 * risk)[:, None] * np.array([0.4, 0.8]))


def middle(time):
    return np.quantile(time, [0.3, 0.6])


def scored(name, at):
    """Each estimate that has an infinitesimal jackknife, as a function of the cases."""
    made = {
        "harrell": lambda t, e, x: stats.survival_concordance(t, e, x),
        "uno": lambda t, e, x: stats.survival_concordance(t, e, x, method="uno", until=at[1]),
        "auc": lambda t, e, x: stats.survival_auc(t, e, x, at=at[1]),
        "brier": lambda t, e, x: stats.survival_brier(t, e, survival(x)[:, 0], at=at[0]),
        "integrated": lambda t, e, x: stats.integrated_brier(t, e, survival(x), times=at),
    }
    return made[name]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ["harrell", "uno", "auc", "brier", "integrated"])
def test_the_error_is_that_of_each_case_counted_a_little_more(name, ties):
    time, event, x = data(3, ties=ties)
    at = middle(time)
    found = scored(name, at)(time, event, x)
    many = 60
    moved = []
    for k in range(len(time)):
        both = []
        for extra in (1, -1):
            rows = np.repeat(np.arange(len(time)), many)
            rows = np.append(rows, k) if extra > 0 else np.delete(rows, k * many)
            both.append(scored(name, at)(time[rows], event[rows], x[rows]).value)
        moved.append((both[0] - both[1]) / 2 * many)
    assert found.se == pytest.approx(np.sqrt(np.sum(np.square(moved))), rel=2e-3)
    assert found.lower < found.value < found.upper


@pytest.mark.parametrize("method", ["harrell", "uno"])
def test_copies_within_a_patient_narrow_nothing(method):
    time, event, x = data(4)
    once = stats.survival_concordance(time, event, x, method=method)
    twice = stats.survival_concordance(
        np.tile(time, 2), np.tile(event, 2), np.tile(x, 2), method=method,
        groups=np.tile(np.arange(len(time)), 2),
    )  # fmt: skip
    assert twice.value == pytest.approx(once.value)
    assert twice.se == pytest.approx(once.se)
    assert twice.n == once.n


def test_without_censoring_all_is_known():
    rng = np.random.default_rng(5)
    time, x = rng.permutation(np.arange(1.0, 31.0)), rng.normal(size=30)
    event = np.ones(30)
    at = 12.0
    plain = stats.auc(time <= at, x)
    assert stats.survival_auc(time, event, x, at=at).value == pytest.approx(plain.value)
    p = 1 / (1 + np.exp(-x))
    brier = stats.survival_brier(time, event, 1 - p, at=at)
    assert brier.value == pytest.approx(np.mean((p - (time <= at)) ** 2))
    values = (p - (time <= at)) ** 2
    assert brier.se == pytest.approx(values.std() / np.sqrt(30))
    curve = stats.kaplan_meier(time, event)
    np.testing.assert_allclose(curve.value, 1 - np.arange(1, 31) / 30, atol=1e-12)
    uno = stats.survival_concordance(time, event, x, method="uno")
    harrell = stats.survival_concordance(time, event, x)
    assert (uno.value, uno.se) == pytest.approx((harrell.value, harrell.se))
    tau = scipy_stats.kendalltau(time, -x).statistic
    assert harrell.value == pytest.approx((tau + 1) / 2)
    cause = rng.integers(1, 3, 30)
    f = stats.cumulative_incidence(time, cause, method="plain")
    half = (f.upper - f.value)[11] / 1.959964
    share = np.mean((time <= at) & (cause == 1))
    assert f.value[11] == pytest.approx(share)
    assert half == pytest.approx(np.sqrt(share * (1 - share) / 30))
    # One cause alone is one minus Kaplan and Meier.
    np.testing.assert_allclose(stats.cumulative_incidence(time, event).value, 1 - curve.value)


@pytest.mark.parametrize("ties", [False, True])
def test_scale_and_order_change_nothing(ties):
    time, event, x = data(6, 30, ties)
    order = np.random.default_rng(0).permutation(30)
    by = np.arange(30) % 3
    for method in ("harrell", "uno"):
        a = stats.survival_concordance(time, event, x, method=method)
        b = stats.survival_concordance(
            2 * time[order], event[order], np.exp(x[order]), method=method
        )
        assert (b.value, b.se) == pytest.approx((a.value, a.se))
        c = stats.survival_concordance(time, event, -x, method=method)
        assert (c.value, c.se) == pytest.approx((1 - a.value, a.se))
    log_rank = stats.log_rank_test(time, event, by)
    again = stats.log_rank_test(time[order], event[order], np.array(list("cab"))[by[order]])
    assert again.statistic == pytest.approx(log_rank.statistic)
    one = stats.log_rank_test(time, event, by, strata=np.zeros(30))
    assert one.statistic == pytest.approx(log_rank.statistic)
    m = stats.cox_model(time, event, np.stack([x, by], 1))
    n = stats.cox_model(time[order] / 7, event[order], np.stack([x * 10 + 3, by], 1)[order])
    np.testing.assert_allclose(n.coefficients * [10, 1], m.coefficients, rtol=1e-6)
    gray = stats.gray_test(time, event, by)
    assert stats.gray_test(time[order], event[order], by[order]).statistic == pytest.approx(
        gray.statistic
    )


def test_grays_variance_is_that_of_each_case_counted_a_little_more():
    rng = np.random.default_rng(7)
    time, event = rng.exponential(size=24), rng.integers(0, 3, 24)
    by = np.arange(24) % 2
    found = stats.gray_test(time, event, by)
    many, moved = 50, []
    for k in range(24):
        rows = np.append(np.repeat(np.arange(24), many), k)
        less = np.delete(np.repeat(np.arange(24), many), k * many)
        more, fewer = (
            stats.gray_test(time[r], event[r], by[r]).details["score"][0] for r in (rows, less)
        )
        moved.append((more - fewer) / 2)
    score = found.details["score"]
    assert sum(score) == pytest.approx(0, abs=1e-9)
    assert found.statistic == pytest.approx(score[0] ** 2 / np.sum(np.square(moved)), rel=2e-2)


def test_one_cause_has_the_score_of_the_log_rank_test():
    time, event, _ = data(8, 40)
    by = np.arange(40) % 2
    gray, log_rank = stats.gray_test(time, event, by), stats.log_rank_test(time, event, by)
    observed, expected = (log_rank.details[name][0] for name in ("observed", "expected"))
    assert gray.details["score"][0] == pytest.approx(observed - expected)


def test_two_models_are_compared_by_pairs():
    time, event, x = data(9, 60)
    noise = np.random.default_rng(1).normal(size=60)
    r = stats.survival_concordance_test(time, event, x, noise)
    a, b = (stats.survival_concordance(time, event, risk) for risk in (x, noise))
    assert r.effect == pytest.approx(a.value - b.value)
    assert r.details["se"] < a.se + b.se
    same = stats.survival_concordance_test(time, event, x, 2 * x)
    assert (same.effect, same.p_value) == (0, 1)
    assert same.notes


def test_calibration_of_the_truth_and_of_half_of_it():
    rng = np.random.default_rng(10)
    eta = rng.normal(size=4000)
    death, end = rng.exponential(np.exp(-eta)), rng.exponential(2, 4000)
    time, event = np.minimum(death, end), death <= end
    true = np.exp(-0.7 * np.exp(eta))
    c = stats.survival_calibration(time, event, true, at=0.7)
    assert c.ratio.lower < 1 < c.ratio.upper
    assert c.slope.lower < 1 < c.slope.upper
    assert (np.abs(c.predicted - c.observed) < 0.06).all()
    assert c.count.sum() == 4000
    half = stats.survival_calibration(time, event, np.exp(-0.7 * np.exp(eta / 2)), at=0.7)
    assert half.slope.value == pytest.approx(2, abs=0.15)
    assert stats.survival_calibration(time, event, np.full(4000, 0.5), at=0.7).slope is None


def test_cox_recovers_planted_ratios_and_its_baseline():
    rng = np.random.default_rng(11)
    x = rng.normal(size=(6000, 2))
    death = rng.exponential(np.exp(-(x @ [0.8, -0.4])) / 0.3)
    time, event = np.minimum(death, 4.0), death < 4
    m = stats.cox_model(time, event, x)
    np.testing.assert_allclose(m.coefficients, [0.8, -0.4], atol=0.06)
    np.testing.assert_allclose(
        m.survival(np.zeros((1, 2)), [1.0, 3.0])[0], np.exp(-0.3 * np.array([1, 3])), atol=0.03
    )
    base = stats.breslow(time, event, m.log_hazard(x))
    np.testing.assert_allclose(base.value, m.baseline.value)


def test_separation_is_said():
    m = stats.cox_model([1, 2, 3, 4], [1, 1, 1, 1], [[1], [1], [0], [0]])
    assert m.notes
    assert "no maximum" in str(m.hazard_ratios[0])


def test_all_pairs_in_order_still_have_an_interval():
    e = stats.survival_concordance([1, 2, 3, 4], [1, 1, 1, 0], [4, 3, 2, 1])
    assert e.value == e.upper == 1
    assert 0 < e.lower < 1
    assert e.notes


def test_curves_at_their_ends():
    curve = stats.kaplan_meier([1, 2, 3], [1, 0, 0])
    value, lower, upper = curve.at([0.5, 3, 3.1])
    assert value[0] == lower[0] == upper[0] == 1
    assert np.isnan([value[2], lower[2], upper[2]]).all()
    dead = stats.kaplan_meier([1, 2, 3], [1, 1, 1])
    assert dead.at([9])[0][0] == 0
    assert dead.upper[-1] == dead.upper[-2]
    never = stats.survival_quantile([1, 2, 3], [1, 0, 0])
    assert never.value == np.inf
    assert never.notes


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2, 0, 3, 1, 1])])
def test_the_weighted_pairs_are_their_definition(weights):
    rng = np.random.default_rng(0)
    time, event, risk = rng.integers(1, 4, 6) * 1.0, rng.random(6) < 0.7, rng.integers(0, 3, 6)
    w = np.ones(6) if weights is None else weights
    won = total = 0.0
    for i in range(6):
        for j in range(6):
            later = time[j] > time[i] or (time[j] == time[i] and not event[j])
            if event[i] and later:
                total += w[i] * w[j]
                won += w[i] * w[j] * ((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]))
    assert quantities.concordance(time, event, risk, weights) == pytest.approx(won / total)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: stats.kaplan_meier([1, -2], [1, 0]), "time must be 0 or later"),
        (lambda: stats.kaplan_meier([1, np.nan], [1, 0]), "time holds 1"),
        (lambda: stats.kaplan_meier([1, 2], [1, 2]), "several causes"),
        (lambda: stats.kaplan_meier([0.5, 1], [12.5, 8.1]), "the order is"),
        (lambda: stats.kaplan_meier([1, 2], [1]), "lengths differ"),
        (lambda: stats.kaplan_meier([1, 2], ["dead", "alive"]), "event must be 0/1"),
        (lambda: stats.kaplan_meier([1, 2], [1, 1], method="exact"), "method 'exact'"),
        (lambda: stats.cox_model([1, 2], [0, 0], [[1], [2]]), "no event is 1"),
        (lambda: stats.cox_model([1, 2], [1, 1], [[1], [1]]), "x0 has one value"),
        (lambda: stats.cox_model([1, 2, 3], [1, 1, 1], [[1, 2], [2, 4], [4, 8]]), "combination"),
        (lambda: stats.log_rank_test([1, 2], [1, 1], ["a", "a"]), "by has one group"),
        (lambda: stats.log_rank_test([1, 2], [1, 1], ["a", None]), "by has no name"),
        (lambda: stats.survival_concordance([1, 2], [0, 1], [1, 2]), "no two cases"),
        (lambda: stats.survival_auc([1, 2, 3], [1, 1, 0], [1, 2, 3], at=3), "not before the last"),
        (lambda: stats.survival_auc([2, 3], [1, 0], [1, 2], at=1), "no event until"),
        (lambda: stats.survival_brier([1, 2], [1, 1], [1.2, 0], at=1), "probabilities"),
        (lambda: stats.integrated_brier([1, 2, 3], [1, 1, 1], np.ones((3, 2)), times=[2, 1]),
         "ascend"),
        (lambda: stats.cumulative_incidence([1, 2], [1, 0], cause=2), "no event is of cause 2"),
        (lambda: stats.restricted_mean_survival([1, 2], [1, 1], 3), "until must lie"),
    ],
)  # fmt: skip
def test_odd_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["harrell", "uno"])
def test_intervals_cover(method):
    """Of 1000 studies of 80 cases each; the truth from one of 40,000."""

    def draw(rng, n):
        x = rng.normal(size=n)
        death, end = rng.exponential(np.exp(-x)), rng.uniform(0.5, 3, n)
        return np.minimum(death, end), death <= end, x

    big = draw(np.random.default_rng(0), 20_000)
    until = 2.5 if method == "uno" else None
    truth = stats.survival_concordance(*big, method=method, until=until).value
    hits = 0
    for seed in range(1000):
        e = stats.survival_concordance(*draw(np.random.default_rng(seed), 80), method=method,
                                       until=until)  # fmt: skip
        hits += e.lower <= truth <= e.upper
    assert 0.92 < hits / 1000 < 0.97


@pytest.mark.slow
def test_grays_test_has_its_size():
    """Of 2000 studies of 100 cases without a difference in the cause, but in the other one."""
    hits = 0
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        by = np.arange(100) % 2
        ill = rng.random(100) < 0.4
        when = np.where(ill, rng.exponential(1, 100), rng.exponential(1 + by, 100))
        end = rng.uniform(0.5, 3, 100)
        event = np.where(when <= end, np.where(ill, 1, 2), 0)
        hits += stats.gray_test(np.minimum(when, end), event, by).p_value < 0.05
    assert 0.035 < hits / 2000 < 0.068
