"""`jaxmed data check PATH`: every fault of a data set."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any


def run(arguments: Sequence[str]) -> int:
    """Check each path; print a line a fault.

    Returns:
        0; 1 if there is any fault; 2 for a command that is none.
    """
    asked = any(word in ("-h", "--help") for word in arguments)
    if asked or not arguments or arguments[0] != "check":
        _parser().print_help()
        return 0 if asked else 2
    options = _parser().parse_args([*arguments[1:]])
    from jaxmed import data
    from jaxmed.cli._given import in_words
    from jaxmed.data.images._mask_labels import parse_map
    from jaxmed.data.sources._check import checked
    from jaxmed.data.tables._columns import parse_columns

    values, colours = parse_map(options.map)
    paths = options.path
    given: dict[str, Any] = {
        "regression": options.regression,
        "merge_rows": options.merge_rows,
        "labels": options.labels,
        "positive": options.positive,
        "classes": options.classes,
        "patient": options.patient,
        "columns": parse_columns(options.columns),
    }
    if values or colours:
        given["mask_labels"] = data.MaskLabels(values=values or None, colours=colours or None)
    faults = []
    for path in paths:
        found, told = checked(path, **given)
        faults += found
        for line in told:
            print(line)
    if options.identity:
        faults += _named(data, paths)
    else:
        _tell(data, paths)
    for fault in faults:
        print(in_words(f"{fault.file}: {fault.detail} [{fault.rule}]"))
    if not faults:
        print("no faults")
        return 0
    counts = Counter(fault.rule for fault in faults)
    print(f"\n{len(faults)} fault{'s' if len(faults) > 1 else ''}:")
    for rule, count in counts.most_common():
        print(f"  {count:>5}  {rule}: {data.RULES[rule]}")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmed data check",
        description="Read every file of a data set, tell what there is and list all of its faults. "
        "The exit code is 1 if there are any.",
    )
    parser.add_argument(
        "path", nargs="+",
        help="a table of images (.csv, .tsv, .jsonl, .xlsx); a folder of the Medical Segmentation "
        "Decathlon or of nnU-Net; a folder for each class; images with masks; a MedMNIST file "
        "(.npz); a folder of any of these; or an image",
    )  # fmt: skip
    parser.add_argument(
        "--regression", action="store_true", help="labels are measurements, not classes"
    )
    parser.add_argument(
        "--identity", action="store_true",
        help="headers that tell who was imaged, and pictures that may show it in their pixels, are "
        "faults, as for data that are passed on; without it they are only told",
    )  # fmt: skip
    parser.add_argument(
        "--labels", nargs="+", metavar="COLUMN",
        help="the column of labels, or several of 0 and 1",
    )  # fmt: skip
    parser.add_argument("--positive", metavar="CLASS", help="the class told from all others")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="names of the classes")
    parser.add_argument(
        "--patient", help="column of the patient; of a folder `folder`, or a pattern with one group"
    )
    parser.add_argument(
        "--columns", nargs="+", default=(), metavar="ROLE=COLUMN",
        help="columns of other names, such as image=file patient=who; of a folder mask=NAME, the "
        "folder of the masks or the ending of their names, and image=t1,flair, the endings of the "
        "files that are a case's channels",
    )  # fmt: skip
    parser.add_argument(
        "--merge-rows", action="store_true",
        help="rows of one image, such as of its findings, are one",
    )  # fmt: skip
    parser.add_argument(
        "--map", nargs="+", default=(), metavar="NUMBER=CLASS",
        help="what masks mean, if not the number of the class: 255=1 0=0, or 255,0,0=1 in colour",
    )  # fmt: skip
    return parser


def _tell(data: Any, paths: Sequence[str]) -> None:
    """Print who is named in the files, which is no fault of data that stay where they are."""
    found = _named(data, paths)
    for note in found:
        print(f"note: {note.file}: {note.detail} [{note.rule}]")
    if found:
        print("note: these are faults of data that are passed on (--identity)")


def _named(data: Any, paths: Sequence[str]) -> list[Any]:
    """What tells who was imaged, of the files that can be read."""
    found = []
    for path in paths:
        with contextlib.suppress(data.DataError):
            found += data.identity(path)
    return found
