"""Grids of runs: what is missing, what is recorded, what the tables show."""

from __future__ import annotations

import dataclasses
import json
import types
from pathlib import Path

import pytest

from benchmarks import _grid
from benchmarks.__main__ import main
from benchmarks._grid_record import gather_grid, read_runs
from jaxmed.cli._experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Config:
    row: str = "plain"
    share: float = 0.1
    steps: int = 10
    fast: bool = False
    data: Path | None = None


@pytest.fixture
def experiment(monkeypatch):
    module = types.ModuleType("a_study")
    module.GRID = {"row": ("plain", "better"), "share": ("0.1", "0.2")}
    module.run = lambda config, out: None
    made = Experiment("study", Path("study.py"), Config, module.run, "", module)
    monkeypatch.setattr(_grid._experiment, "load", lambda name: made)
    return made


def run_of(row, share, value, lower, upper, runs):
    metrics = {
        "auc": {"value": value, "lower": 0.0, "upper": 1.0, "runs": runs, "method": "m"},
        "auc/difference": {
            "value": value - 0.7, "lower": lower, "upper": upper, "method": "paired"
        },
    }  # fmt: skip
    return {
        "name": f"study_{row}_{share}",
        "command": f"jaxmed train study --row {row} --data /home/someone/set",
        "config": {"row": row, "share": share, "data": "/home/someone"},
        "environment": {"python": "3.12", "devices": ["1 x gpu"], "packages": {"jax": "0.11"}},
        "seconds": 3.0,
        "metrics": metrics,
    }


def test_what_is_finished_is_not_run_again(experiment, tmp_path, capsys):
    done = "study_share=0.2"
    (tmp_path / "runs.jsonl").write_text(json.dumps({"name": done}) + '\n{"name": "cut sh')
    out = ["--over", "row", "--over", "share", "--within", "share", "--out", str(tmp_path)]
    assert main(["grid", "study", *out, "--list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "1 of 4 runs are finished",
        "study",
        "study_row=better",
        "study_row=better_share=0.2",
    ]


def test_settings_are_read_as_their_defaults_are(experiment):
    given = {"share": "0.5", "steps": "3", "fast": "true", "data": "/x"}
    assert _grid._config(experiment, given) == Config(
        share=0.5, steps=3, fast=True, data=Path("/x")
    )
    with pytest.raises(SystemExit, match="no fields"):
        _grid._config(experiment, {"rows": "1"})


def test_tables_show_spread_and_intervals():
    runs = [
        run_of("better", 0.2, 0.9, 0.1, 0.3, [0.88, 0.92]),
        run_of("plain", 0.1, 0.7, -0.1, 0.1, [0.7, 0.7]),
        run_of("better", 0.1, 0.8, -0.05, 0.25, [0.8, 0.8]),
    ]
    record = gather_grid(
        runs, rows="row", columns="share", metrics=("auc", "auc/difference"),
        order={"row": ("plain", "better")}, published={"runs": 0.85}, source="a paper",
    )  # fmt: skip
    table = record["tables"]["runs"]
    assert table["head"] == [
        "row", "auc, share 0.1", "auc/difference, share 0.1", "auc, share 0.2",
        "auc/difference, share 0.2",
    ]  # fmt: skip
    assert table["rows"] == [
        ["`plain`", "0.700 ± 0.000", "+0.000 (-0.100 to +0.100)", "", ""],
        [
            "`better`", "0.800 ± 0.000", "+0.100 (-0.050 to +0.250)", "0.900 ± 0.028",
            "**+0.200 (+0.100 to +0.300)**",
        ],
        ["published (a paper)", "0.850", "", "", ""],
    ]  # fmt: skip
    assert "/home" not in json.dumps(record)
    assert record["runs"][0]["command"].endswith("--data set")
    one = gather_grid(runs[:1], rows="row", metrics=("auc",), error=True)
    assert one["tables"]["runs"]["rows"] == [["`better`", "0.900 ± 0.020"]]
    assert record["tables"]["machine"]["rows"][-1] == ["devices", "1 x gpu"]


def test_a_table_for_each_value_and_lines_cut_short(tmp_path):
    lines = [json.dumps(run_of("plain", s, 0.7, -1, 1, [0.7])) for s in (0.1, 0.2)]
    (tmp_path / "runs.jsonl").write_text("\n".join([*lines, lines[0][:50]]))
    runs = read_runs([tmp_path / "runs.jsonl"])
    assert len(runs) == 2
    record = gather_grid(
        runs, rows="row", by="share", metrics=("auc",), also={"gains": ("auc/difference",)}
    )
    assert list(record["tables"]) == ["0.1", "0.1 gains", "0.2", "0.2 gains", "machine"]
    assert record["tables"]["0.1 gains"]["head"] == ["row", "auc/difference"]
    assert record["methods"] == {"auc": "m", "auc/difference": "paired"}
    assert record["tables"]["0.2"]["rows"] == [["`plain`", "0.700"]]
    with pytest.raises(ValueError, match="no setting"):
        gather_grid(runs, rows="method", metrics=("auc",))
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(ValueError, match="no finished run"):
        read_runs([tmp_path / "none.jsonl"])
