"""Clusters of a made-up set: found without labels, measured against them."""

from __future__ import annotations

import json

import pytest

from jaxmed.cli import main


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_two_kinds_of_images_are_two_clusters(two_kinds, tmp_path):
    two_kinds(train=30, val=4, test=26)
    out = tmp_path / "run"
    command = ["train", "clusters", "--components", "3", "--restarts", "2", "--out", str(out)]
    assert main([*command, "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["k-means/adjusted Rand index"]["value"] == 1
    assert metrics["k-means/adjusted Rand index"]["n"] == 26
    assert metrics["t-SNE/trustworthiness"]["value"] > 0.5
    assert (out / "maps.png").stat().st_size > 1000
    assert (out / "clusters.csv").read_text().splitlines()[0] == "cluster"
