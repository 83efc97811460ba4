"""The one script for a GPU: each record is kept as it is made, whatever ends the rest."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks import __main__ as command
from benchmarks import _accelerator
from benchmarks._accelerator import JOBS, Job
from benchmarks._suites import SUITES
from benchmarks._watched import Watched


def test_every_job_is_of_a_suite_and_the_wanted_ones_come_within_the_minutes():
    assert {job.suite for job in JOBS} <= {*SUITES, "laws"}
    assert [job.suite for job in JOBS[:3]] == ["train_step", "train_step", "sliding_window"]
    assert sum(job.seconds for job in JOBS[:8]) < 8 * 60


def test_a_record_grows_by_case_and_cases_are_measured_once(tmp_path):
    assert _accelerator._suite("metrics", "", tmp_path, quick=True) == []
    (path,) = tmp_path.glob("metrics-*.json")
    record = json.loads(path.read_text())
    names = [case["name"] for case in record["cases"]]
    assert len(names) == len(set(names)) > 3
    changed = {**record, "cases": record["cases"][1:]}
    path.write_text(json.dumps(changed))
    before = record["cases"][1]["sides"]
    assert _accelerator._suite("metrics", "", tmp_path, quick=True) == []
    again = json.loads(path.read_text())
    assert sorted(case["name"] for case in again["cases"]) == sorted(names)
    assert again["cases"][0]["sides"] == before, "what was there is not measured again"


def test_a_job_that_hangs_or_dies_takes_no_other_with_it(tmp_path, monkeypatch):
    """Jobs are replaced by lines of a made-up process, one for each time it is started."""
    says = iter([
        '{"begun": 0}\n{"ended": 0, "failed": []}\nfree words\n{"begun": 1}\n',  # and dies
        '{"begun": 2}\n{"ended": 2, "failed": ["a case"]}\n{"begun": 3}\n',  # and hangs
        '{"begun": 4}\n{"ended": 4, "failed": []}\n',
    ])  # fmt: skip
    hangs = iter([False, True, False])
    jobs = [Job("metrics", str(i), 0.5) for i in range(5)]

    def made_up(command, **options):
        last = "sleep 600" if next(hangs) else "true"
        return Watched(["sh", "-c", f"printf '%s' '{next(says)}'; {last}"], **options)

    monkeypatch.setattr(_accelerator, "Watched", made_up)
    settings = {"jobs": [], "out": str(tmp_path), "quick": False}
    ends, until = {}, time.monotonic() + 60
    while len(ends) < len(jobs):
        ends |= dict(_accelerator._watched(settings, jobs, until, {"PATH": "/bin:/usr/bin"}))
    assert ends[0] == ends[4] == "done"
    assert "its process ended with 0" in ends[1]
    assert ends[2] == "failed: a case"
    assert "ended after 0.5 s" in ends[3]


def test_what_lacks_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setitem(_accelerator.NEEDED, "no_such_module", "no-such-package")
    with pytest.raises(SystemExit, match=r"pip install no-such-package[\s\S]*--wheels FOLDER"):
        command.main(["accelerator", "--quick", "--out", str(tmp_path)])


def test_no_committed_record_loses_cases(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_accelerator, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    made = {"warp-gpu.json": ["a"], "metrics-gpu.json": ["a"], "laws-gpu.json": []}
    for name, cases in made.items():
        (tmp_path / name).write_text(json.dumps({"cases": [{"name": n} for n in cases]}))
    older = {"cases": [{"name": "a"}, {"name": "b"}]}
    (tmp_path / "results" / "metrics-gpu.json").write_text(json.dumps(older))
    _accelerator._keep(tmp_path)
    assert "it lacks 'b'" in capsys.readouterr().out
    assert json.loads((tmp_path / "results" / "metrics-gpu.json").read_text()) == older
    kept = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert kept == ["laws-gpu.json", "metrics-gpu.json", "warp-gpu.json"]


@pytest.mark.slow
def test_the_whole_is_rehearsed_at_tiny_shapes(tmp_path):
    words = ["accelerator", "--quick", "--minutes", "60", "--out", str(tmp_path)]
    code = command.main(words)
    jobs = dict(json.loads((tmp_path / "jobs.json").read_text())["jobs"])
    assert code == 0, jobs
    assert {job.suite for job in JOBS} == {p.stem.split("-")[0] for p in tmp_path.glob("*-*.json")}
