"""Equal to lifelines, on simulated data with ties and on the tables that it carries."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats

lifelines = pytest.importorskip("lifelines")
pytestmark = pytest.mark.filterwarnings("ignore")


def simulated(seed: int, n: int = 80, ties: bool = True):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    death = rng.exponential(np.exp(-x[:, 0]))
    end = rng.exponential(1.5, n)
    time, event = np.minimum(death, end), death <= end
    return (np.ceil(time * 6) if ties else time), event, x


@pytest.mark.parametrize("ties", [True, False])
def test_curves(ties):
    time, event, _ = simulated(0, ties=ties)
    ours = stats.kaplan_meier(time, event)
    theirs = lifelines.KaplanMeierFitter().fit(time, event)
    np.testing.assert_allclose(ours.value, theirs.survival_function_.values[1:, 0], rtol=1e-10)
    inner = ours.value > 0
    limits = theirs.confidence_interval_.values[1:][inner]
    np.testing.assert_allclose(ours.lower[inner], limits[:, 0], rtol=1e-6)
    np.testing.assert_allclose(ours.upper[inner], limits[:, 1], rtol=1e-6)
    assert stats.survival_quantile(time, event).value == theirs.median_survival_time_
    ours = stats.nelson_aalen(time, event)
    theirs = lifelines.NelsonAalenFitter(nelson_aalen_smoothing=False).fit(time, event)
    np.testing.assert_allclose(ours.value, theirs.cumulative_hazard_.values[1:, 0], rtol=1e-10)
    known = ours.value > 0
    np.testing.assert_allclose(
        np.stack([ours.lower, ours.upper], 1)[known],
        theirs.confidence_interval_.values[1:][known],
        rtol=1e-6,
    )
    until = float(np.quantile(time, 0.9))
    ours = stats.restricted_mean_survival(time, event, until)
    from lifelines.utils import restricted_mean_survival_time

    theirs = lifelines.KaplanMeierFitter().fit(time, event)
    assert ours.value == pytest.approx(restricted_mean_survival_time(theirs, t=until), rel=1e-8)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("log-rank", None), ("gehan", "wilcoxon"), ("tarone-ware", "tarone-ware"), ("peto", "peto")],
)
def test_log_rank(ours, theirs):
    from lifelines.statistics import multivariate_logrank_test

    time, event, x = simulated(1)
    by = np.digitize(x[:, 1], [-0.5, 0.5])
    found = stats.log_rank_test(time, event, by, weighting=ours)
    wanted = multivariate_logrank_test(time, by, event, weightings=theirs)
    assert found.statistic == pytest.approx(wanted.test_statistic, rel=1e-6)
    assert found.p_value == pytest.approx(wanted.p_value, rel=1e-5)


def test_competing_risks():
    rng = np.random.default_rng(2)
    time, event = rng.exponential(size=60), rng.integers(0, 3, 60)
    ours = stats.cumulative_incidence(time, event, cause=2)
    theirs = lifelines.AalenJohansenFitter().fit(time, event, event_of_interest=2)
    wanted = theirs.cumulative_density_.values[1:, 0]
    np.testing.assert_allclose(ours.value, wanted, rtol=1e-10)
    # Another variance (delta method), the same to a few percent where there are some events.
    limits = theirs.confidence_interval_.values[1:][25:-1]
    np.testing.assert_allclose(ours.lower[25:-1], limits[:, 0], atol=0.03)
    np.testing.assert_allclose(ours.upper[25:-1], limits[:, 1], atol=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_concordance(seed):
    from lifelines.utils import concordance_index

    time, event, x = simulated(seed)
    risk = np.round(x[:, 0], 1)
    ours = stats.survival_concordance(time, event, risk)
    assert ours.value == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)


def fitted(frame, duration, event, strata=None):
    columns = [c for c in frame if c not in (duration, event, strata)]
    theirs = lifelines.CoxPHFitter().fit(frame, duration, event, strata=strata and [strata])
    ours = stats.cox_model(
        frame[duration].to_numpy(), frame[event].to_numpy(), frame[columns].to_numpy(float),
        names=columns, strata=None if strata is None else frame[strata].to_numpy(),
    )  # fmt: skip
    return ours, theirs, columns


def agree(ours, theirs):
    np.testing.assert_allclose(ours.coefficients, theirs.params_.to_numpy(), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(
        np.sqrt(np.diag(ours.covariance)), theirs.standard_errors_.to_numpy(), rtol=2e-5
    )
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood_, abs=1e-5)
    assert ours.likelihood_ratio.statistic == pytest.approx(
        theirs.log_likelihood_ratio_test().test_statistic, abs=1e-4
    )
    limits = np.exp(theirs.confidence_intervals_.to_numpy())
    found = np.array([[e.lower, e.upper] for e in ours.hazard_ratios])
    np.testing.assert_allclose(found, limits, rtol=1e-4)


def test_cox_model_of_the_recidivism_table():
    """Rossi et al. (1980); the table of Allison, and Fox's appendix on Cox models in R."""
    from lifelines.datasets import load_rossi

    rossi = load_rossi()
    ours, theirs, columns = fitted(rossi, "week", "arrest")
    agree(ours, theirs)
    # Fox and Weisberg's printed fit.
    printed = [-0.37942, -0.05744, 0.31390, -0.14980, -0.43370, -0.08487, 0.09150]
    np.testing.assert_allclose(ours.coefficients, printed, atol=6e-6)
    np.testing.assert_allclose(
        [ours.likelihood_ratio.statistic, ours.wald.statistic, ours.score.statistic],
        [33.27, 32.11, 33.53],
        atol=0.006,
    )
    x = rossi[columns].to_numpy(float)
    times = [10, 25.0, 50]
    wanted = theirs.predict_survival_function(rossi[columns], times=times).to_numpy().T
    np.testing.assert_allclose(ours.survival(x, times), wanted, rtol=1e-4)
    c = stats.survival_concordance(rossi["week"], rossi["arrest"], ours.log_hazard(x))
    assert c.value == pytest.approx(theirs.concordance_index_, abs=1e-9)
    assert c.se == pytest.approx(0.027, abs=6e-4)  # R's `concordance`, as Fox prints it
    strata = stats.log_rank_test(rossi["week"], rossi["arrest"], rossi["fin"], strata=rossi["wexp"])
    model, _, _ = fitted(rossi[["week", "arrest", "fin", "wexp"]], "week", "arrest", "wexp")
    assert strata.statistic == pytest.approx(model.score.statistic, rel=0.02)


def test_cox_model_with_strata_of_the_breast_cancer_table():
    """The German Breast Cancer Study Group's table, 686 women."""
    from lifelines.datasets import load_gbsg2

    frame = load_gbsg2()[["age", "tsize", "pnodes", "progrec", "time", "cens", "tgrade"]]
    agree(*fitted(frame, "time", "cens", "tgrade")[:2])
