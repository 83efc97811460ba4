"""The heart in MRI: volumes, ejection fractions, the thickness of its wall, and five diagnoses.

    jaxmed train heart
    jaxmed train heart --masks PREDICTED

Of masks of the ventricles and the myocardium at end-diastole and end-systole (ACDC): those drawn by
experts, or `--masks`, a folder of predicted ones under the names of their frames, as `jaxmed
predict` writes them, whose ejection fractions are then set beside the experts'. Five groups of
patients are told apart from a dozen measures by a linear answer that has not seen the patient.
Where voxels have lost their size (1 mm in every direction, which no cine has) volumes are in
thousands of voxels; fractions are not touched by that.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt

from jaxmed import stats
from jaxmed.data import read_mask
from jaxmed.protocols import linear_probe
from jaxmed.report import Results, Split, classification, stage

from .._common.compared import named
from .._common.probe import out_of_fold
from ._cases import folder, times

GROUPS = {
    "NOR": "normal", "DCM": "dilated cardiomyopathy", "HCM": "hypertrophic cardiomyopathy",
    "MINF": "infarction", "RV": "abnormal right ventricle",
}  # fmt: skip
"""ACDC's diagnoses, and their names."""
_RIGHT, _WALL, _LEFT = 1, 2, 3


@dataclasses.dataclass(frozen=True)
class Config:
    """One study.

    Args:
        data: folder of the challenge, `patient*/Info.cfg` and the frames; by default ACDC in
            JAXMED_DATA.
        masks: folder of predicted masks; by default those of experts are measured.
        folds: of the cross-validation.
        seeds: how often patients are dealt into folds.
    """

    data: Path | None = None
    masks: Path | None = None
    folds: int = 5
    seeds: int = 5


class Heart(NamedTuple):
    """Masks of a patient.

    Attributes:
        name: of the patient.
        group: the diagnosis.
        diastole: (x, y, slices) at end-diastole: 1 right ventricle, 2 myocardium, 3 left.
        systole: likewise at end-systole.
        spacing: edges of a voxel in millimetres, or 1 where they are lost.
    """

    name: str
    group: str
    diastole: np.ndarray
    systole: np.ndarray
    spacing: tuple[float, ...]


def run(config: Config, out: Path) -> Results:
    """Measure the masks, tell the groups apart."""
    del out  # there is nothing to resume
    seconds: dict[str, float] = {}
    place = folder(config.data, "ACDC")
    with stage(seconds, "data"):
        hearts = read(place, config.masks)
        found = [measures(heart) for heart in hearts]
        drawn = found if config.masks is None else [measures(h) for h in read(place, None)]
    names = [*GROUPS]
    labels = np.array([names.index(heart.group) for heart in hearts])
    features = np.array([[*measured.values()] for measured in found])
    with stage(seconds, "training"):
        said = np.stack(
            [
                out_of_fold(
                    features, labels, None, seed=seed, count=config.folds,
                    classes=len(GROUPS), fit=partial(linear_probe, seed=seed),
                )
                for seed in range(config.seeds)
            ]
        )  # fmt: skip
    results = classification(
        labels, said.mean(0), classes=tuple(GROUPS.values()),
        cases=[heart.name for heart in hearts], title="Heart: function and diagnosis",
    )  # fmt: skip
    metrics = dict(results.metrics)
    metrics["accuracy over seeds"] = stats.over_runs(
        lambda y, p: float((p.argmax(1) == y).mean()), labels, said, name="accuracy over seeds"
    )
    for side in ("left", "right"):
        what = f"{side} ejection fraction"
        values, true = (np.array([measured[what] for measured in of]) for of in (found, drawn))
        metrics |= named(
            {
                f"{what}/{group}": stats.mean(values[labels == k])
                for k, group in enumerate(names)
                if (labels == k).sum() > 1
            }
        )
        if config.masks is not None:
            metrics |= _beside(what, values, true)
    whose = "experts' masks" if config.masks is None else "predicted masks"
    return results.replace(
        metrics=metrics,
        headline=(*results.headline, "accuracy over seeds"),
        description=(
            f"{len(hearts)} patients of five groups, told apart by a linear answer from "
            f"{features.shape[1]} measures of {whose}: {', '.join(found[0])}. {config.folds} "
            f"folds, dealt {times(config.seeds)}; a patient's probability is the mean of its "
            "predictions."
        ),
        splits=(Split("cross-validated", len(hearts)),),
        partition=f"{config.folds} folds of patients, {times(config.seeds)}",
        seconds=seconds,
        seed=0,
    )


