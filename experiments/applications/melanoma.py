"""Melanoma in dermoscopy: told from common and atypical nevi.

    jaxmed train melanoma

PH2's images of lesions, one a patient, by ImageNet features and a linear answer (`_study`).
Concepts in place of features, and what correcting them is worth: `concepts`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxmed.report import Results

from ._cases import Cases, folder, read_squares, rows_of
from ._study import Study, judge


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study; its folder has `labels.csv` and `images/`."""


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    return judge(
        config, read(folder(config.data, "ph2"), config.size), out, title="Melanoma in dermoscopy",
        what="Lesions of the skin (PH2): melanoma against common and atypical nevi.",
    )  # fmt: skip


def read(place: Path, size: int) -> Cases:
    """The images, and whether each shows a melanoma."""
    rows = rows_of(place / "labels.csv", ("image", "diagnosis"))
    names = tuple(row["image"] for row in rows)
    return Cases(
        read_squares([place / "images" / f"{name}.jpg" for name in names], size),
        np.array([row["diagnosis"] == "melanoma" for row in rows], np.int32),
        ("nevus", "melanoma"), names, names, "patients",
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
