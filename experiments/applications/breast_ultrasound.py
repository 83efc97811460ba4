"""Breast ultrasound: benign, malignant, or no lesion.

    jaxmed train breast_ultrasound

BUSI, in whose 780 images 195 pairs are nearly the same: these are in one fold. BreastMNIST is the
same set at 28 pixels.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jaxmed.report import Results

from ._cases import folder, of_folders
from ._study import Study, judge


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study; its folder has a folder a class."""


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    return judge(
        config, of_folders([folder(config.data, "busi")], config.size), out,
        title="Breast ultrasound",
        what="Ultrasound of the breast (BUSI): benign, malignant, or no lesion.",
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
