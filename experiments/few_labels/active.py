"""Choose which images to label next: a strategy of active learning against chance.

    jaxmed train active --dataset retinamnist --strategy margin
    jaxmed train active --dataset breastmnist --strategy learned_loss --model cnn

The training images of a MedMNIST set are the pool. A twentieth of them, drawn at random, has labels
at the start; the strategy asks for another twentieth, round by round, until half have one. Each
round trains from scratch on all labels that there are then, and predicts the test images. Chance
starts with the same labels, and trains alike. `area`: the AUC averaged over the numbers of labels,
a mean over seeds. `area/difference`: the strategy's less chance's, paired by seed and test image;
intervals speak for new seeds and new images (`jaxmed.protocols.label_curve`).

`--model frozen` fits a linear head to its optimum on features of a network that is not trained;
strategies that need several opinions ask a committee of heads on bootstraps of the labelled images.
`--model cnn` trains a small ensemble of networks from scratch; `learned_loss` adds to each the head
that predicts its loss, by the paper's schedule.

Components and penalty were chosen on the validation images, which nothing else looks at. A seed
takes seconds of a CPU core with frozen features, and some two minutes with networks. A run that was
cut goes on where it was, seed by seed and round by round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed import networks, protocols, quantities
from jaxmed import unsupervised as un
from jaxmed.cli import one_of
from jaxmed.data import ArraySource
from jaxmed.paradigms import Head, learning_loss
from jaxmed.report import Results, Split, classification, stage

from .._common.compared import notes_of, with_baseline
from .._common.frozen import Frozen, frozen_features
from .._common.kept import store, stored
from .._common.sets import ONE_LABEL
from ._labels import Task, pool

# Strategies that look at several opinions, not at their mean.
SEVERAL = ("bald", "committee", "power_bald", "batch_bald")
STRATEGIES: dict[str, Any] = {
    "random": protocols.ask_random,
    "least_confident": protocols.ask_least_confident,
    "margin": protocols.ask_margin,
    "entropy": protocols.ask_entropy,
    "bald": protocols.ask_bald,
    "committee": protocols.ask_committee,
    "power_bald": protocols.ask_power_bald,
    "batch_bald": protocols.ask_batch_bald,
    "core_set": protocols.ask_core_set,
    "badge": protocols.ask_badge,
    "typical": protocols.ask_typical,
    "typical_margin": protocols.ask_mixed((protocols.ask_typical, 1), (protocols.ask_margin, 1)),
    "learned_loss": protocols.ask_score,
}
GRID = {
    "strategy": tuple(name for name in STRATEGIES if name != "learned_loss"),
    "dataset": ("retinamnist", "breastmnist"),
}
_STOP = 0.6  # Of the steps: where the paper ends the gradient of the predicted loss, 120 of 200.


@dataclasses.dataclass(frozen=True)
class Config:
    """One strategy.

    Args:
        strategy: what is asked for.
        dataset: any set of MedMNIST with one label an image.
        model: a linear head on features of a frozen network, or small networks from scratch.
        share: of the training images that have a label at the start, and are added each round.
        rounds: how often labels are asked for after the start.
        seeds: how many runs, each from other labels.
        seed: the first.
        features: of `frozen`: pixels, maps of random convolutions, or ImageNet's network.
        components: of `frozen`: principal components, each brought to a standard deviation of 1.
        penalty: of `frozen`: on the squared weights of the head.
        members: of a committee, and of an ensemble of networks.
        steps: of each training of `cnn`.
        batch: images of a step of `cnn`.
        learning_rate: of `cnn`, at the start.
        size: side of the images, 28 but for sets that you fetched larger.
        baseline: folder of the finished run of chance with the same settings; made if none.
    """

    strategy: str = one_of("random", STRATEGIES)
    dataset: str = one_of("retinamnist", ONE_LABEL, strict=False)
    model: Literal["frozen", "cnn"] = "frozen"
    share: float = 0.05
    rounds: int = 9
    seeds: int = 5
    seed: int = 0
    features: Frozen = "imagenet"
    components: int = 30
    penalty: float = 1.0
    members: int = 3
    steps: int = 200
    batch: int = 32
    learning_rate: float = 2e-3
    size: int = 28
    baseline: Path | None = None


# The settings that decide the baseline's predictions.
SHARED = (
    "dataset", "model", "share", "rounds", "seeds", "seed", "features", "components", "penalty",
    "members", "steps", "batch", "learning_rate", "size",
)  # fmt: skip


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own run of chance."""
    return with_baseline(config, folder, strategy="random")


