"""Tumours in slices of brain MRI: glioma, meningioma, pituitary tumour, none.

    jaxmed train brain_tumours

A set without patients in its file names, and with copies: what is nearly the same image is in one
fold. Its classes differ in their source and in the plane of their slices, so that an AUC here says
more of the set than of tumours; published accuracies of .95 to .99 split near copies.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jaxmed.report import Results

from ._cases import folder, of_folders
from ._study import Study, judge


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study; its folder has `training/` and `testing/`, each with a folder a class."""


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    place = folder(config.data, "brain_tumor4")
    parts = [part for part in (place / "training", place / "testing") if part.is_dir()]
    return judge(
        config, of_folders(parts or [place], config.size), out, title="Tumours in brain MRI",
        what="Slices of brain MRI with a glioma, a meningioma, a pituitary tumour, or none.",
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
