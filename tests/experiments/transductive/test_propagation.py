"""A made-up set: two kinds of images, few labels, one graph."""

from __future__ import annotations

import json

import pytest

from jaxmed.cli import main


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_few_labels_and_a_graph_classify_the_test_images(two_kinds, tmp_path, capsys):
    two_kinds(train=10, val=4, test=40)
    out = tmp_path / "run"
    command = ["train", "propagation", "--dataset", "breastmnist", "--features", "pixels",
               "--components", "1", "--labels", "2"]  # fmt: skip
    assert main([*command, "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    for kind in ("harmonic", "spreading", "poisson", "linear probe", "nearest neighbour"):
        assert metrics[f"{kind}/accuracy"]["value"] == 1
        assert metrics[f"{kind}/accuracy"]["n"] == 40
    assert "without their labels" in (out / "report.html").read_text()
    command[-1] = "6"
    assert main([*command, "--out", str(tmp_path / "other")]) != 0
    assert "--labels 6: class 0 has 5 training images" in capsys.readouterr().err
