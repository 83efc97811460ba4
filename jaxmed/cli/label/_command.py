"""`jaxmed label DATA`: label images in the browser."""

from __future__ import annotations

import argparse
import os
import shlex
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmed.cli.label._order import DOUBTS

_ROLES = ("patient", "split", "site")


def run(arguments: Sequence[str]) -> int:
    """Open the images, serve the page until it is finished.

    Returns:
        0.
    """
    options = _parser().parse_args([*arguments])
    from jaxmed import data
    from jaxmed.cli.label._answers import Answers
    from jaxmed.cli.label._order import asked, by_doubt
    from jaxmed.cli.label._pictures import Pictures
    from jaxmed.cli.label._server import KEYS, Labelling, Server
    from jaxmed.data.tables._columns import parse_columns

    classes = _classes(options.classes, len(KEYS))
    out = _table(options.out, options.data)
    source = data.dataset(
        options.data, labels=(), patient=options.patient, canonical=True,
        columns=parse_columns(options.columns) or None, split=options.split,
    )  # fmt: skip
    rows = [*range(len(source))] if options.ask is None else asked(options.ask, source)
    if options.shuffle is not None:
        import numpy as np

        rows = [rows[i] for i in np.random.default_rng(options.shuffle).permutation(len(rows))]
    if options.scores is not None:
        rows = by_doubt(options.scores, source, rows, options.by)
    columns, cells = _cells(source, out)
    names = [source.case_ids[row] for row in rows]
    answers = Answers(out, columns, cells, classes, names)
    labelling = Labelling(
        answers, Pictures(source, rows), tuple(names), classes, options.names, str(out)
    )
    server = Server(labelling, options.port)
    print(f"{len(source)} images, {len(rows)} asked for, {answers.progress().done} labelled")
    print(f"open {server.address}\nCtrl-C, or “finish” on the page, ends it.", flush=True)
    if not options.no_browser:
        webbrowser.open(server.address)
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
    done = answers.progress()
    print(f"{done.done} of {done.total} labelled: {out}")
    if done.done:
        command = ["jaxmed", "train", "classification", "--data", str(out), "--classes", *classes]
        print(f"train on them: {shlex.join(command)}")
    return 0


def _classes(names: Sequence[str], most: int) -> tuple[str, ...]:
    found = tuple(name.strip() for name in names)
    if len(found) < 2 or len({name.casefold() for name in found}) < len(found) or not all(found):
        raise ValueError(f"--classes are two different names or more, got {' '.join(names)}")
    if len(found) > most:
        raise ValueError(f"--classes: {len(found)} are more than the {most} keys that there are")
    if wrong := [name for name in found if "|" in name or ";" in name]:
        raise ValueError(f"--classes: {wrong[0]!r} holds a sign that stands between several labels")
    return found


def _table(out: Path, given: Path) -> Path:
    """Where labels are written.

    Raises:
        ValueError: the data's own table, or a place where it would be taken for one.
    """
    if out.suffix.lower() != ".csv":
        raise ValueError(f"--out is a table, such as labels.csv, not {out.name!r}")
    if out.resolve() == given.resolve():
        raise ValueError(f"--out: {out} is the data itself: name another")
    if given.is_dir() and out.resolve().parent == given.resolve():
        raise ValueError(
            f"--out: {out} lies in the folder of the images, where it would be read in their "
            "place: name another folder"
        )
    return out


def _cells(source: Any, out: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The columns of the table of labels, and what each case has in them."""
    roles = [role for role in _ROLES if role in source.rows[0]]
    folder = out.resolve().parent
    cells = {}
    for i, case in enumerate(source.case_ids):
        # From the table's folder: both may then be moved together.
        files = [os.path.relpath(path.absolute(), folder) for path in source.paths(i)]
        if wrong := [name for name in files if ";" in name]:
            raise ValueError(f"{wrong[0]}: a table cannot name a file with a ';': rename it")
        row = {role: str(source.rows[i][role]) for role in roles}
        cells[case] = {"image": ";".join(files), **row}
    return ["case", "image", "label", *roles], cells


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmed label",
        description="Label images in the browser, on this computer alone: a key for each class, "
        "every answer saved at once. The same command goes on where it was. The table is read by "
        "`jaxmed train classification --data`.",
    )
    parser.add_argument(
        "data", type=Path,
        help="a table of images, a folder of images, a folder of the Decathlon or of nnU-Net: "
        "whatever `jaxmed data check` reads; labels there are not looked at",
    )  # fmt: skip
    parser.add_argument(
        "--classes", nargs="+", required=True, metavar="CLASS", help="names of the classes"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("labels.csv"), help="the table")
    parser.add_argument(
        "--ask", type=Path, metavar="TABLE",
        help="a table whose column `case` names the images to be labelled, in this order, such as "
        "the one that rounds of active learning write; by default all",
    )  # fmt: skip
    parser.add_argument(
        "--scores", type=Path, metavar="TABLE",
        help="what a model says of the images (`jaxmed predict`): the most doubtful come first",
    )  # fmt: skip
    parser.add_argument(
        "--by", choices=DOUBTS, default="margin", help="what doubt is, by default the margin"
    )
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="show images in a random order")
    parser.add_argument("--split", help="only the images of this split")
    parser.add_argument(
        "--names", action="store_true",
        help="show the names of cases, which may tell the answer",
    )  # fmt: skip
    parser.add_argument(
        "--patient", help="column of the patient; of a folder `folder`, or a pattern with one group"
    )
    parser.add_argument(
        "--columns", nargs="+", default=(), metavar="ROLE=COLUMN",
        help="columns of other names, such as image=file patient=who",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=0, help="by default any that is free")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    return parser
