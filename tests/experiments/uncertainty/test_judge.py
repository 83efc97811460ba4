"""The judge and its cases: what is measured, and on what."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.cli.runs import _experiment

TINY = {
    "warmup": 20, "draws": 20, "chains": 2, "max_tree_depth": 3, "steps": 20, "chain_steps": 50,
    "members": 2, "samples": 10,
}  # fmt: skip


@pytest.fixture(scope="module")
def judge():
    return _experiment.load("judge").module


def test_predictions_are_compared_with_the_judges(judge):
    case = judge.read(judge.Config(case="wdbc"))
    assert case.train["image"].shape == (80, 3)
    assert abs(case.train["image"].mean()) < 1e-6  # scaled by the training cases
    mean, sd = np.full(40, 0.5), np.full(40, 0.1)
    found = judge.compare(case, mean + 0.1, 0.5 * sd, mean, sd)
    assert found == pytest.approx({"tv": 0.1, "agreement": 0, "mean_error": 1, "sd_ratio": 0.5})
    p = np.full((3, 40), 0.25)
    rate = case.target.mean()
    want = -rate * np.log(0.25) - (1 - rate) * np.log(0.75)
    assert judge.nll(case, p) == pytest.approx(want)


def test_a_curve_has_no_classes(judge):
    case = judge.read(judge.Config(case="gap1d"))
    seen = case.train["image"][:, 0]
    assert not ((seen > -0.4) & (seen < 0.4)).any()
    assert set(judge.compare(case, *[np.ones(41)] * 4)) == {"mean_error", "sd_ratio"}


def test_a_table_of_ones_own(judge, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"X": rng.normal(size=(9, 2)), "y": np.arange(9) % 2, "X_test": np.ones((3, 2))}
    np.savez(tmp_path / "mine.npz", **arrays)
    config = judge.Config(case="mine", data=tmp_path)
    with pytest.raises(ValueError, match="no array 'y_test'"):
        judge.read(config)
    np.savez(tmp_path / "mine.npz", **arrays, y_test=np.ones(3))
    assert judge.read(config).noise is None  # 0 and 1 are classes
    with pytest.raises(ValueError, match=r"is not one of gap1d, wdbc, breastmnist.*no folder"):
        judge.read(judge.Config(case="mine"))
    with pytest.raises(ValueError, match="'lapalce' is not known"):
        judge.run(judge.Config(method="lapalce"), tmp_path)


def test_a_grids_methods_share_the_chains(judge, tmp_path):
    folder = lambda config: tmp_path / f"{config.method}-{config.case}"  # noqa: E731
    linked = judge.in_grid(judge.Config(method="laplace"), folder)
    assert linked.baseline == tmp_path / "nuts-gap1d"
    assert judge.in_grid(judge.Config(method="nuts"), folder).baseline is None


@pytest.mark.slow
def test_every_method_is_judged(judge, tmp_path):
    results = judge.run(judge.Config(case="gap1d", **TINY), tmp_path)
    for name in ("nuts", *judge.METHOD):
        assert np.isfinite(results.metrics[f"{name}/mean_error"].value), name
    assert results.metrics["map/sd_ratio"].value == 0
    assert results.metrics["laplace/sd_ratio"].value > 0
    assert any("effective" in note for note in results.notes)  # twenty draws are too few
    # The chains that are kept serve another method; those of other settings do not.
    config = judge.Config(case="gap1d", method="map", baseline=tmp_path, **TINY)
    again = judge.run(config, tmp_path / "map")
    assert "rhat" in results.metrics
    assert "rhat" not in again.metrics  # the judge's own run tells
    want = results.metrics["map/mean_error"].value
    assert again.metrics["mean_error"].value == pytest.approx(want, rel=1e-5)


@pytest.mark.slow
def test_the_small_cnn_on_real_images(judge, data_dir, tmp_path):
    tiny = {**TINY, "chains": 1}
    config = judge.Config(case="breastmnist", method="ensemble,laplace", **tiny)
    results = judge.run(config, tmp_path)
    assert 0 <= results.metrics["laplace/tv"].value <= 1
    assert results.data.splits[0].cases == 120
