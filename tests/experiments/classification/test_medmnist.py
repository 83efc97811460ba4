"""MedMNIST's protocol on a made-up set: a run, and its model on the same images."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from experiments.classification import medmnist
from jaxmed.cli import main
from jaxmed.data import ArraySource


def test_grain_deals_every_image_once_an_epoch_and_anew_in_the_next():
    config = medmnist.Config(batch=4, loader="grain", seed=3)
    train = ArraySource({"image": np.zeros((10, 2, 2, 1)), "label": np.arange(10)})
    batches = medmnist._batches(config, train)
    assert len(batches) == 2
    epochs = [np.concatenate([batches[2 * e + i]["label"] for i in range(2)]) for e in range(3)]
    for epoch in epochs:
        assert len(set(epoch.tolist())) == 8
    assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["batches", "grain"])
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_predict_gives_the_runs_own_scores(tmp_path, monkeypatch, loader):
    tests = 50 if loader == "batches" else 5  # fewer make no map of their features
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 12), ("val", 6), ("test", tests)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None].astype(np.uint8)
    (tmp_path / "medmnist").mkdir()
    data = tmp_path / "medmnist" / "breastmnist.npz"
    np.savez(data, **arrays)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    run, table = tmp_path / "run", tmp_path / "scores.csv"
    command = ["train", "medmnist", "--epochs", "1", "--batch", "6", "--out", str(run), "--debug"]
    assert main([*command, "--loader", loader]) == 0
    page = (run / "report.html").read_text()
    assert ("Maps of what the last layer sees, 50 cases" in page) == (tests == 50)
    with (run / "predictions.csv").open() as file:
        own = list(csv.DictReader(file))
    Image.fromarray(arrays["test_images"][0]).save(tmp_path / "one.png")
    inputs = [f"{data}:test_images", str(tmp_path / "one.png")]
    assert main(["predict", str(run), *inputs, "-o", str(table), "--debug"]) == 0
    with table.open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == tests + 1
    columns = [name for name in own[0] if name.startswith("score")]
    assert len(columns) == 2
    for one, other in zip(found, [*own, own[0]], strict=True):
        for name in columns:
            assert float(one[name]) == pytest.approx(float(other[name]), abs=1e-5)
