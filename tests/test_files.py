"""Folders that one process owns at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from jaxmed._files import (
    BusyError,
    append_line,
    drop_partial,
    owning,
    owning_in_turn,
    replacing,
)

HOLD = """
import sys
from jaxmed._files import owning
with owning(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that owns the folder until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_is_owned_by_one_process_and_free_once_it_was_killed(other, tmp_path):
    with (
        pytest.raises(BusyError, match="run is in use by another process"),
        owning(tmp_path / "run"),
    ):
        pass
    other.kill()
    other.wait()
    assert (tmp_path / "run" / ".lock").exists()  # left by the crash, locks nothing
    with owning(tmp_path / "run"), owning(tmp_path / "run"):  # and what it calls may own it too
        (tmp_path / "run" / "x").write_text("")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["x"]


def test_one_that_waits_its_turn_has_the_folder_when_it_is_free(other, tmp_path):
    threading.Timer(0.2, other.kill).start()
    with owning_in_turn(tmp_path / "run", pause=0.02):
        assert other.wait() != 0
        with owning(tmp_path / "run"):
            pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="it is a file"), owning_in_turn(tmp_path / "file"):
        pass


def test_nothing_is_left_of_a_folder_in_which_nothing_was_written(tmp_path):
    with owning(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()


def test_where_the_drive_knows_no_locks_there_is_none(tmp_path, monkeypatch):
    import errno
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with owning(tmp_path / "run"):
        (tmp_path / "run" / "a").write_text("x")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a"]


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("x")
    for place, why in (("file", "it is a file"), ("file/run", "Not a directory")):
        with (
            pytest.raises(OSError, match=f"{place} cannot be made .{why}"),
            owning(tmp_path / place),
        ):
            pass


def test_an_error_of_the_system_names_the_file_that_it_is_of(tmp_path):
    import errno

    from jaxmed._files import is_full, replacing, write_whole

    write_whole(tmp_path / "a.txt", "old")

    def half():
        with replacing(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left.*a\.txt") as caught:
        half()
    assert is_full(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    import builtins

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        with pytest.raises(OSError, match=r"cannot be written to \(Perm.*: name another"):
            owning(tmp_path).__enter__()


def test_what_a_killed_process_had_half_written_is_swept_up(tmp_path):
    import os

    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead, alive = f".metrics.{process.pid}.json", f".a_mask.{os.getpid()}.nii.gz"
    for name in (dead, alive, ".hidden", ".made_by.json", "kept.1.json"):
        (tmp_path / name).touch()
    with owning(tmp_path):
        there = {path.name for path in tmp_path.iterdir()}
    assert there == {alive, ".hidden", ".made_by.json", "kept.1.json", ".lock"}


def test_a_line_is_added_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "log.jsonl"
    append_line(path, "first")
    append_line(path, "second")
    assert path.read_text() == "first\nsecond\n"
    with path.open("a") as file:
        file.write("cut sho")  # by the end of its process
    append_line(path, "third")
    assert path.read_text() == "first\nsecond\ncut sho\nthird\n"
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:3]))
    with pytest.raises(OSError, match=r"No space left.*log\.jsonl"):
        append_line(path, "fourth")
    monkeypatch.undo()
    append_line(path, "fifth")
    assert path.read_text() == "first\nsecond\ncut sho\nthird\nfifth\n"


@pytest.mark.parametrize("name", ["a.npz", "rate0.01-r0.npz", "a.nii.gz", "a"])
def test_what_was_half_written_of_a_file_is_dropped_and_no_other(tmp_path, name):
    path = tmp_path / name
    with replacing(path) as left:
        left.write_text("whole")
    left.write_text("half")
    others = [tmp_path / other for other in (".other.123.npz", ".a.b.123.npz", "b.npz")]
    for other in others:
        other.write_text("whole")
    drop_partial(path)
    assert not left.exists()
    assert path.read_text() == "whole"
    assert all(other.exists() for other in others)
