"""`jaxmed demo`, made tiny; in full in the slow tier."""

from __future__ import annotations

import json

import pytest

from jaxmed.cli import main
from jaxmed.cli.runs._demo import meaning

pytest.importorskip("nilearn")

TINY = (
    "--resolution 8 --heads 2 --held-out 2 --steps 2 --patch 8 8 8 --window 16 16 16 --features 2"
)


def test_the_demo_runs_and_says_what_came_out(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--debug", *TINY.split()]) == 0
    said = capsys.readouterr().out
    record = json.loads((out / "metrics.json").read_text())
    for tissue in ("grey", "white"):
        found = record["metrics"][f"real_dice/{tissue} matter"]
        assert 0 <= found["value"] <= 1
        assert found["n"] == 1
        assert f"{found['value']:.2f}" in said
        assert record["metrics"][f"dice/{tissue} matter"]["n"] == 2
    assert str(out / "report.html") in said
    report = (out / "report.html").read_text()
    assert all(plane in report for plane in ("axial", "coronal", "sagittal"))
    assert (out / "model.json").is_file()


def test_the_meaning_names_both_tissues():
    class Estimate:
        def __init__(self, value):
            self.value = value

    text = meaning(
        {"real_dice/grey matter": Estimate(0.871), "real_dice/white matter": Estimate(0.902)}
    )
    assert "0.87" in text
    assert "0.90" in text


@pytest.mark.slow
def test_the_demo_finds_both_tissues_in_the_real_template(tmp_path):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["real_dice/grey matter"]["value"] > 0.8
    assert metrics["real_dice/white matter"]["value"] > 0.8
