"""The uncertainty of masks: what it is measured by, against the library on the same voxels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from jaxmed.experiments.uncertainty import _mask_uncertainty

import jaxmed as jm
from jaxmed import bayes
from jaxmed.cli import main
from jaxmed.cli.runs import _experiment

TINY = "--steps 2 --patch 8 8 8 --features 2 --folds 2 --calibration 1 --samples 2 --members 2"


@pytest.fixture(scope="module")
def experiment():
    return _experiment.load("uncertainty_masks").module


@pytest.fixture(scope="module")
def made():
    return _mask_uncertainty


def test_metrics_of_counts_are_those_of_the_voxels(made):
    rng = np.random.default_rng(0)
    p = rng.dirichlet((8, 0.3, 0.3), 4000)
    y = np.where(rng.random(4000) < 0.9, p.argmax(1), rng.integers(0, 3, 4000))
    sure, wrong = p.max(1), p.argmax(1) != y
    bins = made.confidence(sure[:2500], wrong[:2500]) + made.confidence(sure[2500:], wrong[2500:])
    expected = bayes.selective_scores(wrong.astype(float), sure)
    assert made.aurc(bins) == pytest.approx(expected.aurc, rel=5e-3)
    assert made.error_auroc(bins) == pytest.approx(expected.error_auroc, abs=2e-3)
    ece = jm.stats.ece(y, p, of="top", n_bins=15, n_resamples=0).value
    assert made.ece(bins) == pytest.approx(ece, abs=1e-9)


def test_one_scan_by_hand(made):
    truth = np.zeros((9, 9, 9), int)
    truth[4, 4, 4], truth[4, 4, 5] = 1, 2
    p = np.tile([0.8, 0.1, 0.1], (4, 9, 9, 9, 1))
    p[:, 4, 4, 4] = 0.1, 0.8, 0.1
    p[2:, 4, 4, 5] = 0.1, 0.1, 0.8  # two of four samples find the second structure
    found = made.look(p, truth)
    np.testing.assert_allclose(found["dice"], [1, 0])  # 0.45 of background against 0.45: the first
    np.testing.assert_allclose(found["volume"][:, :2], [[1, 1], [1, 0.5]])
    assert found["nll/whole"] == pytest.approx(-(728 * np.log(0.8) + np.log(0.45)) / 729, abs=1e-6)
    assert found["confidence"][:, 0].sum() < 729  # the neighbourhood alone
    assert found["confidence"][:, 1].sum() == 1


def test_intervals_of_volumes_are_calibrated_on_other_scans(made):
    rng = np.random.default_rng(1)

    def scans(n, shift):
        truth = rng.uniform(900, 1100, (n, 2))
        mean = truth + shift + rng.normal(0, 20, (n, 2))
        volume = np.stack([truth, mean, np.full((n, 2), 5.0), mean - 8, mean + 8], -1)
        rest = {"dice": np.full(2, 0.9), "unsure": 0.1}
        return [
            {**rest, "dice": rest["dice"] - 0.01 * i, "volume": v} for i, v in enumerate(volume)
        ]

    found = made.numbers(scans(200, 15), scans(200, 15))
    assert found["inside"].mean() < 0.5  # the samples know nothing of a bias
    assert found["conformal_inside"].mean() == pytest.approx(0.9, abs=0.06)
    assert (found["conformal_width"] > found["width"]).all()
    alone = scans(30, 0)
    for one in alone:
        one["volume"][:, 2] = 0
    assert np.isnan(made.numbers(alone, alone)["inside"]).all()


def test_low_dice_and_its_rank(made):
    pairs = np.stack([np.linspace(0.5, 0.9, 20), np.linspace(1.0, 0.1, 20)], -1)
    assert made.low_dice_auroc(pairs) == 1
    assert made.rank_correlation(pairs) == pytest.approx(1)
    assert made.rank_correlation(pairs * [1, -1]) == pytest.approx(-1)


def test_mistakes_are_told(experiment, hippocampus, tmp_path):
    with pytest.raises(ValueError, match="method is one of map, "):
        experiment.run(experiment.Config(method="laplce"), tmp_path)
    with pytest.raises(ValueError, match="calibration is 1 to 3, got 4"):
        experiment.run(
            experiment.Config(data=hippocampus.data, calibration=4, folds=3, patch=(8, 8, 8)),
            tmp_path,
        )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["temperature", "ensemble", "swag", "laplace_last", "svi"])
def test_a_method_runs_from_the_command_line(method, hippocampus, tmp_path):
    out = tmp_path / "run"
    command = ["train", "uncertainty_masks", "--method", method, "--data", str(hippocampus.data)]
    assert main([*command, *TINY.split(), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert {"nll", "nll/difference", "ece", "low_dice_auroc", "train_cost"} <= set(metrics)
    assert ("volume_coverage" in metrics) == (method != "temperature")
    assert "Mutual inf." in (out / "report.html").read_text()
