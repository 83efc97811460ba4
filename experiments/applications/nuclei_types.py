"""Kinds of nuclei in H&E images of colon cancer: epithelial, inflammatory, fibroblast, others.

    jaxmed train nuclei_types

Patches of 27 pixels around marked nuclei, some of each image, by ImageNet features and a linear
answer (`_study`). Folds are of images: nuclei of one are stained and sharp alike.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxmed.data import NUCLEI, colon_nuclei
from jaxmed.report import Results

from ._cases import Cases, folder, square
from ._study import Study, judge


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study; its folder has `Detection/imgN/` and `Classification/imgN/`.

    Args:
        size: side to which patches are brought.
        each: nuclei of an image, at most, drawn at random.
    """

    size: int = 96
    each: int = 20


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    cases = read(folder(config.data, "CRCHistoPhenotypes_2016_04_28"), config.size, config.each)
    return judge(
        config, cases, out, title="Kinds of nuclei",
        what="Nuclei in H&E images of colon cancer, by patches around their centres.",
    )  # fmt: skip


def read(place: Path, size: int, each: int) -> Cases:
    """Patches, kinds, and the images that they are of."""
    source, rng = colon_nuclei(place), np.random.default_rng(0)
    images, labels, names, units = [], [], [], []
    for i, name in enumerate(source.case_ids):
        bag = source[i]
        for k in np.sort(rng.permutation(len(bag["kind"]))[:each]):
            images.append(square(bag["image"][k] / 255, size))
            labels.append(int(bag["kind"][k]))
            row, column = np.rint(bag["centre"][k]).astype(int)
            names.append(f"{name} {row},{column}")
            units.append(str(name))
    return Cases(
        np.stack(images), np.array(labels, np.int32), NUCLEI, tuple(names), tuple(units), "images"
    )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
