"""Choose which scans, slices or blocks to draw masks on next: a strategy against chance.

    jaxmed train active_scans --strategy entropy
    jaxmed train active_scans --strategy entropy --by slice

Task 04 of the Medical Segmentation Decathlon. Of the training folds some scans are the pool. Four
of them, drawn at random, have masks at the start; the strategy asks for more round by round, until
32 have one. With `--by slice` or `region` it asks for parts of scans, and may spend as many slices
as those scans have: only voxels of parts that were asked for count in training. Each round trains a
small 3D U-Net from scratch, by as many steps whatever there is, and segments the held-out fold.
Chance starts with the same parts, and trains alike. `area`: Dice averaged over the numbers of
labels. `area/difference`: the strategy's less chance's, paired by seed and by scan.

A seed takes two to three minutes of a CPU core for each of the two. A run that was cut goes on
where it was, seed by seed and round by round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import jaxmed as jm
from jaxmed import protocols
from jaxmed.cli import one_of
from jaxmed.data import subset
from jaxmed.report import (
    DataSummary,
    Results,
    RunRecord,
    SegmentationResults,
    Split,
    stage,
)

from .._common.compared import mean, notes_of, with_baseline
from .._common.kept import store, stored
from .._common.scans import Scans, moved, read, shaded, with_weights

# The doubt of a voxel, and how those of a part are put together.
DOUBT: dict[str, tuple[Any, str]] = {
    "entropy": ("entropy", "mean"),
    "margin": ("margin", "mean"),
    "least_confident": ("least_confident", "mean"),
    "entropy_top": ("entropy", "top"),
    "entropy_random": ("entropy", "mean"),
}
STRATEGIES = ("random", "typical", *DOUBT)
GRID = {"strategy": STRATEGIES}
_TYPICAL = 8  # Side to which a scan is brought to see how typical it is.


@dataclasses.dataclass(frozen=True)
class Config:
    """One strategy.

    Args:
        strategy: what is asked for; `entropy_top` looks at the tenth of a part's voxels that is
            least sure, `entropy_random` shares each round with chance, `typical` asks for typical
            scans and looks at no network.
        by: what is asked for.
        block: edges in voxels, of `region`.
        data: the Decathlon folder; by default Task04_Hippocampus in JAXMED_DATA.
        pool: training scans that may be asked for, drawn for each seed anew.
        start: scans that have masks at the start, or as many slices as they have.
        end: and in the end.
        rounds: how often labels are asked for after the start.
        seeds: how many runs, each from other labels.
        seed: the first, and that of the folds.
        fold: the one held out, from 0.
        folds: into how many the cases are dealt.
        steps: of each training.
        batch: patches of a step.
        patch: voxels of a patch.
        features: channels of the finest stage; they double from stage to stage.
        depth: convolutions of a stage.
        learning_rate: at the start; it falls to 0 as (1 - t)^0.9.
        average: decay of the averaged parameters.
        baseline: folder of the finished run of chance with the same settings; made if none.
    """

    strategy: str = one_of("random", STRATEGIES)
    by: Literal["scan", "slice", "region"] = "scan"
    block: tuple[int, int, int] = (12, 12, 12)
    data: Path | None = None
    pool: int = 64
    start: int = 4
    end: int = 32
    rounds: int = 4
    seeds: int = 3
    seed: int = 0
    fold: int = 0
    folds: int = 5
    steps: int = 200
    batch: int = 1
    patch: tuple[int, int, int] = (32, 48, 32)
    features: int = 8
    depth: int = 1
    learning_rate: float = 1e-2
    average: float = 0.98
    baseline: Path | None = None


# The settings that decide the baseline's Dice.
SHARED = (
    "by", "block", "pool", "start", "end", "rounds", "seeds", "seed", "fold", "folds", "steps",
    "batch", "patch", "features", "depth", "learning_rate", "average",
)  # fmt: skip


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own run of chance."""
    return with_baseline(config, folder, strategy="random")


