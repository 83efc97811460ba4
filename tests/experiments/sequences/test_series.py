"""The experiment on series, tiny."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed.cli import main


@pytest.mark.slow
def test_the_sign_of_a_series_is_told(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    folder = tmp_path / "UCR" / "Signs"
    folder.mkdir(parents=True)
    for part, n in (("TRAIN", 16), ("TEST", 8)):
        sign = np.where(np.arange(n) % 2, 1, -1)
        values = 0.1 * rng.normal(size=(n, 6)) + sign[:, None]
        rows = ["\t".join(map(str, [label, *row])) for label, row in zip(sign, values)]
        rows[0] = "\t".join([*rows[0].split("\t")[:-1], "NaN"])  # one is shorter
        (folder / f"Signs_{part}.tsv").write_text("\n".join(rows))
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    out = tmp_path / "run"
    command = "train series --dataset Signs --features 4 --epochs 40 --batch 8 --learning-rate 0.05"
    assert main([*command.split(), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["accuracy"]["value"] > 0.8
