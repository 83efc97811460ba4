"""White blood cells of five kinds, each in a picture of its own.

    jaxmed train blood_cells

A kind of which there are fewer images than folds is left out, and said.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxmed.report import Results

from ._cases import Cases, folder, read_squares, rows_of
from ._study import Study, judge

_KINDS = {"1": "neutrophil", "2": "lymphocyte", "3": "monocyte", "4": "eosinophil", "5": "basophil"}


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study; its folder has `labels.csv` and `images/`."""


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    cases, left_out = read(folder(config.data, "wbc"), config.size, config.folds)
    note = (
        f" {', '.join(left_out)}: fewer than {config.folds} images, left out." if left_out else ""
    )
    return judge(
        config, cases, out, title="White blood cells",
        what=f"Stained white blood cells, one an image, by kind.{note}",
    )  # fmt: skip


def read(place: Path, size: int, least: int) -> tuple[Cases, list[str]]:
    """The images of kinds of which there are enough, and the names of the others."""
    rows = rows_of(place / "labels.csv", ("image", "class"))
    counts = {kind: sum(row["class"] == kind for row in rows) for kind in _KINDS}
    kept = [kind for kind, count in counts.items() if count >= least]
    rows = [row for row in rows if row["class"] in kept]
    names = tuple(row["image"] for row in rows)
    cases = Cases(
        read_squares([place / "images" / f"{name}.jpg" for name in names], size),
        np.array([kept.index(row["class"]) for row in rows], np.int32),
        tuple(_KINDS[kind] for kind in kept), names, names, "images",
    )  # fmt: skip
    return cases, [_KINDS[kind] for kind, count in counts.items() if 0 < count < least]


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