def run(config: Config, out: Path) -> Results:
    """Ask by the strategy and, where it is not at hand, by chance; compare their curves."""
    _check(config)
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        task = pool(config)
        counts = _counts(config, len(task.parts["train"]))
    with stage(seconds, "features"):
        places = _places(config, task) if config.model == "frozen" else None
    curves = {}
    with stage(seconds, "rounds"):
        curves[config.strategy] = rounds(config, config.strategy, task, places, counts, out)
    store(out, config, SHARED, {"test": curves[config.strategy]})
    if config.strategy != "random":
        folder = config.baseline or out / "random"
        if config.baseline is None:
            with stage(seconds, "rounds of chance"):
                found = rounds(config, "random", task, places, counts, folder)
            store(folder, config, SHARED, {"test": found})
        curves["random"] = stored(folder, config, SHARED)["test"]
    truth = task.parts["test"].arrays["label"]
    with stage(seconds, "intervals"):
        curve = protocols.label_curve(
            curves, truth, counts, quantities.macro_auc, name="AUC", unit="labelled images"
        )
    metrics = _metrics(config, curve)
    found = classification(
        truth,
        _probabilities(curves[config.strategy][:, -1].mean(0), task.kind),
        task=task.kind,
        classes=task.classes,
        cases=task.parts["test"].case_ids,
        title=f"{config.dataset}: {config.strategy}, {counts[0]} to {counts[-1]} labels",
        description=(
            f"{counts[0]} of {len(task.parts['train'])} training images with labels at the start, "
            f"drawn at random, {counts[1] - counts[0]} more each round. Means over {config.seeds} "
            "seeds. Predictions and figures of classes are of the last round, averaged over seeds."
        ),
        splits=(
            Split("pool", len(task.parts["train"])), Split("labelled at the end", int(counts[-1])),
            Split("test", len(truth)),
        ),
        seconds=seconds,
    )  # fmt: skip
    return found.replace(
        metrics=metrics,
        headline=tuple(n for n in ("area", "area/difference") if n in metrics),
        label_curve=curve,
        notes=(*task.notes, *notes_of(metrics), *_saved(config, curve)),
    )


def rounds(
    config: Config, strategy: str, task: Task, places: Any, counts: np.ndarray, out: Path
) -> np.ndarray:
    """Probabilities (seeds, rounds, test images, classes) of each round's model."""
    labels = task.parts["train"].arrays["label"]
    several = strategy in SEVERAL
    make = _frozen if config.model == "frozen" else _networks
    model = make(config, task, places, several=several, learns_loss=strategy == "learned_loss")
    found = []
    for seed in range(config.seed, config.seed + config.seeds):
        done = protocols.active_rounds(
            lambda rows, known, number, seed=seed: model(rows, known, [seed, number]),
            task.parts["train"].case_ids,
            acquire=STRATEGIES[strategy],
            oracle=lambda rows: labels[rows],
            classes=len(task.classes),
            rounds=config.rounds,
            per_round=int(counts[1] - counts[0]),
            start=int(counts[0]),
            measure=lambda look, number: {"test": look(None)["test"].round(7).tolist()},
            seed=seed,
            out=out / f"seed{seed}",
        )
        found.append([one.measured["test"] for one in done.rounds])
    return np.array(found)


def _frozen(
    config: Config, task: Task, places: Any, *, several: bool, learns_loss: bool
) -> Callable[..., Any]:
    """A linear head on fixed features, with a committee where one is asked."""
    del learns_loss
    known, test = places

    def train(rows: np.ndarray, labels: np.ndarray, seed: list[int]) -> Any:
        def head(at: np.ndarray) -> Any:
            return protocols.linear_probe(
                known[rows[at]], labels[at], classes=len(task.classes), l2=config.penalty
            )

        whole = head(np.arange(len(rows)))
        rng = np.random.default_rng(seed)

        @cache
        def committee() -> list[Any]:
            return [head(_bootstrap(rng, labels)) for _ in range(config.members)]

        def look(at: np.ndarray | None) -> dict[str, np.ndarray]:
            if at is None:
                return {"test": whole.predict(test)}
            heads = committee() if several else [whole]
            samples = np.stack([one.predict(known[at]) for one in heads])
            return {"samples": samples, "features": known[at]}

        return look

    return train