def read(place: Path, predicted: Path | None) -> list[Heart]:
    """Masks of all patients.

    Raises:
        ValueError: for fewer than ten patients, a group that there is not, or a mask that is
            missing or of another shape than its twin.
    """
    found = sorted(path.parent for path in place.glob("*/Info.cfg"))
    if len(found) < 10:
        raise ValueError(f"{place}: ten patients or more, a folder each, found {len(found)}")
    hearts = []
    for patient in found:
        lines = (patient / "Info.cfg").read_text(encoding="utf-8").splitlines()
        said = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        if said.get("Group") not in GROUPS:
            raise ValueError(
                f"{patient / 'Info.cfg'}: Group is one of {', '.join(GROUPS)}, got "
                f"{said.get('Group')!r}"
            )
        masks = []
        for phase in ("ED", "ES"):
            stem = f"{patient.name}_frame{int(said[phase]):02d}"
            path = patient / f"{stem}_gt.nii.gz"
            if predicted is not None:
                path = predicted / f"{stem}.nii.gz"
            if not path.is_file():
                raise ValueError(f"{path}: there is no such mask")
            masks.append(read_mask(path))
        if masks[0].array.shape != masks[1].array.shape:
            raise ValueError(f"{patient}: its two masks are of different shapes")
        diastole, systole = (np.asarray(mask.array).squeeze() for mask in masks)
        spacing = tuple(masks[0].spacing)
        hearts.append(Heart(patient.name, said["Group"], diastole, systole, spacing))
    return hearts


def measures(heart: Heart) -> dict[str, float]:
    """What a report of the heart says, by name.

    Volumes are in millilitres, or thousands of voxels where the voxel's size is lost; thickness is
    in millimetres, or voxels.

    >>> wall = np.full((9, 9, 1), 2)
    >>> wall[3:6, 3:6] = 3
    >>> still = Heart("a", "NOR", wall, wall, (1.0, 1.0, 1.0))
    >>> found = measures(still)
    >>> found["left volume at end-diastole"], found["left ejection fraction"]
    (0.009..., 0.0)
    """
    litre = float(np.prod(heart.spacing)) / 1000
    found: dict[str, float] = {}
    volumes = {}
    for side, label in (("left", _LEFT), ("right", _RIGHT)):
        end, least = (float((m == label).sum()) * litre for m in (heart.diastole, heart.systole))
        volumes[side] = end
        found[f"{side} volume at end-diastole"] = end
        found[f"{side} volume at end-systole"] = least
        found[f"{side} ejection fraction"] = (end - least) / end if end else 0.0
    wall = float((heart.diastole == _WALL).sum()) * litre
    found["volume of the wall"] = wall
    found["wall over left volume"] = wall / volumes["left"] if volumes["left"] else 0.0
    found["right over left volume"] = volumes["right"] / volumes["left"] if volumes["left"] else 0.0
    for phase, mask in (("end-diastole", heart.diastole), ("end-systole", heart.systole)):
        thick = thickness(mask, heart.spacing[:2])
        for name, value in (("mean", thick.mean()), ("greatest", thick.max()),
                            ("spread", thick.std())):  # fmt: skip
            found[f"{name} thickness at {phase}"] = float(value)
    return found


def thickness(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distances from the outside of the wall to the left ventricle, in each slice that has both.

    One number for each pixel of the wall's outer edge; a single 0 where there is no such slice.
    """
    found = [np.zeros(0)]
    for index in range(mask.shape[-1]):
        piece = mask[..., index]
        left, wall = piece == _LEFT, piece == _WALL
        if not left.any() or not wall.any():
            continue
        outer = wall & binary_dilation(~(left | wall), border_value=1)
        found.append(distance_transform_edt(~left, sampling=spacing)[outer])
    together = np.concatenate(found)
    return together if together.size else np.zeros(1)


def _beside(what: str, predicted: np.ndarray, drawn: np.ndarray) -> dict[str, stats.Estimate]:
    """How far ejection fractions of predicted masks lie from those of the experts'."""
    agreement = stats.bland_altman(predicted, drawn, unit="patient")
    return named(
        {
            f"{what}/error": stats.mean(np.abs(predicted - drawn), unit="patient"),
            f"{what}/bias": agreement.bias,
            f"{what}/lower limit": agreement.lower_limit,
            f"{what}/upper limit": agreement.upper_limit,
        }
    )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
