"""The experiment on lesions, made tiny."""

from __future__ import annotations

import json

import pytest

from jaxmed.cli import main


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_lesions_are_looked_for_and_measured(tmp_path, rank):
    words = f"--rank {rank} --side 16 --train 6 --test 5 --steps 4 --batch 3 --width 4"
    assert main(["train", "lesions", *words.split(), "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["task"] == "detection"
    assert 0 <= record["metrics"]["cpm"]["value"] <= 1
    assert record["metrics"]["cpm"]["n"] == 5
    assert "Images with boxes" in (tmp_path / "report.html").read_text()
