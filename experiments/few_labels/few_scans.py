"""Segment the hippocampus from few labelled scans: semi-supervised rows against supervised.

    jaxmed train few_scans --row mean_teacher --scans 6 --seeds 3

Task 04 of the Medical Segmentation Decathlon. Of the training folds a few scans keep their masks,
drawn for each seed anew; of all the others the images alone are there. The row's method and plain
supervised learning train the same small 3D U-Net by as many steps, from the same parameters, on
the same labelled patches. A method's views of an unlabelled patch differ in intensities alone, on
top of one turn and mirroring that all of them share, so that they agree voxel by voxel. Every
row predicts with parameters averaged over the steps: the average that a mean teacher is shall not
count as its gain. Nothing is selected: the held-out fold is segmented once, with the averages after
the last step.

`dice`: mean over seeds. `dice/difference`: the row less the baseline, paired by seed and by scan;
intervals speak for new seeds and new scans (`jaxmed.stats.over_runs`).

Some minutes a row on one CPU core with the native convolution. Measured: docs/results-paradigms.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxmed as jm
from jaxmed.augment import blur, brightness, chain, contrast, cutout, gamma, noise
from jaxmed.data import map_source, subset
from jaxmed.report import (
    DataSummary,
    Results,
    RunRecord,
    SegmentationResults,
    Split,
    TrainingLog,
    stage,
)
from jaxmed.stats import Estimate

from .._common.compared import compared, mean, notes_of, with_baseline
from .._common.kept import store, stored
from .._common.scans import Scans, moved, pictures, read, shaded, with_weights
from ._rows import ROWS as PARADIGMS
from ._rows import Row, Setting

# Those whose terms compare voxels; their settings are the classification table's.
VOXELWISE = (
    "mean_teacher", "uncertainty_aware_teacher", "pi_model", "entropy_minimisation", "fixmatch",
    "flexmatch", "cross_pseudo",
)  # fmt: skip
ROWS: dict[str, Row] = {
    "supervised": PARADIGMS["supervised"],
    "supervised_strong": Row(
        "supervised",
        "the baseline under the strong intensities too",
        lambda s: jm.augmented(s.supervised, s.strong),
    ),
    **{name: PARADIGMS[name] for name in VOXELWISE},
    "all_scans": Row("supervised", "the baseline with all masks: what labels could give"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """One row.

    Args:
        row: the method.
        data: the Decathlon folder; by default Task04_Hippocampus in JAXMED_DATA.
        scans: that keep their masks.
        seeds: how many trainings, each of other labelled scans and parameters.
        seed: the first, and that of the folds.
        fold: the one held out, from 0.
        folds: into how many the cases are dealt.
        steps: of each training.
        batch: labelled patches of a step.
        unlabelled: patches without a mask of a step.
        patch: voxels of a patch.
        features: channels of the finest stage; they double from stage to stage.
        depth: convolutions of a stage.
        learning_rate: at the start; it falls to 0 as (1 - t)^0.9.
        average: decay of the averaged parameters.
        baseline: folder of the finished supervised run with the same settings; trained if none.
        checkpoints: whether to leave checkpoints, so that a cut run goes on.
    """

    row: str = "supervised"
    data: Path | None = None
    scans: int = 6
    seeds: int = 3
    seed: int = 0
    fold: int = 0
    folds: int = 5
    steps: int = 300
    batch: int = 1
    unlabelled: int = 1
    patch: tuple[int, int, int] = (32, 48, 32)
    features: int = 8
    depth: int = 1
    learning_rate: float = 1e-2
    average: float = 0.99
    baseline: Path | None = None
    checkpoints: bool = False


GRID = {"row": tuple(ROWS)}
# The settings that decide the baseline's masks.
SHARED = (
    "scans", "seeds", "seed", "fold", "folds", "steps", "batch", "patch", "features",
    "depth", "learning_rate", "average",
)  # fmt: skip


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own baseline."""
    return with_baseline(config, folder, row="supervised")


def run(config: Config, out: Path) -> Results:
    """Train the row and, where it is not at hand, the baseline; measure both on the fold."""
    if config.row not in ROWS:
        raise ValueError(f"no row is called {config.row!r}; there are {', '.join(ROWS)}")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        scans = read(config, depth=config.depth)
        if not 1 <= config.scans <= len(scans.train):
            raise ValueError(f"scans is 1 to {len(scans.train)}, got {config.scans}")
    dice, masks, history = train(config, scans, config.row, out, seconds)
    kept = {f"mask/{name}": mask.astype(np.uint8) for name, mask in masks.items()}
    store(out, config, SHARED, {"dice": dice, **kept})
    baseline = None
    if config.row != "supervised":
        folder = config.baseline or out / "supervised"
        if not config.baseline:
            found = train(config, scans, "supervised", folder, seconds)[0]
            store(folder, config, SHARED, {"dice": found})
        baseline = stored(folder, config, SHARED)["dice"]
    metrics = measure(dice, baseline, scans.source.classes[1:])
    row = ROWS[config.row]
    labelled = len(labelled_scans(config, scans, config.row, 0))
    return SegmentationResults(
        title=f"{config.row}, {labelled} labelled scans",
        classes=scans.source.classes[1:],
        metrics=metrics,
        headline=tuple(n for n in ("dice", "dice/difference") if n in metrics),
        description=(
            f"{row.family}: {row.paper}. Means over {config.seeds} seeds, each of one 3D U-Net "
            f"trained by {config.steps} steps with the masks of {labelled} of {len(scans.train)} "
            "scans. Intervals speak for new seeds and new scans. A difference is the row less "
            "supervised learning with the same network, steps, masks and first parameters. "
            "Pictures are of the first seed."
        ),
        data=DataSummary(
            splits=(
                Split("labelled", labelled),
                Split("train", len(scans.train)),
                Split("held out", len(scans.held_out)),
            ),
            flow=(*scans.flow(config), f"{labelled} masks of the others kept, for each seed anew"),
        ),
        training=TrainingLog(history=history, best_step=config.steps),
        run=RunRecord(seconds=seconds),
        pictures=pictures(scans.held_out, masks, dice[0]),
        notes=notes_of(metrics),
    )


