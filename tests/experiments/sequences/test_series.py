"""The experiment on series, tiny."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed.cli import main


def write_signs(root, *, shorter):
    """Series of which the sign is the class."""
    rng = np.random.default_rng(0)
    folder = root / "UCR" / "Signs"
    folder.mkdir(parents=True)
    for part, n in (("TRAIN", 16), ("TEST", 8)):
        sign = np.where(np.arange(n) % 2, 1, -1)
        values = 0.1 * rng.normal(size=(n, 6)) + sign[:, None]
        rows = ["\t".join(map(str, [label, *row])) for label, row in zip(sign, values)]
        if shorter:
            rows[0] = "\t".join([*rows[0].split("\t")[:-1], "NaN"])
        (folder / f"Signs_{part}.tsv").write_text("\n".join(rows))


@pytest.mark.slow
@pytest.mark.parametrize("moved", ["", " --shift 2 --scale 0.1 --noise 0.1"])
def test_the_sign_of_a_series_is_told(tmp_path, monkeypatch, moved):
    write_signs(tmp_path, shorter=not moved)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    out = tmp_path / "run"
    command = "train series --dataset Signs --features 4 --epochs 40 --batch 8 --learning-rate 0.05"
    assert main([*(command + moved).split(), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["accuracy"]["value"] > 0.8


def test_series_of_several_lengths_are_not_moved(tmp_path, monkeypatch, capsys):
    write_signs(tmp_path, shorter=True)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    command = "train series --dataset Signs --epochs 1 --shift 2"
    assert main([*command.split(), "--out", str(tmp_path / "run")]) != 0
    assert "series of one length" in capsys.readouterr().err
