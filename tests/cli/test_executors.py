"""Trainings of a study in processes of an engine: one killed, nothing lost, nothing made twice."""

from __future__ import annotations

import json
import sys
from collections import Counter

import numpy as np
import pytest

from jaxmed.cli import main
from jaxmed.cli._executors import Executor, ExecutorError

STUDY = '''"""A made-up study, whose trainings are sums."""
import dataclasses
import os
import signal

import numpy as np

import jaxmed as jm
from jaxmed import protocols


@dataclasses.dataclass(frozen=True)
class Config:
    """What it takes."""

    killed: str = ""
    wrong: str = ""
    n: int = 24


def trainings(config, out, only):
    return studied(config, out, only).missing


def studied(config, out, only=None):
    label = np.arange(config.n) % 2
    data = jm.data.ArraySource({"label": label})

    def arm(shift):
        def run(train, test, seed, place):
            name = f"{shift}-{test[0]}-{seed}"
            note(out, f"begun {name}")
            if config.killed == str(shift) and not (out / "killed").exists():
                (out / "killed").write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            if config.wrong == str(shift):
                raise RuntimeError(f"a fault in {shift}")
            note(out, f"ended {name}")
            rng = np.random.default_rng([seed, *test])
            p = np.clip(rng.normal(0.3, 0.2, len(test)) + shift * label[test], 0, 1)
            return np.stack([1 - p, p], 1)

        return protocols.Procedure(run, {"shift": shift})

    arms = {"weak": arm(0.1), "strong": arm(0.4)}
    splits = protocols.k_fold(data, 2, stratify="label")
    return protocols.study(
        arms, data, splits, out=out / "trainings", only=only, progress=False
    )


def note(out, line):
    file = os.open(out / "notes.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (line + "\\n").encode())
    os.close(file)


def run(config, out):
    return jm.report.from_study(studied(config, out), classes=["no", "yes"], n_resamples=20)
'''


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "made_up.py"
    path.write_text(STUDY)
    return path


def records(out):
    found = {}
    for path in (out / "trainings" / "replicates").iterdir():
        with np.load(path) as file:
            found[path.name] = file["outputs"]
    return found


PACKAGES = {"local": "submitit", "dask": "distributed", "ray": "ray"}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("dask", "ray")]


@pytest.mark.parametrize("engine", ["local", *SLOW])
def test_a_worker_is_killed_and_nothing_is_lost_or_made_twice(engine, study, tmp_path, monkeypatch):
    package = pytest.importorskip(PACKAGES[engine])
    if engine == "local":  # how long it waits for what a killed process will not write
        monkeypatch.setattr(package.core.core.Job, "_results_timeout_s", 0.5)
    shared, alone = tmp_path / "shared", tmp_path / "alone"
    options = ["--executor", engine, "--workers", "2", "--per-job", "2"]
    command = ["train", str(study), "--killed", "0.1", "--out"]
    assert main([*command, str(shared), *options]) == 0
    assert (shared / "killed").is_file()
    notes = Counter((shared / "notes.txt").read_text().splitlines())
    ended = [line for line in notes if line.startswith("ended")]
    assert len(ended) == 4
    assert all(notes[line] == 1 for line in ended)
    # What was killed was begun twice, and nothing else.
    assert sorted(notes[line] for line in notes if line.startswith("begun")) == [1, 1, 1, 2]
    assert not [*(shared / "trainings").glob("running/*")]
    assert not [*(shared / "trainings").glob("claims/*")]
    # One process gives the same, to the bit.
    assert main(["train", str(study), "--out", str(alone)]) == 0
    one, other = records(shared), records(alone)
    assert one.keys() == other.keys()
    for name, outputs in one.items():
        np.testing.assert_array_equal(outputs, other[name])
    values = [json.loads((out / "metrics.json").read_text())["metrics"] for out in (shared, alone)]
    assert values[0] == values[1]


def test_without_the_extra_its_name_is_told(study, tmp_path, capsys, monkeypatch):
    for package in ("submitit", "distributed", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    for engine, extra in (("slurm", "slurm"), ("local", "slurm"), ("dask", "dask"), ("ray", "ray")):
        out = tmp_path / "out"
        assert main(["train", str(study), "--executor", engine, "--out", str(out)]) == 2
        assert f"pip install 'jaxmed[{extra}]'" in capsys.readouterr().err
        assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2"], "--workers is of an executor: name one by --executor"),
        (["--executor", "local", "--per-job", "0"], "--per-job is at least 1"),
        (["--executor", "local", "--workers", "0"], "at least 1 worker"),
        (["--executor", "local", "--resources", "gpus"], "KEY=VALUE"),
    ],
)
def test_what_cannot_be_asked_is_told(options, said, study, tmp_path, capsys):
    assert main(["train", str(study), "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "real", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["here", "submitit"]
)
def test_a_training_that_fails_stops_no_other_and_is_told(real, study, tmp_path, capsys, request):
    if real:
        pytest.importorskip("submitit")
    else:
        request.getfixturevalue("engine")
    out = tmp_path / "out"
    command = ["train", str(study), "--wrong", "0.4", "--executor", "local", "--per-job", "2"]
    assert main([*command, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "1 of 2 tasks failed; strong-r0-f0-s0: RuntimeError: a fault in 0.4" in said
    assert len(records(out)) == 2
    assert "in run" in (out / "error.txt").read_text()  # of the process that failed


def test_a_lost_task_is_handed_out_again_twice_at_the_most(engine, tmp_path):
    tasks = {name: name for name in "abcd"}
    called = Executor("local", 2, {"b": 2}).map(str.upper, tasks, folder=tmp_path)
    assert dict(called) == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert engine.last.most == 2
    got = []
    with pytest.raises(ExecutorError, match="1 of 4 tasks failed; b: its process ended"):
        got.extend(Executor("local", 2, {"b": 3}).map(str.upper, tasks, folder=tmp_path))
    assert sorted(got) == [("a", "A"), ("c", "C"), ("d", "D")]


def test_what_nobody_waits_for_any_more_is_cancelled(engine, tmp_path):
    found = Executor("local", 3, {}).map(str.upper, dict(zip("abc", "abc")), folder=tmp_path)
    assert next(found) == ("a", "A")
    found.close()
    assert engine.last.cancelled == ["b", "c"]


def test_an_experiment_of_one_training_has_no_executor(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "medmnist", "--executor", "local", "--out", str(tmp_path)])
    assert "--executor" in capsys.readouterr().err
