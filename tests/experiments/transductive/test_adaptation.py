"""Adaptation to changed test images, tiny."""

from __future__ import annotations

import json

import numpy as np
import pytest
from jaxmed.experiments.transductive import adaptation

from jaxmed.cli import main


@pytest.mark.parametrize("shift", adaptation.SHIFTS)
def test_a_shift_changes_every_image_alike_and_none_none(shift):
    x = np.random.default_rng(0).uniform(0.2, 0.8, (3, 8, 8, 3)).astype(np.float32)
    found = adaptation.SHIFTS[shift](np.random.default_rng(0), x)
    assert found.shape == x.shape
    assert (np.abs(found - x).max() > 0.01) == (shift != "none")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_labels_of_test_images_measure_and_change_nothing_else(tmp_path, monkeypatch, capsys):
    predicted = []
    for flipped in (False, True):
        arrays = {}
        for part, n in (("train", 20), ("val", 4), ("test", 12)):
            labels = np.arange(n) % 2
            noise = np.random.default_rng(n).integers(0, 60, (n, 28, 28))
            arrays[f"{part}_images"] = (noise + 150 * labels[:, None, None]).astype(np.uint8)
            told = 1 - labels if flipped and part == "test" else labels
            arrays[f"{part}_labels"] = told[:, None].astype(np.uint8)
        root = tmp_path / str(flipped)
        (root / "medmnist").mkdir(parents=True)
        np.savez(root / "medmnist" / "breastmnist.npz", **arrays)
        monkeypatch.setenv("JAXMED_DATA", str(root))
        command = "train adaptation --dataset breastmnist --seeds 2 --epochs 2 --batch 10"
        out = root / "run"
        assert main([*command.split(), "--out", str(out), "--debug"]) == 0
        predicted.append(json.loads((out / "metrics.json").read_text())["metrics"])
    for shift in adaptation.SHIFTS:
        for arm in adaptation.ARMS:
            right, wrong = (m[f"{shift}/accuracy/{arm}"]["value"] for m in predicted)
            assert right == pytest.approx(1 - wrong)
    command = ["train", "adaptation", "--dataset", "chestmnist", "--out", str(tmp_path / "other")]
    assert main(command) == 2
    assert "one label an image" in capsys.readouterr().err
