"""Segment the hippocampus from few labelled scans: semi-supervised rows against supervised.

    jaxmed train few_scans --row mean_teacher --scans 6 --seeds 3
    jaxmed train few_scans --row anatomy --deduce

Task 04 of the Medical Segmentation Decathlon. Of the training folds a few scans keep their masks,
drawn for each seed anew; of all the others the images alone are there. The row's method and plain
supervised learning train the same small 3D U-Net by as many steps, from the same parameters, on
the same labelled patches. A method's views of an unlabelled patch differ in intensities alone, on
top of one turn and mirroring that all of them share, so that they agree voxel by voxel. Every
row predicts with parameters averaged over the steps: the average that a mean teacher is shall not
count as its gain. Nothing is selected: the held-out fold is segmented once, with the averages after
the last step.

What is known of the hippocampus, that each part is in one piece and the posterior one lies behind,
is taught on images without a mask by the row `anatomy`; with `--deduce` the row's predicted masks
are mended until they satisfy it. `broken` is the share of predictions that do not.

`dice`: mean over seeds. `dice/difference`: the row less the baseline, paired by seed and by scan;
intervals speak for new seeds and new scans (`jaxmed.stats.over_runs`).

Some minutes a row on one CPU core with the native convolution. Measured: docs/results-paradigms.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxmed as jm
from jaxmed import rules
from jaxmed.augment import blur, brightness, chain, contrast, cutout, gamma, noise
from jaxmed.cli import one_of
from jaxmed.data import map_source, subset, to_space
from jaxmed.report import (
    DataSummary,
    Results,
    RunRecord,
    SegmentationResults,
    Split,
    TrainingLog,
    stage,
)

from .._common.compared import compared, mean, measure, notes_of, with_baseline
from .._common.kept import store, stored
from .._common.scans import Case, Scans, moved, pictures, read, shaded, with_weights
from ._rows import ROWS as PARADIGMS
from ._rows import Row, Setting

# Those whose terms compare voxels; their settings are the classification table's.
VOXELWISE = (
    "mean_teacher", "uncertainty_aware_teacher", "pi_model", "entropy_minimisation", "fixmatch",
    "flexmatch", "cross_pseudo",
)  # fmt: skip
# Of scans turned to the patient's axes, the second of which goes from back to front.
KNOWN = rules.anatomy(
    ("background", "anterior", "posterior"),
    rules.left_of("posterior", "anterior", axis=1),
    rules.one_component("anterior"),
    rules.one_component("posterior"),
)
ROWS: dict[str, Row] = {
    "supervised": PARADIGMS["supervised"],
    "supervised_strong": Row(
        "supervised",
        "the baseline under the strong intensities too",
        lambda s: jm.augmented(s.supervised, s.strong),
    ),
    **{name: PARADIGMS[name] for name in VOXELWISE},
    "anatomy": Row(
        "deductive",
        "Diligenti et al. (2017)",
        lambda s: rules.constrained_maps(s.supervised, KNOWN),
    ),
    "all_scans": Row("supervised", "the baseline with all masks: what labels could give"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """One row.

    Args:
        row: the method.
        deduce: whether the row's masks are mended to satisfy what is known; the baseline's are not.
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

    row: str = one_of("supervised", ROWS)
    deduce: bool = False
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
    own = train(config, scans, config.row, out, seconds)
    kept = {f"mask/{name}": mask.astype(np.uint8) for name, mask in own.masks.items()}
    store(out, config, SHARED, {"dice": own.dice, "broken": own.broken, **kept})
    baseline: dict[str, np.ndarray] = {}
    if config.row != "supervised" or config.deduce:
        folder = config.baseline or out / "supervised"
        if not config.baseline:
            plain = dataclasses.replace(config, deduce=False)
            found = train(plain, scans, "supervised", folder, seconds)
            store(folder, config, SHARED, {"dice": found.dice, "broken": found.broken})
        baseline = stored(folder, config, SHARED)
    metrics = measure(own.dice, baseline.get("dice"), scans.source.classes[1:])
    metrics |= compared(
        mean, np.zeros(own.dice.shape[1]), own.broken, baseline.get("broken"), "broken"
    )
    row = ROWS[config.row]
    labelled = len(labelled_scans(config, scans, config.row, 0))
    return SegmentationResults(
        title=f"{config.row}{', deduced' if config.deduce else ''}, {labelled} labelled scans",
        classes=scans.source.classes[1:],
        metrics=metrics,
        headline=tuple(n for n in ("dice", "dice/difference") if n in metrics),
        description=(
            f"{row.family}: {row.paper}. Means over {config.seeds} seeds, each of one 3D U-Net "
            f"trained by {config.steps} steps with the masks of {labelled} of {len(scans.train)} "
            "scans. Intervals speak for new seeds and new scans. A difference is the row less "
            "supervised learning with the same network, steps, masks and first parameters. "
            f"Pictures are of the first seed. {_KNOWN}"
            + (" The row's masks were mended to satisfy it." if config.deduce else "")
        ),
        data=DataSummary(
            splits=(
                Split("labelled", labelled),
                Split("train", len(scans.train)),
                Split("held out", len(scans.held_out)),
            ),
            flow=(*scans.flow(config), f"{labelled} masks of the others kept, for each seed anew"),
        ),
        training=TrainingLog(history=own.history, best_step=config.steps),
        run=RunRecord(seconds=seconds),
        pictures=pictures(scans.held_out, own.masks, own.dice[0]),
        notes=notes_of(metrics),
    )


