"""Results, pages and tables of predicted survival."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from jaxmed import report, stats
from jaxmed.report.page._glossary import glossary, named_methods

TIMES = np.array([0.4, 0.8, 1.2])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    eta = rng.normal(size=90)
    death, end = rng.exponential(np.exp(-eta)), rng.uniform(0.5, 2.5, 90)
    survival = np.exp(-np.exp(eta)[:, None] * TIMES)
    return np.minimum(death, end), (death <= end) * 1, survival


@pytest.fixture(scope="module")
def results(data):
    return report.survival(
        *data, times=TIMES, unit="years", title="Trial", cases=[*map(str, range(90))]
    )


def test_each_number_is_that_of_the_statistics(results, data):
    time, event, survival = data
    risk = -survival.mean(1)
    m = results.metrics
    assert m["harrell_c"] == stats.survival_concordance(time, event, risk)
    assert m["uno_c"] == stats.survival_concordance(time, event, risk, method="uno", until=1.2)
    at = results.calibration.at
    column = survival[:, list(TIMES).index(at)]
    assert m["auc"] == stats.survival_auc(time, event, risk, at=at)
    assert m["brier"] == stats.survival_brier(time, event, column, at=at)
    assert m["integrated_brier"] == stats.integrated_brier(time, event, survival, times=TIMES)
    found = stats.survival_calibration(time, event, column, at=at)
    assert (m["observed_expected"], m["calibration_slope"]) == (found.ratio, found.slope)
    assert results.separation.p_value < 0.05
    assert np.bincount(results.predicted.band).tolist() == [30, 30, 30]


def test_it_is_written_whole(results, tmp_path):
    written = report.write(results, tmp_path)
    rows = list(csv.DictReader(io.StringIO(written.predictions.read_text())))
    assert len(rows) == 90
    assert list(rows[0]) == ["case", "time", "event", "risk", "survival_0.4", "survival_0.8",
                             "survival_1.2"]  # fmt: skip
    record = json.loads(written.metrics.read_text())
    assert record["task"] == "survival"
    assert record["metrics"]["uno_c"]["value"] == results.metrics["uno_c"].value
    page = written.report.read_text()
    for told in (
        "high risk",
        "Log-rank test of the groups",
        "At risk",
        "Observed against predicted",
    ):
        assert told in page
    found = {entry.title for entry in glossary(results)}
    assert {"infinitesimal jackknife", "Kaplan-Meier", "Wald, Cox"} <= found
    assert all(name for name in named_methods(results))


def test_risks_alone_have_no_probabilities(data):
    time, event, survival = data
    r = report.survival(time, event, risk=-survival[:, 0], groups=np.arange(90) // 2)
    assert set(r.metrics) == {"harrell_c", "uno_c", "auc"}
    assert r.metrics["harrell_c"].unit == "patient"
    assert r.calibration is None
    assert "risk" in report.predictions_csv(r).splitlines()[0]
    assert "survival" in report.html(r)


def test_times_beyond_all_cases_are_left_out(data):
    time, event, survival = data
    far = report.survival(time, event, np.c_[survival, survival[:, -1:]], times=[*TIMES, 99.0])
    assert far.predicted.survival.shape == (90, 3)
    assert any("Left out" in note for note in far.notes)


def test_numbers_at_risk_and_curves_are_in_the_figure(data):
    time, event, _ = data
    figure = report.survival_figure(time, event, time > 0.5, names=("early", "late"))
    axes, below = figure.axes
    assert {t.get_text() for t in axes.get_legend().get_texts()} == {"early", "late"}
    counts = [int(t.get_text()) for t in below.texts]
    assert counts[0] + counts[len(counts) // 2] == 90
    alone = report.survival_figure(time, event)
    assert len(alone.axes[1].texts) == len(alone.axes[0].get_xticks())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: report.survival([1, 2], [1, 1]), "give survival="),
        (lambda: report.survival([1, 2], [1, 1], [[0.5]], times=[1]), "must be"),
        (lambda: report.survival([1, 2], [1, 1], [[0.5], [0.4]], times=[3]), "beyond any"),
        (lambda: report.survival([2, 2], [1, 1], risk=[1, 2]), "no two|all events"),
    ],
)
def test_odd_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
