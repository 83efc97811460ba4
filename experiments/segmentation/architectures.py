"""Compare networks that segment volumes: Dice, parameters, work, time and memory, equal budgets.

    jaxmed train architectures --row mednext
    jaxmed train architectures --row mednext --data ACDC --patient folder \
        --classes background RV myocardium LV --patch 96 96 16 --steps 3000
    python -m benchmarks grid architectures --over row

Every network is trained by the same steps on the same patches, in the same order, under the same
augmentation, optimiser and learning rate, at a size that two CPU cores train; none is tuned. The
baseline is the U-Net with a residual encoder: `dice/difference` is paired by seed and by scan, and
its interval speaks for new seeds and new scans (`jaxmed.stats.over_runs`). Parameters are averaged
over the steps, nothing is selected, and the held-out fold is segmented once.

`gflop`: of one forward pass on a patch, counted by XLA. `seconds/step`: median of the training
steps, of this machine as busy as it was. `megabytes/step`: what a compiled training step needs
besides parameters and batch.

Beyond the Decathlon's folders, `--data` is any folder of images and masks.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed.cli import one_of
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

from .._common.compared import measure, notes_of, with_baseline
from .._common.kept import store, stored
from .._common.scans import Scans, augmentation, opened, pictures, read, with_weights
from ._networks import NETWORKS

BASELINE = "unet_residual"


@dataclasses.dataclass(frozen=True)
class Config:
    """One network.

    Args:
        row: the network.
        data: the folder; by default Task04_Hippocampus in JAXMED_DATA.
        patient: of a folder that is no Decathlon's, how patients are found, such as `folder`.
        classes: of such a folder, the names of the masks' numbers, the background first.
        seeds: how many trainings.
        seed: the first, and that of the folds.
        fold: the one held out, from 0.
        folds: into how many the cases are dealt, by patient where patients are named.
        steps: of each training.
        batch: patches of a step.
        patch: voxels of a patch.
        learning_rate: at the start; it falls to 0 as (1 - t)^0.9.
        average: decay of the averaged parameters.
        baseline: folder of the finished run of the baseline; trained if none.
        checkpoints: whether to leave checkpoints, so that a cut run goes on.
    """

    row: str = one_of(BASELINE, NETWORKS)
    data: Path | None = None
    patient: str | None = None
    classes: tuple[str, ...] = ()
    seeds: int = 3
    seed: int = 0
    fold: int = 0
    folds: int = 5
    steps: int = 600
    batch: int = 1
    patch: tuple[int, int, int] = (32, 48, 32)
    learning_rate: float = 2e-3
    average: float = 0.99
    baseline: Path | None = None
    checkpoints: bool = True


GRID = {"row": tuple(NETWORKS)}
# The settings that decide the baseline's masks.
SHARED = (
    "seeds", "seed", "fold", "folds", "steps", "batch", "patch", "learning_rate", "average",
)  # fmt: skip


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own baseline."""
    return with_baseline(config, folder, row=BASELINE)


class Trained(NamedTuple):
    """What the networks of a row predict, and what they cost.

    Attributes:
        dice: (seeds, cases, structures).
        masks: the first seed's, by case.
        history: of the first seed.
        costs: by name.
    """

    dice: np.ndarray
    masks: dict[str, np.ndarray]
    history: Any
    costs: dict[str, float]


def run(config: Config, out: Path) -> Results:
    """Train the network and, where it is not at hand, the baseline; measure both on the fold."""
    if config.row not in NETWORKS:
        raise ValueError(f"no network is called {config.row!r}; there are {', '.join(NETWORKS)}")
    seconds: dict[str, float] = {}
    path = config.data or jm.data.data_root() / "Task04_Hippocampus"
    source = opened(path, config.patient, config.classes)
    with stage(seconds, "data"):
        scans = read(config, source=source, net=_made(config, config.row))
    own = train(config, scans, config.row, out, seconds)
    store(out, config, SHARED, {"dice": own.dice})
    baseline = None
    if config.row != BASELINE:
        folder = config.baseline or out / BASELINE
        if not config.baseline:
            net = _made(config, BASELINE)(len(scans.recipe.classes))
            recipe = dataclasses.replace(scans.recipe, net=net)
            found = train(config, scans._replace(recipe=recipe), BASELINE, folder, seconds)
            store(folder, config, SHARED, {"dice": found.dice})
        baseline = stored(folder, config, SHARED)["dice"]
    structures = scans.recipe.classes[1:]
    metrics = measure(own.dice, baseline, structures)
    metrics |= {name: _counted(name, value) for name, value in own.costs.items()}
    return SegmentationResults(
        title=f"{NETWORKS[config.row].words}, {config.steps} steps",
        classes=structures,
        metrics=metrics,
        headline=tuple(n for n in ("dice", "dice/difference") if n in metrics),
        description=(
            f"{NETWORKS[config.row].words}, at a size for two CPU cores, trained by {config.steps} "
            f"steps of {config.batch} patches, means over {config.seeds} seeds. Intervals of Dice "
            "speak for new seeds and new scans. A difference is this network less the U-Net with a "
            "residual encoder, of the same steps on the same patches. No network was tuned."
        ),
        data=DataSummary(
            splits=(Split("train", len(scans.train)), Split("held out", len(scans.held_out))),
            flow=(
                f"{len(source)} scans with masks",
                f"dealt at random into {config.folds} folds by "
                + ("case" if getattr(source, "groups", None) is None else "patient"),
                f"fold {config.fold} held out",
            ),
        ),
        training=TrainingLog(history=own.history, best_step=config.steps),
        run=RunRecord(seconds=seconds),
        pictures=pictures(scans.held_out, own.masks, own.dice[0]),
        notes=notes_of({k: v for k, v in metrics.items() if k.startswith("dice")}),
    )