@dataclasses.dataclass(frozen=True)
class Patches:
    """Batches of patches with their masks, and of others without."""

    labelled: Any
    unlabelled: Any

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        return {**self.labelled[step], "unlabelled": self.unlabelled[step]["image"]}

    def iterate(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """All batches from a step on."""
        while True:
            yield self[start]
            start += 1


def labelled_scans(config: Config, scans: Scans, row: str, seed: int) -> np.ndarray:
    """Positions of the training scans whose masks are known to a row."""
    if row == "all_scans":
        return np.arange(len(scans.train))
    rng = np.random.default_rng([config.seed + seed, config.scans])
    return np.sort(rng.choice(len(scans.train), config.scans, replace=False))


def patches(config: Config, scans: Scans, row: str, seed: int) -> Patches:
    """Patches of one training. Without masks they lie anywhere, whatever a mask would show."""
    kept = subset(scans.train, labelled_scans(config, scans, row, seed))
    images = map_source(scans.train, lambda case: {"image": case["image"]})
    options = {"seed": config.seed + seed, "remainder": "drop"}
    cut, anywhere = (
        jm.data.random_patch(config.patch),
        jm.data.random_patch(config.patch, foreground=0, fields=("image",)),
    )
    return Patches(
        jm.data.batches(kept, config.batch, transform=cut, **options),
        jm.data.batches(images, config.unlabelled, transform=anywhere, **options),
    )


def setting(steps: int) -> Setting:
    """What rows are made of here: Dice and cross-entropy, views of other intensities alone."""
    weak = chain(noise((0.0, 0.1)), brightness(0.1), contrast((0.9, 1.1)))
    strong = chain(
        gamma((0.5, 2.0), retain=True, p=0.5),
        contrast((0.5, 1.5), p=0.5),
        brightness(0.5, p=0.5),
        blur((0.3, 1.2), p=0.5),
        noise((0.0, 0.3), p=0.5),
        cutout((0.1, 0.3)),
    )
    plain = jm.supervised(jm.losses.dice_ce, target="mask")
    return Setting(steps, jm.augmented(plain, shaded()), weak, strong)


def turned(key: jax.Array, batch: dict[str, Any]) -> dict[str, Any]:
    """Turn, scale and mirror each patch, before any view of it is made."""
    batch = moved()(jm.stream(key, "labelled"), batch)
    alone = moved(images=("unlabelled",), masks=())
    return alone(jm.stream(key, "unlabelled"), batch)


def train(
    config: Config, scans: Scans, row: str, out: Path, seconds: dict[str, float]
) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
    """Train a row seed by seed with one compiled step, and segment the held-out scans.

    Returns:
        Dice (seeds, cases, structures); the first seed's masks by case, and its history.
    """
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="poly", steps=config.steps, weight_decay=1e-2,
        clip=5.0,
    )  # fmt: skip
    objective = jm.augmented(ROWS[row].objective(setting(config.steps)), turned)
    single = jm.learner(scans.recipe.network(), objective, optimizer)
    learner = jm.train.parameter_average(single, config.average)
    blank = jm.inference.segmenter(scans.recipe, None, None)
    structures = len(scans.recipe.classes) - 1
    dice, masks, history = [], {}, ()
    for seed in range(config.seeds):
        with stage(seconds, f"training {row}, seed {config.seed + seed}"):
            result = jm.fit(
                learner, patches(config, scans, row, seed), seed=config.seed + seed,
                steps=config.steps, monitor="train/loss", mode="min",
                out=out / f"seed{seed}" if config.checkpoints else None,
            )  # fmt: skip
        with stage(seconds, f"prediction {row}, seed {config.seed + seed}"):
            model = with_weights(blank, learner, result.state)
            found = {case.name: case.segment(model) for case in scans.held_out}
        dice.append([
            jm.report.agreement(case.truth, found[case.name], structures)["dice"]
            for case in scans.held_out
        ])  # fmt: skip
        if seed == 0:
            masks, history = found, result.history
    return np.array(dice), masks, history


def measure(
    dice: np.ndarray, baseline: np.ndarray | None, structures: tuple[str, ...]
) -> dict[str, Estimate]:
    """Means over seeds and cases, (seeds, cases, structures), and differences to the baseline."""
    views: dict[str, Callable[[np.ndarray], np.ndarray]] = {"dice": lambda d: d.mean(-1)}
    for k, name in enumerate(structures):
        views[f"dice/{name}"] = lambda d, k=k: d[..., k]
    found = {}
    for name, view in views.items():
        other = None if baseline is None else view(baseline)
        found |= compared(mean, np.zeros(dice.shape[1]), view(dice), other, name)
    return found


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
