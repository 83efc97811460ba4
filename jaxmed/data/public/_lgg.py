"""Brain MRI of lower-grade gliomas: slices with tumour masks, grade and outcome."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._source import Example
from jaxmed.data.formats._read import read_image, read_mask

_GRADE, _DEATH = "neoplasm_histologic_grade", "death01"


@dataclass(frozen=True)
class LGGSource:
    """The slices of a folder ``kaggle_3m``; made by `lgg_mri`."""

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    grade: np.ndarray
    death: np.ndarray
    case_ids: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...] = ("background", "tumour")
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        scan = read_image(self.images[index])
        if scan.array.ndim != 3 or scan.array.shape[-1] != 3:
            raise fault(
                self.images[index], "shape",
                f"a slice has 3 channels (pre, FLAIR, post), got the shape {scan.array.shape}",
            )  # fmt: skip
        return {
            "image": scan.array,
            "mask": read_mask(self.masks[index], like=scan, classes=2).array,
            "grade": self.grade[index],
            "death": self.death[index],
        }

    def column(self, name: str) -> np.ndarray:
        """One field of all slices: grade and death without reading images."""
        if name in ("grade", "death"):
            return getattr(self, name)
        return np.stack([self[i][name] for i in range(len(self))])


def lgg_mri(path: str | os.PathLike) -> LGGSource:
    """Open a folder of lower-grade glioma slices (``kaggle_3m``).

    The folder holds one folder per patient, ``TCGA_CS_4941_19960909``, with slices ``..._12.tif``
    and masks ``..._12_mask.tif``, and ``data.csv`` with one row per patient.

    Args:
        path: the folder ``kaggle_3m``.

    Returns:
        A source of slices: ``image`` (256, 256, 3) float32 in [0, 1] (pre-contrast, FLAIR,
        post-contrast), ``mask`` (256, 256) int32, and of the patient ``grade`` int32 (0 for WHO
        grade II, 1 for III) and ``death`` int32 (1 if the patient died within follow-up); -1
        where the table is empty. ``groups`` are patients, so that `split` and `folds` keep a
        patient's slices together.

    Raises:
        DataError: a missing file, a slice without its mask, a table without a patient or a column,
            or a value in it that is neither empty nor known.

    References:
        Buda, Saha and Mazurowski. Association of genomic subtypes of lower-grade gliomas with shape
        features automatically extracted by a deep learning algorithm. Computers in Biology and
        Medicine 109, 2019. Mazurowski et al. J Neuro-Oncology 133, 2017.
    """
    root = Path(path)
    table = _read_table(root / "data.csv")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    images: list[Path] = []
    patients: list[str] = []
    for folder in folders:
        patient = folder.name.rsplit("_", 1)[0]
        if patient not in table:
            raise fault(root / "data.csv", "table", f"no row for the patient of {folder.name}")
        found = [p for p in folder.glob("*.tif") if not p.stem.endswith("_mask")]
        images += sorted(found, key=_number)
        patients += [patient] * len(found)
    if not images:
        raise fault(root, "non-empty", "no folder of a patient with slices (.tif)")
    masks = tuple(p.with_name(f"{p.stem}_mask.tif") for p in images)
    for mask in masks:
        if not mask.is_file():
            raise fault(mask, "exists", "a slice has no mask")
    rows = [table[patient] for patient in patients]
    return LGGSource(
        name=str(root),
        images=tuple(images),
        masks=masks,
        grade=np.array([row["grade"] for row in rows], np.int32),
        death=np.array([row["death"] for row in rows], np.int32),
        case_ids=tuple(p.stem for p in images),
        groups=tuple(patients),
    )


def _number(path: Path) -> int:
    found = re.search(r"_(\d+)$", path.stem)
    if not found:
        raise fault(path, "table", "a slice's name ends in its number")
    return int(found.group(1))


def _read_table(path: Path) -> dict[str, dict[str, int]]:
    if not path.is_file():
        raise fault(path, "exists", "a folder kaggle_3m has a data.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = ("Patient", _GRADE, _DEATH)
    missing = [name for name in wanted if not rows or name not in rows[0]]
    if missing:
        raise fault(path, "table", f"no rows, or no column {missing[0]!r}")
    return {
        row["Patient"]: {
            "grade": _known(path, row, _GRADE, {"1": 0, "2": 1}),
            "death": _known(path, row, _DEATH, {"0": 0, "1": 1}),
        }
        for row in rows
    }


def _known(path: Path, row: dict[str, Any], column: str, values: dict[str, int]) -> int:
    text = (row[column] or "").strip()
    if text and text not in values:
        raise fault(
            path, "label-range", f"{column} of {row['Patient']} is {text!r}: not of {[*values]}"
        )
    return values[text] if text else -1
