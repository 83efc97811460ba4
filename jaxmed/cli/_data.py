"""`jaxmed data check PATH`: every fault of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_USAGE = """usage: jaxmed data check [--regression] PATH [PATH ...]

Reads every file of a data set and lists all of its faults: a MedMNIST file (.npz), a folder of
the Medical Segmentation Decathlon, a manifest of your own images (.csv, .jsonl), a folder of
any of these, or a single image (list several, or a manifest). The exit code is 1 if there are any.

  --regression   the labels of manifests are measurements, not classes"""


def run(arguments: Sequence[str]) -> int:
    """Check each path; print a line a fault."""
    paths = [argument for argument in arguments[1:] if argument != "--regression"]
    asked = "--help" in arguments or "-h" in arguments
    if asked or not paths or arguments[0] != "check":
        print(_USAGE)
        return 0 if asked else 2
    from jaxmed import data

    regression = len(paths) < len(arguments) - 1
    faults = [fault for path in paths for fault in data.check(path, regression=regression)]
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
