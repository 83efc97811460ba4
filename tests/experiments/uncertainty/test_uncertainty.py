"""The uncertainty experiment: cells, rows and the table made of them."""

from __future__ import annotations

import json

import pytest

from jaxmed.cli import main
from jaxmed.cli.runs import _experiment

TINY = "--epochs 1 --width 2 --samples 2 --no-corrupted"


@pytest.mark.slow
def test_cells_become_rows_and_a_table(data_dir, tmp_path):
    rows = tmp_path / "rows.jsonl"
    for seed in (0, 1):
        command = f"train uncertainty --method map,laplace_last --seed {seed} --rows {rows} {TINY}"
        assert main([*command.split(), "--out", str(tmp_path / str(seed))]) == 0
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [(r["method"], r["seed"]) for r in found] == [
        ("map", 0), ("laplace_last", 0), ("map", 1), ("laplace_last", 1),
    ]  # fmt: skip
    assert found[0]["ood_epistemic"] == 0.5  # one point has no epistemic part

    module = _experiment.load("uncertainty").module
    made = module.record(rows)
    assert [row[:2] for row in made["tables"]["breastmnist"]["rows"]] == [
        ["`map`", 2], ["`laplace_last`", 2],
    ]  # fmt: skip
    assert "--epochs 1" in made["command"]
    assert "| `laplace_last` | 2 |" in module.text(made)
    assert "Uncertainty" in (tmp_path / "0" / "report.html").read_text()
