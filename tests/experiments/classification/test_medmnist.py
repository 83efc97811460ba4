"""MedMNIST's protocol on a made-up set: a run, and its model on the same images."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_predict_gives_the_runs_own_scores(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 12), ("val", 6), ("test", 5)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None].astype(np.uint8)
    (tmp_path / "medmnist").mkdir()
    data = tmp_path / "medmnist" / "breastmnist.npz"
    np.savez(data, **arrays)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    run, table = tmp_path / "run", tmp_path / "scores.csv"
    command = ["train", "medmnist", "--epochs", "1", "--batch", "6", "--out", str(run), "--debug"]
    assert main(command) == 0
    with (run / "predictions.csv").open() as file:
        own = list(csv.DictReader(file))
    Image.fromarray(arrays["test_images"][0]).save(tmp_path / "one.png")
    inputs = [f"{data}:test_images", str(tmp_path / "one.png")]
    assert main(["predict", str(run), *inputs, "-o", str(table), "--debug"]) == 0
    with table.open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 6
    columns = [name for name in own[0] if name.startswith("score")]
    assert len(columns) == 2
    for one, other in zip(found, [*own, own[0]], strict=True):
        for name in columns:
            assert float(one[name]) == pytest.approx(float(other[name]), abs=1e-5)
