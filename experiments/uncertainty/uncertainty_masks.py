"""Posteriors over a small 3D U-Net, measured on the hippocampus: are its masks honest?

    jaxmed train uncertainty_masks --method ensemble --seeds 1

Task 04 of the Medical Segmentation Decathlon. A U-Net with dropout is trained once a seed by Dice
and cross-entropy (Adam with weight decay, cosine); every method begins there, as in the
`uncertainty` experiment, but for the ensemble, which trains five. The likelihood that Laplace and
SVI see is the cross-entropy alone, every voxel counted as independent. One fold is held out and
measured once; of the others some scans are kept for calibration (the temperature, the conformal
rule). Scans are cut or padded about their middle to one shape, in which all is measured.

`nll`, `brier`, `ece`, `aurc`, `error_auroc`: of voxels within 3 of the true structures, by the mean
prediction; `nll/whole` of all voxels, most of which are far background. `low_dice_auroc`,
`rank_correlation`: whether the entropy averaged over the predicted structures tells the scans of
low Dice (the lowest quarter; Spearman's). `volume_coverage`, `volume_width`: of the 90 % interval
of a structure's volume over the samples, the width as a share of the true volume;
`conformal_coverage`, `conformal_width`: of the same made conformal. `train_cost`, `predict_cost`:
multiples of the trained network's own (with compilation; of the processor's time on a CPU).

Means over seeds, intervals over seeds and scans (`jaxmed.stats.over_runs`); a difference is less
the trained network's. Measured: docs/results-uncertainty.md.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from scipy import ndimage

import jaxmed as jm
from jaxmed import bayes
from jaxmed.cli import one_of
from jaxmed.data import crop_or_pad, subset
from jaxmed.report import (
    DataSummary,
    Results,
    RunRecord,
    SegmentationResults,
    Split,
    UncertainCase,
    Uncertainty,
    best_median_worst,
    stage,
)
from jaxmed.stats import Estimate

from .._common.compared import notes_of, with_baseline
from .._common.kept import store, stored
from .._common.scans import Scans, augmentation, prepared, read
from ._mask_uncertainty import look, measure, numbers
from ._posterior_methods import METHOD, SAMPLED, Trained, fitted, seconds

METHODS = ("map", "temperature", "dropout", "ensemble", "swag", "laplace_last", "svi")
GRID = {"method": METHODS}


@dataclasses.dataclass(frozen=True)
class Config:
    """One method.

    Args:
        method: the posterior.
        data: the Decathlon folder; by default Task04_Hippocampus in JAXMED_DATA.
        seeds: how many networks.
        seed: the first, and that of the folds.
        fold: the one held out, from 0.
        folds: into how many the cases are dealt.
        calibration: scans of the other folds that are calibrated on.
        steps: of the trained network, and of each that is trained on from it.
        batch: scans of a step.
        patch: voxels of a scan, cut or padded about its middle.
        features: channels of the finest stage; they double from stage to stage.
        depth: convolutions of a stage.
        dropout: rate at which channels are dropped.
        learning_rate: of Adam at the start.
        weight_decay: the prior's precision over the number of voxels.
        members: of ensembles.
        samples: draws of each posterior.
        baseline: folder of the finished `map` run with the same settings; made if none.
    """

    method: str = one_of("map", METHODS)
    data: Path | None = None
    seeds: int = 1
    seed: int = 0
    fold: int = 0
    folds: int = 5
    calibration: int = 20
    steps: int = 300
    batch: int = 1
    patch: tuple[int, int, int] = (32, 48, 40)
    features: int = 8
    depth: int = 1
    dropout: float = 0.1
    learning_rate: float = 1e-2
    weight_decay: float = 3e-5
    members: int = 5
    samples: int = 10
    baseline: Path | None = None


# The settings that decide the trained networks.
SHARED = (
    "seeds", "seed", "fold", "folds", "calibration", "steps", "batch", "patch", "features", "depth",
    "dropout", "learning_rate", "weight_decay",
)  # fmt: skip


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own trained networks."""
    return with_baseline(config, folder, method="map")


def shared(config: Config) -> Config:
    """The settings that all methods share."""
    return dataclasses.replace(config, method="map", baseline=None)


class Parts(NamedTuple):
    """Scans in memory: to train on, to calibrate with, and held out."""

    scans: Scans
    train: Any
    calibration: list[dict[str, np.ndarray]]
    test: list[dict[str, np.ndarray]]


def run(config: Config, out: Path) -> Results:
    """Make the posterior of each seed, predict the held-out scans scan by scan, measure."""
    if config.method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, got {config.method!r}")
    spent: dict[str, float] = {}
    with stage(spent, "data"):
        parts = read_parts(shared(config))
    with stage(spent, config.method):
        found, maps = over_seeds(config, parts)
    store(out, config, SHARED, found)
    baseline = found if config.method == "map" else None
    if baseline is None:
        folder = config.baseline or out / "map"
        if not config.baseline:
            with stage(spent, "map"):
                store(folder, config, SHARED, over_seeds(shared(config), parts)[0])
        baseline = stored(folder, config, SHARED)
    metrics = measure(found, None if config.method == "map" else baseline)
    for i, name in enumerate(("train_cost", "predict_cost")):
        ratios = found["seconds"][:, i] / baseline["seconds"][:, i]
        metrics[name] = Estimate(
            float(ratios.mean()), float(ratios.min()), float(ratios.max()), 0.95, len(ratios),
            "run", "mean and range over runs", details={"runs": ratios.tolist()}, name=name,
        )  # fmt: skip
    source = parts.scans.source
    return SegmentationResults(
        title=f"Uncertain masks of the hippocampus: {config.method}",
        classes=source.classes[1:],
        metrics=metrics,
        headline=("dice", "nll", "ece", "low_dice_auroc"),
        description=(
            f"The predictive distribution of {config.method} over a 3D U-Net, {config.seeds} "
            f"seed(s), on {len(parts.test)} scans. Intervals speak for new scans, and for new "
            "seeds where there are several. Maps are of the first seed."
        ),
        data=DataSummary(
            splits=(
                Split("train", len(parts.train)),
                Split("calibration", len(parts.calibration)),
                Split("held out", len(parts.test)),
            ),
            flow=(
                *parts.scans.flow(config),
                f"{len(parts.calibration)} scans of the others kept for calibration",
            ),
        ),
        run=RunRecord(seconds=spent),
        uncertainty=Uncertainty(maps=maps, method=config.method),
        notes=notes_of(metrics),
    )


