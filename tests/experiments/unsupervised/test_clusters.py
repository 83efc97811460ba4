"""Clusters of a made-up set: found without labels, measured against them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed.cli import main


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_two_kinds_of_images_are_two_clusters(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 30), ("val", 4), ("test", 26)):
        labels = np.arange(n) % 2
        noise = rng.integers(0, 60, (n, 28, 28))
        arrays[f"{part}_images"] = (noise + 150 * labels[:, None, None]).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None].astype(np.uint8)
    (tmp_path / "medmnist").mkdir()
    np.savez(tmp_path / "medmnist" / "breastmnist.npz", **arrays)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    out = tmp_path / "run"
    command = ["train", "clusters", "--components", "3", "--restarts", "2", "--out", str(out)]
    assert main([*command, "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["k-means/adjusted Rand index"]["value"] == 1
    assert metrics["k-means/adjusted Rand index"]["n"] == 26
    assert metrics["t-SNE/trustworthiness"]["value"] > 0.5
    assert (out / "maps.png").stat().st_size > 1000
    assert (out / "clusters.csv").read_text().splitlines()[0] == "cluster"
