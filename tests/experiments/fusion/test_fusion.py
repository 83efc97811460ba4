"""Experiments on several modalities and on times, at tiny sizes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from jaxmed.experiments.fusion import hazards, records, sequences

from jaxmed.stats import survival_calibration


def test_the_exact_survival_of_phantoms_is_what_happens():
    """Of many phantoms, as many are alive as is said, whatever is known of them."""
    cases = hazards.phantoms(4000, 0.3, np.random.default_rng(0))
    time, event = cases.source.arrays["survival"].T
    for names in (("image", "record"), ("image",), ("record",)):
        present = cases.source.arrays["present"] > 0
        kept = present.any(1) if len(names) == 2 else present[:, int(names == ("record",))]
        true = hazards.exact(cases, names)[:, 2]
        found = survival_calibration(time[kept], event[kept], true[kept], at=1.0)
        assert found.ratio.value == pytest.approx(1, abs=0.04), names
        np.testing.assert_allclose(found.observed, found.predicted, atol=0.06)


@pytest.mark.parametrize("loss", ["discrete", "cox"])
def test_planted_hazards_are_learned_from_the_record(loss, tmp_path):
    config = hazards.Config(modalities="record", loss=loss, train=2000, test=600)
    results = hazards.run(config, tmp_path)
    c, best = results.metrics["harrell_c"], results.metrics["exact/harrell_c"]
    assert c.value == pytest.approx(best.value, abs=0.03)
    assert results.metrics["error_of_survival"].value < 0.08


@pytest.mark.slow
def test_both_tell_more_than_either(tmp_path):
    found = {
        name: hazards.run(hazards.Config(modalities=name, train=800, epochs=15), tmp_path / name)
        for name in ("image", "record", "both")
    }
    c = {name: r.metrics["harrell_c"].value for name, r in found.items()}
    assert c["both"] > max(c["image"], c["record"]) + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["early", "late"])
def test_sequences_run(fusion, tmp_path):
    config = sequences.Config(fusion=fusion, size=16, features=2, folds=2, steps=2)
    results = sequences.run(config, tmp_path)
    assert {"all/dice", "without FLAIR/dice", "without FLAIR/loss"} <= set(results.metrics)


@pytest.mark.slow
def test_records_run(tmp_path):
    config = records.Config(features="pixels", steps=3, seeds=1, folds=2)
    results = records.run(config, tmp_path)
    assert {f"{arm}/auc" for arm in records.ARMS} <= set(results.metrics)
    first = results.comparison.models["concat"]["auc"].value
    second = results.comparison.models["image"]["auc"].value
    assert results.metrics["concat - image"].value == pytest.approx(first - second)
    assert len(results.metrics) == len(records.ARMS) + 6
    assert dataclasses.asdict(config)["target"] == "grade"
