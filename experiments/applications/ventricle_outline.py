"""The left ventricle outlined in short-axis cardiac MRI.

    jaxmed train ventricle_outline

Sunnybrook's slices at end-diastole and end-systole, 128 pixels about the heart, by small U-Nets
(`_outlines`). Folds are of patients, of four kinds: heart failure with and without infarction,
hypertrophy, normal. A slice at the apex has few pixels, and an edge that is off by one costs its
Dice much.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from jaxmed.data import read_image, read_mask
from jaxmed.report import Results

from ._cases import folder
from ._crossed import Outlined, Outlining, recipe_of
from ._outlines import judge

KINDS = {
    "HF-I": "heart failure, infarction", "HF-NI": "heart failure, no infarction",
    "HYP": "hypertrophy", "N": "normal",
}  # fmt: skip
"""The patients' kinds, as file names have them."""
_NAME = re.compile(r"SC-(HF-I|HF-NI|HYP|N)-(\d+)-")


@dataclasses.dataclass(frozen=True)
class Config(Outlining):
    """One study; its folder has `images/` and `labels/`, or folders that do.

    Args:
        patch: what the network sees at once, in pixels.
    """

    patch: tuple[int, int] = (128, 128)


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    cases = read(folder(config.data, "sunnybrook"))
    recipe = recipe_of(
        config, cases, spacing=(1.0, 1.0), patch=config.patch, normalisation="zscore", mirror=()
    )
    return judge(
        config, cases, recipe, out, title="Outlines of the left ventricle",
        what="Short-axis slices of the heart (Sunnybrook), the cavity outlined by an expert.",
    )  # fmt: skip


def read(place: Path) -> Outlined:
    """The slices of which the cavity is outlined, with the patient's kind as a column.

    Raises:
        ValueError: no slices, a name that tells no patient, or a slice without its outline.
    """
    files = sorted(place.rglob("images/*.png"))
    if not files:
        raise ValueError(f"{place}: no images/*.png with slices")
    scans, masks, names, patients, kinds = [], [], [], [], []
    for file in files:
        found = _NAME.match(file.name)
        if found is None:
            raise ValueError(f"{file}: a name begins with SC-, a kind of {', '.join(KINDS)} and a "
                             "number")  # fmt: skip
        label = file.parent.parent / "labels" / file.name
        if not label.is_file():
            raise ValueError(f"{label}: there is no such outline")
        scan = read_image(file)
        mask = (read_mask(label, like=scan).array > 0).astype("int32")
        if not mask.any():
            continue
        scans.append(scan)
        masks.append(mask)
        names.append(file.stem)
        patients.append(f"{found[1]}-{found[2]}")
        kinds.append(KINDS[found[1]])
    return Outlined(
        scans, masks, ("left ventricle",), tuple(names), tuple(patients), "patients", ("MRI",),
        {"patient": kinds},
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
