"""Made-up sets with wrong labels, and with images that are there twice."""

from __future__ import annotations

import csv
import importlib
import json

import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main

wrong_labels = importlib.import_module("jaxmed.experiments.noise.wrong_labels")


def test_labels_change_as_often_as_is_said():
    for kind in ("symmetric", "next"):
        matrix = wrong_labels.noise_matrix(4, 0.4, kind)
        np.testing.assert_allclose(matrix.sum(1), 1)
        true = np.repeat(np.arange(4), 4000)
        written = wrong_labels.drawn(true, matrix, seed=1)
        found = np.zeros((4, 4))
        np.add.at(found, (true, written), 1 / 4000)
        np.testing.assert_allclose(found, matrix, atol=0.03)
    assert wrong_labels.noise_matrix(4, 0.4, "next")[3, 0] == 0.4
    with pytest.raises(ValueError, match=r"below 0\.5 for 2 classes"):
        wrong_labels.noise_matrix(2, 0.5, "symmetric")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_wrong_labels_are_learned_from_in_six_ways(two_kinds, tmp_path):
    two_kinds(train=80, val=4, test=40)
    command = [
        "train", "wrong_labels", "--dataset", "breastmnist", "--rate", "0.2", "--hidden", "4",
        "--epochs", "8", "--batch", "20", "--learning-rate", "0.02",
    ]  # fmt: skip
    assert main([*command, "--out", str(tmp_path / "out"), "--debug"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]
    assert metrics["right labels/accuracy"]["value"] > 0.9
    ways = [name for name in metrics if name.endswith("/accuracy")]
    assert len(ways) == 7
    assert all(metrics[name]["n"] == 40 for name in ways)
    assert metrics["suspects/wrong"]["n"] > 0
    assert 0 <= metrics["wrong labels"]["value"] <= 1


@pytest.mark.slow
def test_images_that_are_there_twice_are_found(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (30, 16, 16)).astype(np.uint8)
    again = np.clip(x[[0, 1, 2]].astype(int) + 1, 0, 255).astype(np.uint8)
    for i, image in enumerate([*x, *again]):
        label = "a" if i % 2 else "b"
        (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "set" / label / f"{i}.png")
    out = tmp_path / "out"
    command = ["train", "duplicates", "--data", str(tmp_path / "set"), "--size", "16"]
    assert main([*command, "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["images in pairs"]["value"] == pytest.approx(6 / 33)
    with (out / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    ends = {frozenset(row[end].split(".")[0].split("/")[-1] for end in ("first", "second"))
            for row in rows}  # fmt: skip
    assert ends == {frozenset(pair) for pair in (("0", "30"), ("1", "31"), ("2", "32"))}
    differ = sum(row["label of first"] != row["label of second"] for row in rows)
    assert metrics["images in pairs of two labels"]["value"] == pytest.approx(2 * differ / 33)
