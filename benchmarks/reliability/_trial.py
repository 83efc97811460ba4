"""One command on files of which one was changed: how it ended, by which rules of `ENDINGS`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability._bait import BAITS, Bait
from benchmarks.reliability._mutate import mutate

ENDINGS = {
    "answer": "the command ended well: what was changed does not matter, or is told in its report",
    "named error": "refused in words that name the file, with exit code 1 or 2",
    "traceback": "an exception that nobody caught",
    "unnamed": "refused in words that do not say which file",
    "hang": "no end within the time limit",
    "memory": "more memory than the limit",
    "outside": "something outside the folder was read or written",
    "died": "the process was ended by the system",
}
SOUND = ("answer", "named error")

MEMORY = 2**30  # Bytes by which a command on files of a few kilobytes may grow.
_STATUS = Path("/proc/self/status")


def check_sound(folder: Path) -> None:
    """Run every command on its unchanged files: what fails by itself would show nothing.

    Raises:
        SystemExit: one that cannot read them; a data set that is made up may have faults.
    """
    for bait in BAITS:
        here, out = folder / "bait" / bait.name, folder / "sound" / bait.name
        words = bait.words.format(here=here, base=folder / "bait", out=out).split()
        code, said, error = _run(words, here)
        if error or code not in (0, 1) or (code and not bait.name.startswith("data-")):
            raise SystemExit(f"{bait.name} fails by itself, with {code}: {said[-800:]}{error}")
    shutil.rmtree(folder / "sound")


def serve(folder: Path, seed: int, cases: list[int]) -> None:
    """Run cases one after the other in this process; a line before and a line after each."""
    import jax

    from jaxmed.cli import main  # noqa: F401

    jax.numpy.zeros(1).block_until_ready()
    limit = _status("VmSize") + 4 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    seen = _Seen()
    for case in cases:
        print(json.dumps({"begun": case}), flush=True)
        print(json.dumps(trial(folder, seed, case, seen)), flush=True)


def trial(folder: Path, seed: int, case: int, seen: _Seen) -> dict[str, Any]:
    """Change a file of a bait, run its command, and judge how that ended.

    Args:
        folder: with the sound files in `bait`; the case has a folder beside it.
        seed: of all cases.
        case: its number: with the seed it decides everything.
        seen: what this process opens.

    Returns:
        What a line of the record holds.
    """
    bait = BAITS[case % len(BAITS)]
    place = folder / "cases" / str(case)
    here = place / "in"
    path, told = _prepared(folder, seed, case)
    before = _listing(place / "outside")
    words = bait.words.format(here=here, base=folder / "bait", out=place / "out").split()
    began, status = time.perf_counter(), _grown()
    seen.watch(place)
    code, said, error = _run(words, place)
    grown = status()
    record = {
        "case": case,
        "bait": bait.name,
        "file": str(path.relative_to(here)),
        "change": told,
        "words": " ".join(words).replace(str(folder), ""),
        "seconds": round(time.perf_counter() - began, 2),
        "megabytes": grown // 2**20,
        "code": code,
        "said": said[-600:].replace(str(place), ""),
    }
    fled = "leads out" in told and bait.stranger and code == 0
    if error:
        record |= {"ending": "traceback", "error": error[-3000:]}
    elif grown > MEMORY:
        record["ending"] = "memory"
    elif fled or seen.outside or _listing(place / "outside") != before:
        record |= {"ending": "outside", "error": "; ".join(seen.outside)}
    elif code == 0:
        record["ending"] = "answer"
    else:
        record["ending"] = "named error" if _names(said, path, here) else "unnamed"
    shutil.rmtree(place, ignore_errors=True)
    return record


def changed(folder: Path, seed: int, case: int) -> dict[str, str]:
    """What a case changes, for the record of one that came to no end."""
    path, told = _prepared(folder, seed, case)
    here = folder / "cases" / str(case) / "in"
    return {
        "bait": BAITS[case % len(BAITS)].name,
        "file": str(path.relative_to(here)),
        "change": told,
    }


def _prepared(folder: Path, seed: int, case: int) -> tuple[Path, str]:
    """The files of a case in its folder: the one that was changed, and how."""
    draw = np.random.default_rng([seed, case])
    bait = BAITS[case % len(BAITS)]
    place = folder / "cases" / str(case)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "bait" / bait.name, place / "in")
    (place / "outside").mkdir()
    (place / "outside" / "secret").write_text("secret")
    path = _chosen(bait, place / "in", draw)
    return path, mutate(path, place / "in", draw, links=bait.stranger)


def _chosen(bait: Bait, here: Path, draw: np.random.Generator) -> Path:
    found = sorted({p for pattern in bait.files for p in here.glob(pattern) if p.is_file()})
    return found[int(draw.integers(len(found)))]


def _run(words: list[str], place: Path) -> tuple[int, str, str]:
    """The exit code of a command, what it said, and the traceback that escaped it."""
    from jaxmed.cli import main

    said = io.StringIO()
    error, code, back = "", -1, Path.cwd()
    os.chdir(place)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 2
    except BaseException:
        error = traceback.format_exc()
    finally:
        os.chdir(back)
    text = said.getvalue()
    if not error and "Traceback (most recent call last)" in text:
        error = text
    return code, text, error


def _names(said: str, path: Path, here: Path) -> bool:
    """Whether a message says of which file, or folder with it, it is."""
    parts = path.relative_to(here).parts
    return any(part in said for part in (*parts, path.name.split(".")[0] + "_", "--"))


def _listing(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.lstat().st_size for p in sorted(folder.rglob("*"))}


class _Seen:
    """Files that this process opens to write and that lie outside of where it may."""

    def __init__(self) -> None:
        self.place: Path | None = None
        self.outside: list[str] = []
        sys.addaudithook(self._hook)

    def watch(self, place: Path) -> None:
        self.place, self.outside = place, []

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or self.place is None or not isinstance(arguments[0], str):
            return
        flags = arguments[2] or 0
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            path = os.path.realpath(arguments[0])
            own = (str(self.place / name) for name in ("out", "in", "../../compiled"))
            fine = (*map(os.path.normpath, own), "/dev/", "/proc/", *_CACHES)
            if not path.startswith(fine):
                self.outside.append(f"written: {arguments[0]}")


_CACHES = tuple(os.path.realpath(os.path.expanduser(path)) for path in ("~/.cache", "~/.config"))


def _grown() -> Any:
    """A function that tells by how much the peak of memory has grown since."""
    if not _STATUS.exists():
        return lambda: 0
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    return lambda: _status("VmHWM") - before


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines() if _STATUS.exists() else []:
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0
