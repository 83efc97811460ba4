"""`jaxmed data check PATH`: every fault of a data set."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

_USAGE = """usage: jaxmed data check [--regression] [--identity] PATH [PATH ...]

Reads every file of a data set and lists all of its faults: a MedMNIST file (.npz), a folder of
the Medical Segmentation Decathlon, a manifest of your own images (.csv, .jsonl), a folder of
any of these, or a single image (list several, or a manifest). The exit code is 1 if there are any.

  --regression   the labels of manifests are measurements, not classes
  --identity     headers that tell who was imaged, and pictures that may show it in their pixels,
                 are faults, as for data that are passed on; without it they are only told"""


_OPTIONS = ("--regression", "--identity")


def run(arguments: Sequence[str]) -> int:
    """Check each path; print a line a fault."""
    paths = [argument for argument in arguments[1:] if argument not in _OPTIONS]
    asked = "--help" in arguments or "-h" in arguments
    if asked or not paths or arguments[0] != "check":
        print(_USAGE)
        return 0 if asked else 2
    from jaxmed import data

    given = {name.lstrip("-"): name in arguments for name in _OPTIONS}
    faults = [fault for path in paths for fault in data.check(path, **given)]
    if not given["identity"]:
        _tell(data, paths)
    for fault in faults:
        print(f"{fault.file}: {fault.detail} [{fault.rule}]")
    if not faults:
        print("no faults")
        return 0
    counts = Counter(fault.rule for fault in faults)
    print(f"\n{len(faults)} fault{'s' if len(faults) > 1 else ''}:")
    for rule, count in counts.most_common():
        print(f"  {count:>5}  {rule}: {data.RULES[rule]}")
    return 1


def _tell(data: Any, paths: Sequence[str]) -> None:
    """Print who is named in the files, which is no fault of data that stay where they are."""
    found = []
    for path in paths:
        with contextlib.suppress(data.DataError):
            found += data.identity(path)
    for note in found:
        print(f"note: {note.file}: {note.detail} [{note.rule}]")
    if found:
        print("note: these are faults of data that are passed on (--identity)")