def _made(config: Config, row: str) -> Callable[[int], Any]:
    ones = (1.0,) * len(config.patch)
    return lambda classes: NETWORKS[row].make(classes, config.patch, ones)


def _counted(name: str, value: float) -> Estimate:
    return Estimate(value, value, value, 0.95, 1, "network", "counted", name=name)


def train(config: Config, scans: Scans, row: str, out: Path, seconds: dict[str, float]) -> Trained:
    """Train a network seed by seed with one compiled step, and segment the held-out scans."""
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="poly", steps=config.steps, weight_decay=1e-2,
        clip=5.0,
    )  # fmt: skip
    plain = jm.supervised(jm.losses.dice_ce, target="mask")
    objective = jm.paradigms.augmented(plain, augmentation())
    single = jm.learner(scans.recipe.network(), objective, optimizer)
    learner = jm.train.parameter_average(single, config.average)
    blank = jm.inference.segmenter(scans.recipe, None, None)
    cut = jm.data.random_patch(config.patch)
    structures = len(scans.recipe.classes) - 1
    dice, masks, history = [], {}, ()
    for seed in range(config.seed, config.seed + config.seeds):
        batches = jm.data.batches(
            scans.train, config.batch, seed=seed, transform=cut, remainder="drop"
        )
        with stage(seconds, f"training {row}, seed {seed}"):
            result = jm.fit(
                learner, batches, seed=seed, steps=config.steps, monitor="train/loss", mode="min",
                out=out / f"seed{seed}" if config.checkpoints else None,
            )  # fmt: skip
        with stage(seconds, f"prediction {row}, seed {seed}"):
            model = with_weights(blank, learner, result.state)
            found = {case.name: case.segment(model) for case in scans.held_out}
        dice.append([
            jm.report.agreement(case.truth, found[case.name], structures)["dice"]
            for case in scans.held_out
        ])  # fmt: skip
        if seed == config.seed:
            masks, history = found, result.history
    return Trained(np.array(dice), masks, history, costs(config, scans, learner))


def costs(config: Config, scans: Scans, learner: Any) -> dict[str, float]:
    """Parameters in millions, work, and time and memory of a training step."""
    network = scans.recipe.network()
    image = jnp.zeros((config.batch, *config.patch, scans.recipe.inputs))
    batch = {"image": image, "mask": jnp.zeros(image.shape[:-1], jnp.int32)}
    params, state = jax.jit(network.init)(jax.random.key(0), image)
    with jm.ops.config(conv="xla"):  # whose work is counted
        forward = jax.jit(lambda p, s, x: network.apply(p, s, x)[0]["logits"])
        counted = forward.lower(params, state, image[:1]).cost_analysis() or {}
    begun = learner.init(jax.random.key(0), batch)
    step = jax.jit(learner.step).lower(begun, batch).compile()
    begun, _ = jax.block_until_ready(step(begun, batch))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        begun, _ = jax.block_until_ready(step(begun, batch))
        times.append(time.perf_counter() - start)
    memory = step.memory_analysis()
    return {
        "parameters": jm.core.count_parameters(params) / 1e6,
        "gflop": float(counted.get("flops", float("nan"))) / 1e9,
        "seconds/step": float(np.median(times)),
        "megabytes/step": float(memory.temp_size_in_bytes) / 1e6 if memory else float("nan"),
    }


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
