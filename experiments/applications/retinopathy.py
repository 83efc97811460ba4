"""Grades of diabetic retinopathy in fundus photographs of 28 pixels.

    jaxmed train retinopathy

RetinaMNIST: its parts train and val are cross-validated, its part test is measured once, by a model
of both. Any other set of MedMNIST with one label an image is judged alike: `--source
breastmnist`. Metrics are MedMNIST's, for which the order of grades does not count.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jaxmed.cli import one_of
from jaxmed.report import Results

from .._common.sets import FLAT
from ._cases import of_medmnist
from ._study import Study, judge


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study, of a set in the folder `medmnist` of JAXMED_DATA.

    Args:
        source: a set of MedMNIST with one label an image.
    """

    source: str = one_of("retinamnist", FLAT)
    size: int = 96


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge, measure the test part once."""
    if config.data is not None:
        raise ValueError("--data: MedMNIST is read from JAXMED_DATA; --source names the set")
    cases, held_out = of_medmnist(config.source, config.size)
    return judge(
        config, cases, out, title=f"{config.source}, frozen features",
        what=f"Images of {config.source}.", held_out=held_out,
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
