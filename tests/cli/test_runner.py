"""One runner of experiments, for the command, the grid and scripts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from jaxmed.cli import main, run_experiment

STUDY = '''"""A made-up study."""
from __future__ import annotations

import dataclasses
from pathlib import Path

import jaxmed as jm


@dataclasses.dataclass(frozen=True)
class Config:
    """What it takes."""

    seed: int = 0
    shift: float = 0.5
    patch: tuple[int, int] = (1, 2)
    baseline: Path | None = None


def in_grid(config, folder):
    return dataclasses.replace(config, baseline=folder(Config()))


def run(config, out):
    if config.shift > 1:
        raise RuntimeError("a fault inside")
    (out / "seen.txt").write_text(f"{config.patch} {config.baseline}")
    scores = [min(0.25 + config.shift * y, 1) for y in [0, 1] * 10]
    return jm.report.classification([0, 1] * 10, scores, title="made up")
'''


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.py"
    path.write_text(STUDY)
    return path


def test_a_script_and_the_command_leave_the_same_run(study, tmp_path):
    results = run_experiment(study, {"patch": (3, 4), "seed": "7"}, tmp_path / "script")
    command = ["train", str(study), "--patch", "3", "4", "--seed", "7"]
    assert results.run.command == shlex.join(["jaxmed", *command])
    assert main([*command, "--out", str(tmp_path / "command")]) == 0
    records = [
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("script", "command")
    ]
    assert records[0]["config"] == {"seed": 7, "shift": 0.5, "patch": [3, 4], "baseline": None}
    for name in ("config", "metrics", "seed"):
        assert records[0][name] == records[1][name]
    assert (tmp_path / "script" / "report.html").is_file()
    assert (tmp_path / "script" / "seen.txt").read_text() == "(3, 4) None"


def test_settings_are_refused_before_anything_is_written(study, tmp_path):
    with pytest.raises(ValueError, match=r"study: patch is tuple\[int, int\], got '3'"):
        run_experiment(study, {"patch": "3"}, tmp_path / "out")
    with pytest.raises(ValueError, match="a mapping or study's Config, got int"):
        run_experiment(study, 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_fault_inside_leaves_its_traceback_in_the_folder(study, tmp_path):
    with pytest.raises(RuntimeError, match="a fault inside"):
        run_experiment(study, {"shift": 2}, tmp_path)
    told = (tmp_path / "error.txt").read_text()
    assert "Traceback" in told
    assert "in run" in told
    study.write_text(STUDY.replace("config.shift > 1", "config.shift > 99"))
    run_experiment(study, {"shift": 2}, tmp_path)
    assert not (tmp_path / "error.txt").exists()


def test_a_run_of_a_grid_is_given_the_folders_of_others(study, tmp_path):
    results = run_experiment(study, {"seed": 1}, tmp_path / "a", folder_of=lambda c: Path("there"))
    assert (tmp_path / "a" / "seen.txt").read_text() == "(1, 2) there"
    assert results.run.config["baseline"] is None


def test_without_a_folder_the_run_is_named_by_its_settings(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_experiment(study, {"shift": 0.25, "patch": "5,6"})
    assert (tmp_path / "runs" / "study_shift=0.25_patch=(5,6)" / "metrics.json").is_file()


def test_one_file_by_two_paths_is_one_setting(study, tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    run_experiment(study, {"baseline": Path("base")}, "run")
    run_experiment(study, {"baseline": tmp_path / "base"}, "run")
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"baseline was .* and is 'other'"):
        run_experiment(study, {"baseline": Path("other")}, "run")


def test_a_start_that_is_refused_leaves_the_folder_free_for_the_right_one(study, tmp_path):
    study.write_text(STUDY.replace("RuntimeError", "ValueError"))
    out = tmp_path / "run"
    with pytest.raises(ValueError, match="a fault inside"):
        run_experiment(study, {"shift": 2.0}, out)
    assert not out.exists()
    run_experiment(study, {"shift": 0.5}, out)
    assert (out / "metrics.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "demo"], "interrupted; the same command goes on from here"),
        (["predict", "x", "y"], "interrupted; what was written is whole; with --resume"),
        (["list"], "interrupted\n"),
    ],
)
def test_an_interrupted_command_says_what_is_true_of_it(arguments, says, monkeypatch, capsys):
    import importlib

    def interrupted(name):
        def run(rest):
            raise KeyboardInterrupt

        from types import SimpleNamespace

        return SimpleNamespace(run=run)

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert main(arguments) == 130
    assert says in capsys.readouterr().err


def test_a_full_disk_is_told_in_one_line_that_names_the_place(study, tmp_path, monkeypatch, capsys):
    import errno

    from jaxmed import _files

    command = ["train", str(study), "--out", str(tmp_path / "run")]

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    for module in ("jaxmed.cli.runs._runner", "jaxmed.report.page._write"):
        monkeypatch.setattr(f"{module}.write_whole", full, raising=False)
    assert main(command) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "no space is left on the disk of" in told[0]
    assert told[0].endswith("make room; the same command goes on from here")
    monkeypatch.undo()
    assert _files.is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert main(command) == 0


def test_a_run_that_is_older_than_a_setting_goes_on_with_its_default(study, tmp_path):
    """A new option is no reason to train anew, unless it is asked for."""
    out = tmp_path / "run"
    run_experiment(study, {}, out)
    newer = STUDY.replace("    seed: int = 0", "    maps: int = 5\n    seed: int = 0")
    study.write_text(newer)
    run_experiment(study, {}, out)
    assert json.loads((out / "config.json").read_text())["maps"] == 5
    with pytest.raises(ValueError, match="maps was 5 and is 6"):
        run_experiment(study, {"maps": 6}, out)
