"""Lower-grade gliomas outlined in slices of brain MRI, by patient.

    jaxmed train tumour_outline

Slices before contrast, FLAIR and after contrast (`lgg_mri`), by small U-Nets at half of their
resolution (`_outlines`). No patient is on both sides.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxmed.data import Scan, Space, lgg_mri
from jaxmed.report import Results

from ._cases import folder
from ._crossed import Outlined, Outlining, recipe_of
from ._outlines import judge

_GRADES = {0: "II", 1: "III", -1: ""}


@dataclasses.dataclass(frozen=True)
class Config(Outlining):
    """One study; its folder is `kaggle_3m` with `data.csv`.

    Args:
        coarser: by how much slices are made smaller.
        patch: what the network sees at once, in such pixels.
    """

    coarser: float = 2.0
    patch: tuple[int, int] = (128, 128)


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    place = folder(config.data, "lgg_mri")
    cases = read(place / "kaggle_3m" if (place / "kaggle_3m").is_dir() else place)
    recipe = recipe_of(
        config, cases, spacing=(config.coarser,) * 2, patch=config.patch, normalisation="zscore",
        mirror=(1,),
    )  # fmt: skip
    return judge(
        config, cases, recipe, out, title="Outlines of gliomas",
        what="Slices of brain MRI with a lower-grade glioma, outlined in FLAIR.",
    )  # fmt: skip


def read(place: Path) -> Outlined:
    """The slices that have a tumour, with the grade as a column."""
    source = lgg_mri(place)
    scans, masks, names, patients, grades = [], [], [], [], []
    for i in range(len(source)):
        one = source[i]
        if not one["mask"].any():
            continue
        space = Space(one["mask"].shape, np.eye(3))
        scans.append(Scan(np.asarray(one["image"], np.float32), np.eye(3), space))
        masks.append((one["mask"] > 0).astype(np.int32))
        names.append(str(source.case_ids[i]))
        patients.append(str(source.groups[i]))
        grades.append(_GRADES[int(one["grade"])])
    if len({*patients}) < 2:
        raise ValueError(f"{place}: tumours of two patients or more, found {len({*patients})}")
    return Outlined(
        scans, masks, ("tumour",), tuple(names), tuple(patients), "patients",
        ("pre-contrast", "FLAIR", "post-contrast"), {"grade": grades},
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
