"""Mammograms: density of the breast, lesion or not, malignant or not, told by patient.

    jaxmed train mammograms --task density --size 192
    jaxmed train mammograms --task lesion
    jaxmed train mammograms --task malignancy

Mini-MIAS: whole films for the density (fatty, glandular, dense), crops of lesions and of normal
tissue for the other two. Both films of a woman are in one fold; published accuracies above .95
split the two.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxmed.cli import one_of
from jaxmed.report import Results

from ._cases import Cases, folder, read_squares, rows_of
from ._study import Study, judge

GRID = {"task": ("density", "lesion", "malignancy")}
_TISSUES = {"F": "fatty", "G": "glandular", "D": "dense"}
_TASKS = {
    "density": "Density of the breast, of whole films.",
    "lesion": "Crops with a lesion, against crops of normal films.",
    "malignancy": "Crops of lesions: malignant against benign.",
}


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study; its folder has `labels.csv`, `images/`, `rois.csv` and `rois/`.

    Args:
        task: what is told.
    """

    task: str = one_of("density", _TASKS)


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    cases = read(folder(config.data, "mini_mias"), config.task, config.size)
    return judge(
        config, cases, out, title=f"Mammograms: {config.task}",
        what=f"Mini-MIAS. {_TASKS[config.task]}",
    )  # fmt: skip


def read(place: Path, task: str, size: int) -> Cases:
    """The films or crops of a task."""
    films = rows_of(place / "labels.csv", ("image", "patient", "tissue"))
    patients = {row["image"]: row["patient"] for row in films}
    if task == "density":
        # A film with two findings has two rows.
        rows = list({row["image"]: row for row in films}.values())
        files = [place / "images" / f"{row['image']}.png" for row in rows]
        labels, classes = [list(_TISSUES).index(row["tissue"]) for row in rows], _TISSUES.values()
    else:
        rows = rows_of(place / "rois.csv", ("file", "image", "tissue", "class", "severity"))
        if task == "malignancy":
            rows = [row for row in rows if row["severity"]]
            labels, classes = [row["severity"] == "M" for row in rows], ("benign", "malignant")
        else:
            labels, classes = [row["class"] != "NORM" for row in rows], ("normal", "lesion")
        files = [place / "rois" / row["file"] for row in rows]
    return Cases(
        read_squares(files, size), np.asarray(labels, np.int32), tuple(classes),
        tuple(file.stem for file in files), tuple(patients[row["image"]] for row in rows),
        "patients",
        {} if task == "density" else {"tissue": [_TISSUES[row["tissue"]] for row in rows]},
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
