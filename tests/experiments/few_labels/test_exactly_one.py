"""Made-up digits from two labels a class, and from knowing that each is exactly one."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from jaxmed.cli import main

exactly_one = importlib.import_module("jaxmed.experiments.few_labels.exactly_one")
TINY = "train exactly_one --labels 2 --steps 4 --batch 4 --debug"


def metrics(out):
    return json.loads((out / "metrics.json").read_text())["metrics"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_both_arms_are_measured_on_the_same_images(digits, tmp_path):
    command = [*TINY.split(), "--dataset", "usps", "--network", "cnn"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    found = metrics(tmp_path / "run")
    alone, taught = (found[f"{name}/accuracy"] for name in ("labels alone", "exactly one"))
    assert alone["n"] == taught["n"] == 40
    difference = found["accuracy/difference"]
    assert difference["value"] == pytest.approx(taught["value"] - alone["value"])
    # A weight of 0 teaches nothing: the arms share labels, order, parameters and noise.
    assert main([*command, "--weight", "0", "--chosen", "--out", str(tmp_path / "none")]) == 0
    found = metrics(tmp_path / "none")
    assert found["accuracy/difference"]["value"] == 0
    assert found["exactly one/accuracy"]["n"] == 20
    assert "a sixth of the training images" in (tmp_path / "none" / "report.html").read_text()


def test_no_label_is_seen_but_the_few():
    images = np.arange(12, dtype=np.float32).reshape(6, 2)
    labels = np.array([0, 1, 0, 1, 9, 9])
    few = np.array([1, 3])
    config = exactly_one.Config(batch=8, noise=0.0)
    draws = exactly_one.Draws(images, few, labels, config)
    seen = list(draws.iterate(0, 6))
    assert {int(label) for batch in seen for label in batch["label"]} == {1}
    assert {float(x) for batch in seen for x in batch["image"][:, 0]} == {2.0, 6.0}
    assert {float(x) for batch in seen for x in batch["unlabelled"][:, 0]} == set(images[:, 0])
    np.testing.assert_array_equal(draws[3]["unlabelled"], seen[3]["unlabelled"])
    config = exactly_one.Config(batch=400, noise=0.5)
    noisy = exactly_one.Draws(np.zeros_like(images), few, labels, config)[0]
    assert np.std(noisy["unlabelled"]) == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(noisy["image"].ravel(), noisy["unlabelled"].ravel())[0, 1]) < 0.15


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_too_many_labels_are_told(digits, tmp_path, capsys):
    command = [*TINY.replace(" --debug", "").split(), "--labels", "13"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert "--labels 13: class 0 has 12 training images" in capsys.readouterr().err
