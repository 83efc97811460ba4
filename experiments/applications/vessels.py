"""Vessels of the retina: how wide they are and how they wind, by two observers or by a network.

    jaxmed train vessels
    jaxmed train vessels --masks PREDICTED

The 20 test photographs of DRIVE. Width and tortuosity of the second observer's vessels, or of
predicted masks (a folder of PNG or TIFF under the photographs' names, as `jaxmed predict` writes
them), beside those of the first observer: how well they agree, and by how much they are off.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxmed import stats
from jaxmed.data import read_mask
from jaxmed.report import RegressionResults, Results, Split, classification, stage

from .._common.compared import named
from ._cases import folder
from ._vessel_shape import Vessels, vessels

_SHAPES = {"width": Vessels.mean_width, "tortuosity": Vessels.mean_tortuosity}


@dataclasses.dataclass(frozen=True)
class Config:
    """One study.

    Args:
        data: folder of the set, with `test/1st_manual`; by default DRIVE in JAXMED_DATA.
        masks: folder of predicted masks; by default the second observer's.
        shortest: pixels of a segment's centre line; shorter ones are not counted.
    """

    data: Path | None = None
    masks: Path | None = None
    shortest: int = 15


def run(config: Config, out: Path) -> Results:
    """Measure both, compare."""
    del out  # there is nothing to resume
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        pairs = read(folder(config.data, "DRIVE"), config.masks)
    with stage(seconds, "evaluation"):
        found = {
            name: [vessels(mask, shortest=config.shortest) for mask in masks]
            for name, masks in (("first", pairs.first), ("other", pairs.other))
        }
    metrics: dict[str, stats.Estimate] = {}
    values: dict[str, np.ndarray] = {}
    for shape, of in _SHAPES.items():
        first, other = (np.array([of(v) for v in found[who]]) for who in ("first", "other"))
        agreement = stats.bland_altman(other, first, unit="photograph")
        of_both = {
            shape: stats.mean(first, unit="photograph"),
            f"{shape}/intraclass correlation": stats.icc(np.stack([first, other], 1)),
            f"{shape}/bias": agreement.bias,
            f"{shape}/lower limit": agreement.lower_limit,
            f"{shape}/upper limit": agreement.upper_limit,
        }
        metrics |= named(of_both)
        values[shape] = np.stack([first, other])
    whose = "the second observer's" if config.masks is None else "predicted"
    results = classification(
        *values["width"], task="regression", cases=pairs.names, title="Vessels of the retina",
        classes=("width in pixels",),
    )  # fmt: skip
    assert isinstance(results, RegressionResults)
    return results.replace(
        # The bias is Bland and Altman's, as the limits are.
        metrics={**{f"width/{name}": e for name, e in results.metrics.items()}, **metrics},
        headline=tuple(_SHAPES),
        description=(
            f"Width, and length of the way over the distance of its ends, of {whose} vessels "
            "beside the first observer's, in pixels of the photograph; segments between ends and "
            "crossings count by their length. The figures show the width."
        ),
        splits=(Split("photographs", len(pairs.names)),),
        seconds=seconds,
    )


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Masks of the same photographs, by two.

    Attributes:
        names: of the photographs.
        first: masks of the first observer.
        other: of the second, or predicted.
    """

    names: tuple[str, ...]
    first: list[np.ndarray]
    other: list[np.ndarray]


def read(place: Path, predicted: Path | None) -> Pairs:
    """Read the masks.

    Raises:
        ValueError: for fewer than three photographs, or one without its mask or of another shape.
    """
    files = sorted((place / "test" / "1st_manual").glob("*.gif"))
    if len(files) < 3:
        raise ValueError(f"{place}: three masks or more in test/1st_manual, found {len(files)}")
    numbers = [file.name.partition("_")[0] for file in files]
    others = []
    for number in numbers:
        if predicted is None:
            wanted, where = f"{number}_manual2.gif", place / "test" / "2nd_manual"
        else:
            wanted, where = f"{number}_test*.*", predicted
        matching = sorted(where.glob(wanted))
        if len(matching) != 1:
            raise ValueError(f"{where}: one mask {wanted}, found {len(matching)}")
        others.append(matching[0])
    first, other = ([_mask(file) for file in which] for which in (files, others))
    for number, one, two in zip(numbers, first, other, strict=True):
        if one.shape != two.shape:
            raise ValueError(f"photograph {number}: masks of {one.shape} and of {two.shape}")
    return Pairs(tuple(numbers), first, other)


def _mask(file: Path) -> np.ndarray:
    return np.asarray(read_mask(file).array).squeeze() > 0


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