_KNOWN = (
    "`broken` is the share of predictions that break what is known: "
    f"{'; '.join(map(str, KNOWN.premises))}."
)


class Trained(NamedTuple):
    """What the networks of a row predict.

    Attributes:
        dice: (seeds, cases, structures).
        broken: (seeds, cases), 1 where the prediction breaks what is known.
        masks: the first seed's, by case.
        history: of the first seed.
    """

    dice: np.ndarray
    broken: np.ndarray
    masks: dict[str, np.ndarray]
    history: Any


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


def train(config: Config, scans: Scans, row: str, out: Path, seconds: dict[str, float]) -> Trained:
    """Train a row seed by seed with one compiled step, and segment the held-out scans."""
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="poly", steps=config.steps, weight_decay=1e-2,
        clip=5.0,
    )  # fmt: skip
    objective = jm.augmented(ROWS[row].objective(setting(config.steps)), turned)
    single = jm.learner(scans.recipe.network(), objective, optimizer)
    learner = jm.train.parameter_average(single, config.average)
    blank = jm.inference.segmenter(scans.recipe, None, None)
    structures = len(scans.recipe.classes) - 1
    dice, broken, masks, history = [], [], {}, ()
    for seed in range(config.seeds):
        with stage(seconds, f"training {row}, seed {config.seed + seed}"):
            result = jm.fit(
                learner, patches(config, scans, row, seed), seed=config.seed + seed,
                steps=config.steps, monitor="train/loss", mode="min",
                out=out / f"seed{seed}" if config.checkpoints else None,
            )  # fmt: skip
        with stage(seconds, f"prediction {row}, seed {config.seed + seed}"):
            model = with_weights(blank, learner, result.state)
            found = {case.name: masked(config, case, model) for case in scans.held_out}
        dice.append([
            jm.report.agreement(case.truth, found[case.name], structures)["dice"]
            for case in scans.held_out
        ])  # fmt: skip
        broken.append([breaks(case, found[case.name]) for case in scans.held_out])
        if seed == 0:
            masks, history = found, result.history
    return Trained(np.array(dice), np.array(broken, float), masks, history)


def masked(config: Config, case: Case, model: jm.inference.Segmenter) -> np.ndarray:
    """A predicted mask on the grid of the case's file."""
    if not config.deduce:
        return case.segment(model)
    scan = case.scan  # turned to the patient's axes, of which the premises speak
    found = jm.inference.probabilities(model, scan._replace(file=scan.space))
    mask = rules.deduce_mask(KNOWN, found.array).mask
    return to_space(mask.astype(np.int32), scan.affine, scan.file)


def breaks(case: Case, mask: np.ndarray) -> bool:
    """Whether a mask on the grid of the case's file breaks what is known."""
    turned_to = to_space(mask, case.on_file.affine, case.scan.space)
    return any(KNOWN.broken(turned_to).values())


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
