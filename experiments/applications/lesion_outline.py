"""Lesions of the skin outlined in dermoscopy.

    jaxmed train lesion_outline

PH2's images, one a patient, by small U-Nets at half of their resolution (`_outlines`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jaxmed.data import read_image, read_mask
from jaxmed.report import Results

from ._cases import folder, rows_of
from ._crossed import Outlined, Outlining, recipe_of
from ._outlines import judge


@dataclasses.dataclass(frozen=True)
class Config(Outlining):
    """One study; its folder has `labels.csv`, `images/` and `masks/`.

    Args:
        coarser: by how much images are made smaller.
        patch: what the network sees at once, in such pixels.
    """

    coarser: float = 2.0
    patch: tuple[int, int] = (128, 160)


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    cases = read(folder(config.data, "ph2"))
    recipe = recipe_of(
        config, cases, spacing=(config.coarser,) * 2, patch=config.patch, normalisation="linear",
        mirror=(0, 1),
    )  # fmt: skip
    return judge(
        config, cases, recipe, out, title="Outlines of skin lesions",
        what="Dermoscopy of pigmented lesions (PH2), outlined by experts.",
    )  # fmt: skip


def read(place: Path) -> Outlined:
    """The images and their lesions, with the diagnosis as a column."""
    rows = rows_of(place / "labels.csv", ("image", "diagnosis"))
    names = tuple(row["image"] for row in rows)
    scans = [read_image(place / "images" / f"{name}.jpg") for name in names]
    masks = [
        (read_mask(place / "masks" / f"{name}.png", like=scan).array > 0).astype("int32")
        for name, scan in zip(names, scans, strict=True)
    ]
    return Outlined(
        scans, masks, ("lesion",), names, names, "patients", ("red", "green", "blue"),
        {"diagnosis": [row["diagnosis"] for row in rows]},
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