def _networks(
    config: Config, task: Task, places: Any, *, several: bool, learns_loss: bool
) -> Callable[..., Any]:
    """An ensemble of small networks, each from its own beginning, perhaps with a head for loss."""
    del places, several
    cost = jm.losses.cross_entropy
    network = jm.from_linen(networks.cnn(classes=len(task.classes), features=(16, 32, 64)))
    objective = jm.supervised(cost)
    outputs = ("logits", "features")
    if learns_loss:
        head = Head(networks.LossHead(), "pyramid")
        network = jm.with_heads(network, {"predicted_loss": head})
        objective = learning_loss(objective, cost, stop_after=round(_STOP * config.steps))
        outputs = (*outputs, "predicted_loss")
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.steps, weight_decay=1e-2
    )
    single = jm.learner(network, jm.augmented(objective, jm.augment.flip(1)), optimizer)
    learner = jm.ensemble(single, config.members, strategy="scan")
    images, test = (task.parts[name].arrays["image"] for name in ("train", "test"))

    def train(rows: np.ndarray, labels: np.ndarray, seed: list[int]) -> Any:
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        source = ArraySource({"image": images[rows], "label": labels.astype(np.int32)})
        state = jm.fit(
            learner, jm.data.batches(source, config.batch, seed=number), seed=number,
            steps=config.steps, progress=False,
        ).state  # fmt: skip

        def look(at: np.ndarray | None) -> dict[str, np.ndarray]:
            given = {"image": test if at is None else images[at]}
            told = jm.train.predict(learner, state, given, outputs=outputs, axis=1)
            p = special.softmax(told["logits"].astype(np.float64), axis=-1)
            if at is None:
                return {"test": p.mean(0)}
            found = {"samples": p, "features": np.moveaxis(told["features"], 0, 1)}
            if learns_loss:
                found["scores"] = told["predicted_loss"].mean(0)
            return found

        return look

    return train


def _places(config: Config, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of fixed features; those of the pool decide, without any label."""
    images = [(task.parts[name].arrays["image"] + 1) / 2 for name in ("train", "test")]
    made = frozen_features(np.concatenate(images), config.features)
    known, test = made[: len(images[0])], made[len(images[0]) :]
    basis = un.pca(known, min(config.components, len(known) - 1, known.shape[1]))
    return tuple(np.asarray(basis.project(x, whiten=True), np.float64) for x in (known, test))


def _bootstrap(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Positions drawn with replacement, in which more than one class occurs, as in all of them."""
    while True:
        rows = rng.integers(len(labels), size=len(labels))
        if len(set(labels[rows].tolist())) > 1:
            return rows


def _counts(config: Config, n: int) -> np.ndarray:
    step = max(1, round(config.share * n))
    return step * np.arange(1, config.rounds + 2)


def _metrics(config: Config, curve: protocols.LabelCurve) -> dict[str, Any]:
    name = config.strategy
    found = {"area": dataclasses.replace(curve.areas[name], name="area")}
    if name in curve.gains:
        found["area/difference"] = dataclasses.replace(curve.gains[name], name="area/difference")
    for count, estimate in zip(curve.counts, curve.points[name], strict=True):
        found[f"auc/{count}"] = dataclasses.replace(estimate, name=f"auc/{count}")
    return found


def _saved(config: Config, curve: protocols.LabelCurve) -> tuple[str, ...]:
    share = curve.saved.get(config.strategy)
    if share is None:
        return ()
    if np.isnan(share):
        return ("It never comes as far as chance does with all labels of the last round.",)
    less = "fewer" if share >= 0 else "more"
    return (
        f"It comes as far as chance does in the end with {100 * abs(share):.0f}% {less} labels.",
    )


def _probabilities(p: np.ndarray, kind: str) -> np.ndarray:
    return p[:, 1] if kind == "binary" else p


def _check(config: Config) -> None:
    if config.strategy not in STRATEGIES:
        raise ValueError(f"--strategy is one of {', '.join(STRATEGIES)}, got {config.strategy!r}")
    if config.strategy == "learned_loss" and config.model == "frozen":
        raise ValueError("--strategy learned_loss needs a network that learns: --model cnn")
    if config.strategy in SEVERAL and config.members < 2:
        raise ValueError(f"--strategy {config.strategy} needs --members 2 or more")
    if not 0 < config.share * (config.rounds + 1) <= 1:
        raise ValueError(
            f"--share {config.share:g} at the start and in each of {config.rounds} rounds is more "
            "than all images"
        )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
