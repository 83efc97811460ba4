"""Grids of runs: what is missing, what is recorded, what the tables show."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from benchmarks import _grid
from benchmarks.__main__ import main
from benchmarks._grid_record import gather_grid, read_runs
from jaxmed._files import append_line
from jaxmed.cli.runs._experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Config:
    row: str = "plain"
    share: float = 0.1
    steps: int = 10
    fast: bool = False
    data: Path | None = None


STUDY = '''"""A made-up study."""
from __future__ import annotations

import dataclasses

import jaxmed as jm


@dataclasses.dataclass(frozen=True)
class Config:
    """What it takes."""

    shift: float = 0.5
    most: int | None = None
    patch: tuple[int, ...] = (1, 2)
    fast: bool = False


def run(config, out):
    if config.shift > 1:
        raise RuntimeError("a fault inside")
    scores = [min(0.25 + config.shift * y, 1) for y in [0, 1] * 10]
    return jm.report.classification([0, 1] * 10, scores, title="made up")
'''


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


def test_wrong_settings_are_refused_before_the_first_run(experiment, tmp_path):
    out = ["--out", str(tmp_path / "none")]
    for options, said in (
        (["--with", "steps=4.5"], "study: steps is int, got '4.5'"),
        (["--with", "rows=1"], "study has no setting 'rows'"),
        (["--with", "rows"], "write FIELD=VALUE"),
        (["--over", "share=0.1,much"], "study: share is float, got 'much'"),
        (["--over", "steps"], "no values of its own"),
        (["--over", "row", "--within", "share"], "--within share"),
    ):
        with pytest.raises(SystemExit, match=said):
            main(["grid", "study", *options, *out])
    assert not (tmp_path / "none").exists()


def test_a_grid_runs_what_the_command_would(tmp_path):
    study = tmp_path / "study.py"
    study.write_text(STUDY)
    out = tmp_path / "grid"
    command = ["grid", str(study), "--with", "most=48", "--with", "patch=40,56,40"]
    command += [
        "--over",
        "shift=0.3,2",
        "--within",
        "shift",
        "--over",
        "fast=false",
        "--out",
        str(out),
    ]
    assert main(command) == 1  # one run fails, the other is there
    (line,) = map(json.loads, (out / "runs.jsonl").read_text().splitlines())
    given = {"shift": 0.3, "most": 48, "patch": [40, 56, 40], "fast": False}
    assert line["config"] == given
    assert line["name"] == "study_shift=0.3_most=48_patch=(40,56,40)"
    assert line["command"].endswith("--most 48 --patch 40 56 40 --no-fast --shift 0.3")
    (failed,) = map(json.loads, (out / "failed.jsonl").read_text().splitlines())
    assert "a fault inside" in failed["error"]
    assert "Traceback" in (out / failed["name"] / "error.txt").read_text()
    config = json.loads((out / line["name"] / "config.json").read_text())
    assert config == {"experiment": "study", **given}


def test_a_grid_is_shared_out_by_group(tmp_path, monkeypatch, capsys):
    study = tmp_path / "study.py"
    study.write_text(STUDY)

    class Here:
        def map(self, function, tasks, *, folder):
            assert folder == tmp_path / "grid" / "jobs"
            for name, task in tasks.items():
                yield name, function(task)

    made = []

    def worker(settings):
        told = json.loads(settings)
        made.append([fields["shift"] for fields in told["configs"]])
        for fields in told["configs"]:
            name = f"study_shift={fields['shift']}"
            append_line(Path(told["out"]) / "runs.jsonl", json.dumps({"name": name}))
        return 0

    monkeypatch.setattr(_grid, "executor_of", lambda given: Here())
    monkeypatch.setattr(_grid, "worker", worker)
    command = ["grid", str(study), "--over", "shift=0.1,0.2", "--executor", "local"]
    command += ["--out", str(tmp_path / "grid")]
    assert main(command) == 0
    assert made == [["0.1"], ["0.2"]]
    assert "2 runs in runs.jsonl, 2 of 2 groups" in capsys.readouterr().out
    assert main(command) == 0
    assert len(made) == 2  # nothing is made again
    monkeypatch.undo()
    with pytest.raises(SystemExit, match="--resources is of an executor"):
        main(["grid", str(study), "--resources", "a=1", "--out", str(tmp_path / "none")])


def test_what_another_process_finished_meanwhile_is_not_run_again(tmp_path):
    study = tmp_path / "study.py"
    study.write_text(STUDY)
    (tmp_path / "runs.jsonl").write_text(json.dumps({"name": "study_shift=0.3"}) + "\n")
    told = {"experiment": str(study), "out": str(tmp_path), "configs": [{"shift": "0.3"}]}
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks", "_grid", json.dumps(told)], check=False
    )
    assert process.returncode == 0
    assert not (tmp_path / "study_shift=0.3").exists()


@pytest.mark.slow
def test_a_grid_in_processes_of_submitit(tmp_path):
    pytest.importorskip("submitit")
    study = tmp_path / "study.py"
    study.write_text(STUDY)
    command = ["grid", str(study), "--over", "shift=0.1,0.3,2", "--executor", "local"]
    assert main([*command, "--out", str(tmp_path / "grid")]) == 1
    names = {r["name"] for r in read_runs([tmp_path / "grid" / "runs.jsonl"])}
    assert names == {"study_shift=0.1", "study_shift=0.3"}
    (failed,) = map(json.loads, (tmp_path / "grid" / "failed.jsonl").read_text().splitlines())
    assert failed["name"] == "study_shift=2.0"


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
    told = gather_grid(runs[:1], rows="row", metrics=("auc",), interval=True)
    low, high = (runs[0]["metrics"]["auc"][end] for end in ("lower", "upper"))
    assert told["tables"]["runs"]["rows"] == [["`better`", f"0.900 ({low:.3f} to {high:.3f})"]]
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
