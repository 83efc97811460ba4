"""Every number of a report is the one that `metrics` and `stats` give for the same predictions."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmed import metrics, quantities, report, stats

few = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
RAW = {"activation": None}
N = 40


def _streamed(metric, outputs, targets):
    """The value, accumulated over three batches."""
    cuts = np.array_split(np.arange(len(targets)), 3)
    a, b, c = (metric.from_batch(outputs[rows], targets[rows]) for rows in cuts)
    return metric.compute(metric.merge(metric.merge(a, b), c))


def _binary(at):
    """Metric of (scores of class 1, labels), by its name in the report."""
    options = {"threshold": at, **RAW}
    return {
        "auc": metrics.auc(**RAW),
        "accuracy": metrics.accuracy(**options),
        "sensitivity": metrics.recall(**options),
        "specificity": metrics.specificity(**options),
        "ppv": metrics.precision(**options),
        "balanced_accuracy": metrics.balanced_accuracy(**options),
        "f1": metrics.f1(**options),
        "mcc": metrics.mcc(**options),
        "average_precision": metrics.average_precision(**RAW),
        "brier": metrics.brier(**RAW),
        "ece": metrics.ece(**RAW),
    }


# What has no accumulator: the estimate of (labels, scores of class 1).
ESTIMATES = {
    "npv": lambda at: lambda y, p: stats.npv(y, p, threshold=at),
    "calibration_slope": lambda at: stats.calibration_slope,
    "calibration_intercept": lambda at: stats.calibration_intercept,
}
SEVERAL = {
    "auc": metrics.auc(**RAW),
    "accuracy": metrics.accuracy(**RAW),
    "balanced_accuracy": metrics.balanced_accuracy(**RAW),
    "log_loss": metrics.log_loss(**RAW),
    "ece": metrics.ece(**RAW),
    "quadratic_kappa": metrics.quadratic_kappa(**RAW),
}
NUMBERS = {"mae": metrics.mae(), "rmse": metrics.mse(), "r2": metrics.r2()}


def _agree(found, want):
    """Each value is the wanted one, and no name is left without one."""
    assert set(found) <= set(want), f"no metric is held to {set(found) - set(want)}"
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(want[name], rel=1e-9, nan_ok=True), name


def _binary_data(seed):
    """Probabilities in eighths, so that scores tie and lie at thresholds."""
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, N - 2)]
    return y, np.clip(rng.integers(0, 6, N) + 2 * y, 1, 7) / 8


def _several_data(seed, classes):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(classes), rng.integers(0, classes, N - classes)]
    return y, rng.multinomial(8, np.full(classes, 1 / classes), N) / 8


@few
@given(seed=st.integers(0, 999), at=st.sampled_from([0.25, 0.5, 0.75]))
def test_of_two_classes(seed, at):
    y, p = _binary_data(seed)
    want = {name: _streamed(metric, p, y) for name, metric in _binary(at).items()}
    want |= {name: make(at)(y, p).value for name, make in ESTIMATES.items()}
    _agree(report.classification(y, p, threshold=at).metrics, want)


@few
@given(seed=st.integers(0, 999), classes=st.integers(3, 4))
def test_of_several_classes(seed, classes):
    y, p = _several_data(seed, classes)
    want = {name: _streamed(metric, p, y) for name, metric in SEVERAL.items()}
    each = _streamed(metrics.auc(average=None, **RAW), p, y)
    want |= {f"auc/{k}": area for k, area in enumerate(each)}
    want["mae_grades"] = _streamed(metrics.mae(), p.argmax(1).astype(float), y)
    results = report.classification(y, p, task="ordinal")
    _agree(results.metrics, want)
    assert _drawn(results) == quantities.tabulate(y, p.argmax(1), classes).ravel().tolist()


def _drawn(results):
    """The counts that the page's confusion matrix tells, row by row."""
    told = re.findall(r"true (\d+): ([^;.&]*)", report.html(results))
    k = len(results.classes)
    counts = np.zeros((k, k), int)
    for truth, cells in told:
        for n, called in re.findall(r"(\d+) as (\d+)", cells):
            counts[int(truth), int(called)] = int(n)
    return counts.ravel().tolist()