def run(config: Config, out: Path) -> Results:
    """Ask by the strategy and, where it is not at hand, by chance; compare their curves."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        scans = read(config, depth=config.depth)
    _check(config, len(scans.train))
    with stage(seconds, "rounds"):
        curves = {config.strategy: rounds(config, config.strategy, scans, out)}
    store(out, config, SHARED, {"dice": curves[config.strategy]})
    if config.strategy != "random":
        folder = config.baseline or out / "random"
        if config.baseline is None:
            with stage(seconds, "rounds of chance"):
                found = rounds(config, "random", scans, folder)
            store(folder, config, SHARED, {"dice": found})
        curves["random"] = stored(folder, config, SHARED)["dice"]
    each = (config.end - config.start) / config.rounds
    counts = config.start + each * np.arange(config.rounds + 1)
    with stage(seconds, "intervals"):
        curve = protocols.label_curve(
            curves, np.zeros(len(scans.held_out)), counts, mean, name="Dice",
            unit="scans" if config.by == "scan" else "scans, by their slices",
        )  # fmt: skip
    metrics = {"area": dataclasses.replace(curve.areas[config.strategy], name="area")}
    if gain := curve.gains.get(config.strategy):
        metrics["area/difference"] = dataclasses.replace(gain, name="area/difference")
    for count, estimate in zip(counts, curve.points[config.strategy], strict=True):
        name = f"dice/{count:g}"
        metrics[name] = dataclasses.replace(estimate, name=name)
    return SegmentationResults(
        title=f"{config.strategy} by {config.by}, {config.start} to {config.end} scans",
        classes=scans.source.classes[1:],
        metrics=metrics,
        headline=tuple(n for n in ("area", "area/difference") if n in metrics),
        description=(
            f"Masks of {config.start} scans, or as many slices, at the start, {each:g} more each "
            f"round, out of {config.pool}. Means over {config.seeds} seeds; intervals speak for "
            "new seeds and new scans. A difference is the strategy less chance from the same start."
        ),
        data=DataSummary(
            splits=(Split("pool", config.pool), Split("held out", len(scans.held_out))),
            flow=(*scans.flow(config), f"{config.pool} of the others are the pool of each seed"),
        ),
        run=RunRecord(seconds=seconds),
        notes=notes_of(metrics),
        label_curve=curve,
    )


def rounds(config: Config, strategy: str, scans: Scans, out: Path) -> np.ndarray:
    """Dice (seeds, rounds, held-out scans, structures) of each round's network."""
    train = _trainer(config, strategy, scans)
    found = []
    for seed in range(config.seed, config.seed + config.seeds):
        rng = np.random.default_rng([seed, config.pool])
        pool = subset(
            scans.train, np.sort(rng.choice(len(scans.train), config.pool, replace=False))
        )
        parts = protocols.regions(
            [pool[i]["mask"].shape for i in range(config.pool)], by=config.by, cost="slices",
            size=config.block if config.by == "region" else None, names=pool.case_ids,
        )  # fmt: skip
        whole = config.by == "scan"
        slices = 1.0 if whole else float(parts.costs.sum() / config.pool)
        each = slices * (config.end - config.start) / config.rounds
        done = protocols.active_rounds(
            lambda rows, _, number, pool=pool, parts=parts, seed=seed: train(
                pool, parts, rows, [seed, number]
            ),
            parts.names,
            acquire=_acquire(strategy, whole=whole),
            oracle=lambda rows: None,  # the masks are at hand
            classes=None,
            rounds=config.rounds,
            per_round=int(each) if whole else each,
            start=config.start if whole else config.start * slices,
            costs=None if whole else parts.costs,
            features=_outline(pool) if strategy == "typical" else None,
            measure=lambda look, number: {"dice": look(None)["dice"]},
            seed=seed,
            out=out / f"seed{seed}",
        )
        found.append([one.measured["dice"] for one in done.rounds])
    return np.array(found)


