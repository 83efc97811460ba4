"""Work that is struck and started again: what is lost or left over is seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.reliability import _blows, _work

ROOT = Path(__file__).parents[2]


def test_an_end_is_told_by_all_files_but_not_by_times(tmp_path):
    def written(name, seconds, value, extra=()):
        out = tmp_path / name
        (out / "masks").mkdir(parents=True)
        (out / "metrics.json").write_text(json.dumps({"seconds": seconds, "dice": value}))
        (out / "log.jsonl").write_text("".join(f'{{"step": {i}}}\n' for i in range(3)))
        np.savez(out / "a.npz", a=np.full(3, value), note=json.dumps({"seconds": seconds}))
        (out / "report.html").write_text(f"{seconds}")
        for more in extra:
            (out / more).write_text("left")
        return _work.end(out)

    whole = written("whole", 1.0, 0.5)
    assert written("same", 2.0, 0.5) == whole
    assert written("other", 1.0, 0.5000001) != whole
    assert written("more", 1.0, 0.5, ["masks/.a.123.png"]) != whole
    assert written("left", 1.0, 0.5, ["running"]) != whole


def test_only_a_checkpoint_with_another_beside_it_is_cut(tmp_path):
    draw = np.random.default_rng(0)
    first = tmp_path / "checkpoints" / "2"
    first.mkdir(parents=True)
    (first / "files.json").write_text("{}")
    assert _blows.cut(tmp_path, draw) == ""
    second = tmp_path / "checkpoints" / "4"
    second.mkdir()
    (second / "files.json").write_text("{}")
    (second / "weights").write_bytes(bytes(100))
    (tmp_path / "other").write_bytes(bytes(100))
    before = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    told = _blows.cut(tmp_path, draw)
    changed = [path for path, size in before.items() if path.stat().st_size < size]
    assert len(changed) == 1
    assert told == f"{changed[0].relative_to(tmp_path)} cut at {changed[0].stat().st_size}"
    assert (tmp_path / "other").stat().st_size == 100


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """What `forks.py` found, which runs alone: here JAX has threads, which no fork has."""
    if not hasattr(os, "fork"):
        pytest.skip("there are no forks")
    folder = tmp_path_factory.mktemp("forks")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("forks.py"), folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_fork_is_struck_at_an_access_or_after_a_time(forked):
    assert forked["struck"] == -15
    assert forked["left"] == ["0.txt", "1.txt"], "at the third of its accesses"
    assert forked["whole"] == 7
    assert "all written" in forked["log"]
    assert (forked["late"], forked["failed"]) == (-9, 1)


def test_a_disk_is_full_and_then_has_room(forked):
    if forked["disk"] == 99:
        pytest.skip("nobody may mount here")
    assert forked["disk"] == 10, forked["log"]
    assert forked["store"] == {"earlier": 5000, "more": 200_000}
    assert forked["out"] == ["earlier"], "it was mounted for the fork alone"


@pytest.mark.slow
def test_struck_work_ends_as_if_nothing_had_happened(tmp_path):
    """Each kind of work once, by the command of which many cases are recorded."""
    words = ["soak", "--cases", str(len(_work.WORKS)), "--seed", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "seed-1" / "cases.jsonl").read_text().splitlines()
    assert [json.loads(line)["equal"] for line in lines] == [True] * len(_work.WORKS)


def test_the_commands_say_what_they_are_for(capsys):
    for name in ("soak", "mutations", "accelerator"):
        with pytest.raises(SystemExit) as end:
            command.main([name, "--help"])
        assert end.value.code == 0
        assert "--out" in capsys.readouterr().out