def test_the_page_draws_at_the_threshold_that_it_measures_at():
    y, p = _binary_data(8)
    results = report.classification(y, p, threshold=0.75)
    rates = [results.metrics[name].value for name in ("sensitivity", "specificity")]
    assert "at threshold 0.75: {:.2f} / {:.2f}".format(*rates) in report.html(results)
    assert _drawn(results) == quantities.tabulate(y, p >= 0.75, 2).ravel().tolist()


def test_of_several_labels():
    rng = np.random.default_rng(2)
    y, p = rng.integers(0, 2, (N, 3)), rng.integers(0, 9, (N, 3)) / 8
    want = {
        "auc": _streamed(metrics.auc(**RAW), p, y),
        "accuracy": _streamed(metrics.accuracy(threshold=0.25, **RAW), p, y),
    }
    each = _streamed(metrics.auc(average=None, **RAW), p, y)
    want |= {f"auc/{k}": area for k, area in enumerate(each)}
    _agree(report.classification(y, p, threshold=0.25).metrics, want)


def test_of_numbers():
    rng = np.random.default_rng(3)
    y, x = rng.normal(5, 1, N), rng.normal(5, 1, N)
    want = {name: _streamed(metric, x, y) for name, metric in NUMBERS.items()}
    want |= {"rmse": want["rmse"] ** 0.5, "bias": np.mean(x) - np.mean(y)}
    _agree(report.classification(y, x, task="regression").metrics, want)


def test_of_masks():
    """Case by case, and as means; one structure is in neither mask of a case."""
    rng = np.random.default_rng(4)
    truth, said = rng.integers(0, 3, (2, 5, 6, 6))
    truth[0][truth[0] == 2] = said[0][said[0] == 2] = 0
    results = report.segmentation(
        [(str(i), t, p) for i, (t, p) in enumerate(zip(truth, said))], classes=["a", "b"]
    )
    rows = metrics.case_table(metrics.dice(classes=3).from_batch(said, truth))
    for name in ("dice", "iou", "volume_error"):
        cells = np.array([row[name] for row in rows]).reshape(5, 3)[:, 1:]
        np.testing.assert_allclose(results.overlap.values[name], cells, rtol=1e-12)
    for name, metric in (("dice", metrics.dice), ("iou", metrics.iou)):
        each = _streamed(metric(classes=3, average=None), said, truth)
        assert results.metrics[f"{name}/a"].value == pytest.approx(each[0])
        assert results.metrics[f"{name}/b"].value == pytest.approx(each[1])
    per_case = [np.nanmean([r["dice"] for r in rows[3 * i + 1 : 3 * i + 3]]) for i in range(5)]
    assert results.metrics["dice"].value == pytest.approx(np.mean(per_case))


def test_subgroups_of_a_comparison_are_measured_at_its_threshold():
    y, p = _binary_data(5)
    site = np.arange(N) % 2
    both = {"one": p, "two": p[::-1]}
    results = report.with_subgroups(
        report.compare(y, both, threshold=0.75, metrics=["accuracy"], n_resamples=50),
        {"site": site}, n_resamples=20,
    )  # fmt: skip
    found = {(t.model, t.metric): t.found.estimates for t in results.subgroups}
    for model, scores in both.items():
        _agree(
            {"accuracy": results.comparison.models[model]["accuracy"]},
            {"accuracy": _streamed(_binary(0.75)["accuracy"], scores, y)},
        )
        for group in (0, 1):
            rows = site == group
            want = _streamed(_binary(0.75)["sensitivity"], scores[rows], y[rows])
            told = found[model, "sensitivity"][str(group)]
            assert told.value == pytest.approx(want)


def test_the_paired_differences_are_those_of_the_values():
    """Whatever test gives it, the effect is one model's value less the other's."""
    y, p = _several_data(6, 3)
    rng = np.random.default_rng(7)
    q = rng.multinomial(8, [1 / 3] * 3, N) / 8
    results = report.compare(y, {"p": p, "q": q}, task="ordinal", n_resamples=200)
    models = results.comparison.models
    assert len(results.comparison.contrasts) >= 6
    for contrast in results.comparison.contrasts:
        gap = models["p"][contrast.metric].value - models["q"][contrast.metric].value
        assert contrast.test.effect == pytest.approx(gap, abs=1e-9), contrast.metric