def _trainer(config: Config, strategy: str, scans: Scans) -> Callable[..., Any]:
    """A training on the parts that were asked for, with one compiled step for all rounds."""
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="poly", steps=config.steps, weight_decay=1e-2,
        clip=5.0,
    )  # fmt: skip
    objective = jm.supervised(jm.losses.dice_ce, target="mask", known="mask_known")
    single = jm.learner(scans.recipe.network(), jm.augmented(objective, _views), optimizer)
    learner = jm.train.parameter_average(single, config.average)
    blank = jm.inference.segmenter(scans.recipe, None, None)
    network = scans.recipe.network()
    structures = len(scans.recipe.classes) - 1

    @jax.jit
    def probabilities(params: Any, state: Any, images: Any) -> Any:
        return jax.nn.softmax(network.apply(params, state, images)[0]["logits"])

    cut = jm.data.random_patch(
        config.patch, foreground=1 / 3 if config.by == "scan" else 0.8,
        fields=("image", "mask", "mask_known"),
    )  # fmt: skip

    def train(pool: Any, parts: Any, rows: np.ndarray, seed: list[int]) -> Any:
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        drawn = [
            _known(pool[i], parts.known(rows, i)) for i in np.unique(parts.scan[rows]).tolist()
        ]
        batches = jm.data.batches(drawn, config.batch, transform=cut, seed=number, remainder="drop")
        result = jm.fit(learner, batches, seed=number, steps=config.steps, progress=False)
        model = with_weights(blank, learner, result.state)

        def voxels(scan: int) -> np.ndarray:
            p = jm.inference.sliding_window(
                lambda x: probabilities(model.params, model.state, x), pool[scan]["image"],
                config.patch, size=1,
            )  # fmt: skip
            p = np.asarray(p, np.float64)
            return protocols.voxel_scores(p[None] / p.sum(-1, keepdims=True), DOUBT[strategy][0])

        def look(at: np.ndarray | None) -> dict[str, Any]:
            if at is None:
                found = [
                    jm.report.agreement(case.truth, case.segment(model), structures)["dice"]
                    for case in scans.held_out
                ]
                return {"dice": np.array(found).tolist()}
            if strategy not in DOUBT:
                return {}
            scores = protocols.region_scores(voxels, parts, at, reduce=DOUBT[strategy][1])
            # Of what a slice costs: `ask_score_per_cost` takes that off again.
            return {"scores": scores if config.by == "scan" else scores * parts.costs[at]}

        return look

    return train


def _acquire(strategy: str, *, whole: bool) -> Any:
    doubt = protocols.ask_score if whole else protocols.ask_score_per_cost
    return {
        "random": protocols.ask_random,
        "typical": protocols.ask_typical,
        "entropy_random": protocols.ask_mixed((doubt, 1), (protocols.ask_random, 1)),
    }.get(strategy, doubt)


def _known(case: dict[str, Any], known: np.ndarray) -> dict[str, np.ndarray]:
    """A scan of which some voxels have a label; what the mask says elsewhere is taken away."""
    mask = np.where(known, case["mask"], 0).astype(np.int32)
    return {"image": case["image"], "mask": mask, "mask_known": known.astype(np.int32)}


def _views(key: jax.Array, batch: dict[str, Any]) -> dict[str, Any]:
    """Turn, scale and mirror images with their masks and what is known of these; then shade."""
    turned = moved(masks=("mask", "mask_known"))(jm.stream(key, "moved"), batch)
    seen = shaded()(jm.stream(key, "shaded"), turned)
    return {**seen, "mask_known": seen["mask_known"] > 0}


def _outline(pool: Any) -> np.ndarray:
    """Scans as coarse pictures (scans, voxels), for what is typical of them."""
    edges = (_TYPICAL,) * 3
    return np.stack([
        np.asarray(jax.image.resize(pool[i]["image"][..., 0], edges, "linear")).ravel()
        for i in range(len(pool))
    ])  # fmt: skip


def _check(config: Config, scans: int) -> None:
    if config.strategy not in STRATEGIES:
        raise ValueError(f"--strategy is one of {', '.join(STRATEGIES)}, got {config.strategy!r}")
    if config.strategy == "typical" and config.by != "scan":
        raise ValueError("--strategy typical is of whole scans: --by scan")
    if not 1 <= config.start < config.end <= config.pool <= scans:
        raise ValueError(
            f"--start {config.start}, --end {config.end}, --pool {config.pool} must rise, and the "
            f"pool be at most the {scans} training scans"
        )
    if config.rounds < 1 or (config.end - config.start) % config.rounds:
        raise ValueError(
            f"--rounds {config.rounds} must divide the {config.end - config.start} scans that are "
            "added"
        )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
