r"""Chest X-rays: covid-19, pneumonia, no finding; and what the border of the image tells of it.

    jaxmed train chest
    jaxmed train chest --source pneumoniamnist

In this set one class comes from another source, and its borders show it: the AUC of the whole image
stands beside that of the border alone and that of the image without it. It is a set to find
shortcuts in, not to diagnose by. What borders do to a trained network: `border`; what helps:
`remedies`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jaxmed.cli import one_of
from jaxmed.report import Results

from .._common.borders import inside
from ._cases import folder, of_folders, of_medmnist
from ._study import Study, judge

_BORDER = 0.125  # Of a side.


@dataclasses.dataclass(frozen=True)
class Config(Study):
    """One study; its folder has a folder a class.

    Args:
        source: the set: folders of three classes, or MedMNIST's PneumoniaMNIST, whose test part is
            measured once.
        patient: a pattern with one group, the patient in a file's name; "" for none.
    """

    source: str = one_of("cxr_covid3", ("cxr_covid3", "pneumoniamnist"))
    patient: str = r"^(\d{8})_"


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge, with the border and without it."""
    middle = inside(config.size, _BORDER)[0, ..., 0] > 0
    held_out, what = None, "Chest X-rays of three classes, of which one comes from another source."
    if config.source == "pneumoniamnist":
        cases, held_out = of_medmnist(config.source, config.size)
        what = "Chest X-rays of children (PneumoniaMNIST), with a pneumonia or without."
    else:
        place = folder(config.data, "cxr_covid3")
        cases = of_folders([place], config.size, config.patient)
    return judge(
        config, cases, out, title="Chest X-rays, and their border", what=what,
        parts={"border": ~middle, "middle": middle}, held_out=held_out,
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