@functools.cache
def read_parts(config: Config) -> Parts:
    """Read all scans; what is predicted is cut or padded to a patch, with the voxels that it has.

    Kept, as the trained networks are, for other methods in the same process.
    """
    scans = read(config, depth=config.depth, options={"dropout": config.dropout})
    if not 1 <= config.calibration < len(scans.train):
        raise ValueError(f"calibration is 1 to {len(scans.train) - 1}, got {config.calibration}")
    order = np.random.default_rng([config.seed, len(scans.train)]).permutation(len(scans.train))
    kept = np.sort(order[: config.calibration])
    place = {name: i for i, name in enumerate(scans.source.case_ids)}
    test = [prepared(scans.recipe, scans.source[place[case.name]]) for case in scans.held_out]
    return Parts(
        scans,
        subset(scans.train, np.sort(order[config.calibration :])),
        [cut(scans.train[int(i)], config.patch) for i in kept],
        [cut(example, config.patch) for example in test],
    )


def cut(example: dict[str, np.ndarray], patch: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A scan of the patch's shape, and which voxels are the scan's own."""
    own = np.ones(example["mask"].shape, bool)
    arrays = {"image": example["image"], "mask": example["mask"], "own": own}
    return {name: crop_or_pad(array, patch) for name, array in arrays.items()}


@functools.cache
def trained(config: Config, seed: int) -> Trained:
    """The network of a seed."""
    parts = read_parts(config)
    objective = jm.augmented(jm.supervised(jm.losses.dice_ce, target="mask"), augmentation())
    batches = jm.data.batches(
        parts.train, config.batch, seed=seed, remainder="drop",
        transform=jm.data.random_patch(config.patch),
    )  # fmt: skip
    base = Trained(
        config, parts.scans.recipe.network(), objective, bayes.categorical(target="mask"), batches,
        jax.random.key(seed), steps=config.steps, total=len(parts.train),
        observations=len(parts.train) * int(np.prod(config.patch)),
        every=max(config.steps // 30, 1), optimizer=optax.adam, size=1,
    )  # fmt: skip
    return fitted(base)


def over_seeds(
    config: Config, parts: Parts
) -> tuple[dict[str, np.ndarray], tuple[UncertainCase, ...]]:
    """Numbers of a method by scan, a leading axis of seeds; maps of two scans."""
    examples = [cut(parts.train[i], config.patch) for i in range(len(parts.train))]
    train, val = stacked(examples), stacked(parts.calibration)
    n = config.samples if config.method in (*SAMPLED, "laplace_last") else None
    found, planes, dice = [], [], []
    for seed in range(config.seed, config.seed + config.seeds):
        base = trained(shared(config), seed)
        start = seconds()
        posterior, after = METHOD[config.method](base, train, val)
        cost = seconds() - start + (0.0 if config.method == "ensemble" else base.seconds)
        calibration, spent = [], 0.0
        for scan in parts.calibration:
            calibration.append(look(*predicted(base, posterior, after, n, scan)[1:]))
        test = []
        for scan in parts.test:
            start = seconds()
            image, p, truth = predicted(base, posterior, after, n, scan)
            spent += seconds() - start
            test.append(look(p, truth))
            if seed == config.seed:
                planes.append(plane(image, p, truth))
                dice.append(test[-1]["dice"].mean())
        found.append({**numbers(test, calibration), "seconds": np.array([cost, spent])})
    stack = {name: np.stack([one[name] for one in found]) for name in found[0]}
    return stack, shown(parts, np.array(dice), planes)


def predicted(
    base: Trained, posterior: Any, after: Any, n: int | None, scan: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A scan's image, samples of its probabilities, and its mask, where it has voxels."""
    logits = bayes.predict_samples(posterior, base.key, scan["image"][None], n)[:, 0]
    box = ndimage.find_objects(scan["own"].astype(int))[0]
    return scan["image"][box], after(logits[(slice(None), *box)]), scan["mask"][box]


def stacked(scans: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks."""
    return np.stack([s["image"] for s in scans]), np.stack([s["mask"] for s in scans])


def plane(image: np.ndarray, p: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, ...]:
    """The plane across the first axis that shows most of the structures, rows from the top."""
    at = int((truth > 0).sum((1, 2)).argmax())
    turn = lambda x, axis: np.flip(np.swapaxes(x, axis, axis + 1), axis)  # noqa: E731
    return turn(image[at, ..., 0], 0), turn(p[:, at], 1), turn(truth[at], 0)


def shown(parts: Parts, dice: np.ndarray, planes: list[Any]) -> tuple[UncertainCase, ...]:
    """The scans of median and of lowest Dice."""
    return tuple(
        UncertainCase(
            parts.scans.held_out[i].name, *planes[i],
            caption=f"The {rank} scan by mean Dice, {dice[i]:.3f}, in a sagittal plane.",
        )
        for rank, i in best_median_worst(dice).items()
        if rank != "best"
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
