"""Files changed at random: what is changed follows a seed, and every bad ending is seen."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.reliability import _mutate, _trial
from benchmarks.reliability._bait import BAITS, Bait
from benchmarks.reliability._mutate import mutate
from jaxmed import cli


@pytest.fixture
def files(tmp_path):
    """A table, a record, an archive, and bytes."""
    root = tmp_path / "in"
    (root / "run").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "a.csv").write_text("case,label\nc1,0\nc2,1\n")
    (root / "run" / "a.json").write_text(json.dumps({"name": "x", "parts": [1, {"deep": 2.5}]}))
    np.savez(root / "a.npz", a=np.arange(9), b=np.ones(3))
    (root / "a.bin").write_bytes(bytes(range(256)) * 4)
    return root


@pytest.mark.parametrize("name", ["a.csv", "run/a.json", "a.npz", "a.bin"])
def test_a_change_is_a_function_of_the_seed(files, tmp_path, name, monkeypatch):
    monkeypatch.setattr(_mutate, "_BOMB", 2**12)
    told = set()
    for seed in range(40):
        found = []
        for again in ("one", "two"):
            root = tmp_path / again / "in"
            shutil.rmtree(tmp_path / again, ignore_errors=True)
            shutil.copytree(files, root)
            (tmp_path / again / "outside").mkdir()
            told.add(mutate(root / name, root, np.random.default_rng(seed), links=True))
            path = root / name
            held = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            if held is not None and zipfile.is_zipfile(path):  # times are in it
                held = [(i.filename, i.CRC) for i in zipfile.ZipFile(path).infolist()]
            found.append(held)
        assert found[0] == found[1]
    assert len(told) >= 8


BAIT = Bait("made", "anything {here}/a.csv -o {out}", ("a.csv",))
STRANGER = BAIT._replace(name="stranger", stranger=True, files=("run/a.json",))


@pytest.fixture(scope="module")
def seen():
    """What this process opens: hooks cannot be taken back, so there is one."""
    return _trial._Seen()


@pytest.fixture
def judged(files, tmp_path, monkeypatch, seen):
    """A function that judges how a made-up command ends on a changed file."""
    for name in ("made", "stranger"):
        shutil.copytree(files, tmp_path / "bait" / name)

    def judge(main, bait=BAIT, change=None):
        monkeypatch.setattr(cli, "main", main)
        monkeypatch.setattr(_trial, "BAITS", (bait,))
        if change is not None:
            monkeypatch.setattr(_trial, "mutate", change)
        return _trial.trial(tmp_path, 0, 0, seen)["ending"]

    return judge


def refuses(said):
    def main(words):
        print(said, file=sys.stderr)
        return 2

    return main


def test_every_ending_is_told_from_the_others(judged, tmp_path, monkeypatch):
    assert judged(lambda words: 0) == "answer"
    assert judged(refuses("jaxmed: error: a.csv: no column")) == "named error"
    assert judged(refuses("jaxmed: error: unhashable type")) == "unnamed"

    def raises(words):
        raise TypeError("a fault inside")

    def leaves(words):
        raise SystemExit(2)

    assert judged(raises) == "traceback"
    assert judged(refuses("Traceback (most recent call last):\n a.csv")) == "traceback"
    assert judged(leaves) == "unnamed"

    def writes(words):
        (tmp_path / "cases" / "0" / "outside" / "more").write_text("")
        return 0

    assert judged(writes) == "outside"

    def writes_elsewhere(words):
        open(tmp_path / "elsewhere", "w").close()
        return 0

    assert judged(writes_elsewhere) == "outside"
    monkeypatch.setattr(_trial, "MEMORY", 2**20)
    if os.path.exists("/proc/self/clear_refs"):
        assert judged(lambda words: len(np.ones(2**21)) * 0) == "memory"


def test_a_stranger_whose_link_was_followed_is_seen(judged):
    link = lambda path, root, draw, links: "run made a link that leads out"  # noqa: E731
    assert judged(lambda words: 0, STRANGER, link) == "outside"
    assert judged(refuses("a.json is a link"), STRANGER, link) == "named error"


def test_every_bait_has_a_name_of_its_own_and_reads_its_files():
    assert len({bait.name for bait in BAITS}) == len(BAITS)
    for bait in BAITS:
        top = {pattern.split("/")[0] for pattern in bait.files}
        assert any(f"{{here}}/{name}" in bait.words for name in top), bait.name


@pytest.mark.slow
def test_commands_end_well_or_in_an_error_that_names_the_file(tmp_path, capsys):
    """Every bait once, by the command of which a thousand are recorded."""
    words = ["mutations", "--cases", str(len(BAITS)), "--seed", "1", "--out", str(tmp_path)]
    assert command.main(words) == 0, capsys.readouterr().out
    lines = (tmp_path / "seed-1" / "cases.jsonl").read_text().splitlines()
    assert len(lines) == len(BAITS)
    before = lines[:]
    assert command.main(words) == 0  # nothing is missing: nothing is done again
    assert (tmp_path / "seed-1" / "cases.jsonl").read_text().splitlines() == before
