"""Few-shot classification: episodes of one set, learned from another, against a linear probe.

    jaxmed train fewshot --method prototypical --source retinamnist --target breastmnist --shots 5
    jaxmed train fewshot --method probe --source retinamnist --target breastmnist --shots 5

A network learns from the labelled training images of the source. On the test images of the target
it is then given episodes: a few labelled images of each class (shots), and others to classify.
`probe` trains the same trunk by plain cross-entropy on as many images, and fits logistic regression
to the features of each episode's support. `propagation` has the same trunk and is transductive: a
graph joins all images of the episode that are to be classified to the support, so that they
classify each other; it takes that each class has as many. The others learn by episodes of the
source. With source
and target alike the classes are the same and the images new; else the classes are new as well. All
seeds train as one program, and nothing is selected.

`accuracy`: mean over seeds and episodes; `accuracy/difference` to the probe, paired by seed and
episode. Episodes share images, so that intervals over episodes are somewhat too narrow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed.cli import one_of
from jaxmed.core import Network, Objective
from jaxmed.data import ArraySource, MemberBatches, in_memory, map_source, medmnist
from jaxmed.networks import ClassificationHead
from jaxmed.paradigms import EPISODE
from jaxmed.protocols import episode, label_propagation, linear_probe
from jaxmed.report import (
    ClassificationResults,
    DataSummary,
    Results,
    RunRecord,
    Split,
    TrainingLog,
    stage,
)
from jaxmed.stats import Estimate

from .._common.compared import compared, mean, notes_of, with_baseline
from .._common.draws import draws
from .._common.kept import store, stored
from .._common.sets import ONE_LABEL


@dataclasses.dataclass(frozen=True)
class Config:
    """One method, one pair of sets, one number of shots.

    Args:
        method: `probe`, `propagation`, or how episodes are learned.
        source: the MedMNIST set that is learned from.
        target: the one whose test images are classified.
        ways: classes of an episode; all of the set with fewer by default.
        shots: labelled images of each class.
        queries: images of each class to be classified, in an episode.
        seeds: replicates.
        seed: the first, and that of the test episodes.
        steps: of training.
        episodes: of a step.
        test_episodes: how many are tested on.
        learning_rate: at the start; it falls to 0 along a cosine.
        strategy: how the seeds become one program; see `jaxmed.ensemble`.
        baseline: folder of the finished probe with the same settings.
        checkpoints: whether to leave checkpoints, so that a cut run goes on.
    """

    method: Literal["probe", "propagation", "prototypical", "matching", "anil", "maml"] = "probe"
    source: str = one_of("retinamnist", ONE_LABEL, strict=False)
    target: str = one_of("breastmnist", ONE_LABEL, strict=False)
    ways: int | None = None
    shots: int = 5
    queries: int = 5
    seeds: int = 3
    seed: int = 0
    steps: int = 400
    episodes: int = 4
    test_episodes: int = 200
    learning_rate: float = 1e-3
    strategy: Literal["auto", "unroll", "vmap", "scan"] = "vmap"
    baseline: Path | None = None
    checkpoints: bool = True


GRID = {
    "method": ("probe", "propagation", "prototypical", "matching", "anil"),
    "source": ("retinamnist", "breastmnist"),
    "target": ("retinamnist", "breastmnist"),
    "shots": ("1", "5", "10"),
}
_OWN_TRUNK = ("probe", "propagation")  # Trained by cross-entropy, with a head of its classes.
SHARED = (
    "source", "target", "ways", "shots", "queries", "seeds", "seed", "steps", "episodes",
    "test_episodes", "learning_rate",
)  # fmt: skip


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own probe."""
    return with_baseline(config, folder, method="probe")


def run(config: Config, out: Path) -> Results:
    """Learn from the source, classify episodes of the target."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        learned, tested = read(config.source, "train"), read(config.target, "test")
        ways = config.ways or min(len(s.classes) for s in (learned, tested))
        drawn = [
            episode(
                tested.arrays["label"], ways=ways, shots=config.shots, queries=config.queries,
                seed=config.seed, index=i,
            )
            for i in range(config.test_episodes)
        ]  # fmt: skip
    with stage(seconds, "training"):
        answer, history = train(config, learned, ways, out)
    with stage(seconds, "evaluation"):
        right = np.stack([answer(tested.arrays["image"], one) for one in drawn], axis=1)
        store(out, config, SHARED, {"accuracy": right})
        baseline = None
        if config.baseline:
            baseline = stored(config.baseline, config, SHARED)["accuracy"]
        metrics = measure(right, baseline)
    return ClassificationResults(
        title=(
            f"{config.method}: {config.source} to {config.target}, {ways} ways, "
            f"{config.shots} shots"
        ),
        task="multi-class",
        classes=tuple(str(k) for k in range(ways)),
        metrics=metrics,
        headline=tuple(metrics)[:2],
        description=(
            f"{config.test_episodes} episodes of the test images of {config.target}, "
            f"{config.queries} images of each class to be classified; {config.seeds} seeds, "
            f"trained on {len(learned)} images of {config.source}."
        ),
        data=DataSummary(splits=(Split("source", len(learned)), Split("target", len(tested)))),
        training=TrainingLog(history=history),
        run=RunRecord(seconds=seconds),
        notes=notes_of(metrics),
    )


def read(name: str, part: str) -> ArraySource:
    """A set in memory, in three channels of -1 to 1: both sets go through one network."""
    source = medmnist(name, part)

    def three(batch: dict[str, Any]) -> dict[str, Any]:
        image = (batch["image"] - 0.5) / 0.5
        return {**batch, "image": np.broadcast_to(image, (*image.shape[:-1], 3))}

    return in_memory(map_source(source, three, batched=True))


def measure(right: np.ndarray, baseline: np.ndarray | None) -> dict[str, Estimate]:
    """The mean accuracy, and its difference to the probe's."""
    return compared(mean, np.zeros(right.shape[1]), right, baseline, "accuracy")


def episode_rows(source: ArraySource, config: Config, ways: int, steps: int) -> MemberBatches:
    """Batches of episodes for all seeds: positions (seeds, episodes, images), support first."""
    labels = source.arrays["label"]

    def rows(step: int) -> tuple[np.ndarray, np.ndarray]:
        one = [
            [
                episode(
                    labels, ways=ways, shots=config.shots, queries=config.queries,
                    seed=1000 + config.seed + i, index=step * config.episodes + e,
                )
                for e in range(config.episodes)
            ]
            for i in range(config.seeds)
        ]  # fmt: skip
        rows = np.array([[np.concatenate([e.support, e.query]) for e in many] for many in one])
        return rows.astype(np.int32), np.ones(rows.shape[:2], np.float32)

    return MemberBatches(source, rows, steps)


def episodic(objective: Objective, ways: int, shots: int, queries: int) -> Objective:
    """An objective that sees rows as episodes: the support of each class, then the queries."""

    def seen(batch: Any) -> dict[str, jax.Array]:
        images, n = batch["image"], ways * shots
        own = lambda times: jnp.broadcast_to(  # noqa: E731
            jnp.repeat(jnp.arange(ways), times), (len(images), ways * times)
        )
        return {
            "support": images[:, :n],
            "query": images[:, n:],
            "support_label": own(shots),
            "query_label": own(queries),
        }

    def init(key, network, params, state, batch):
        return objective.init(key, network, params, state, seen(batch))

    def loss(network, params, state, batch, key):
        return objective.loss(network, params, state, seen(batch), key)

    return objective._replace(init=init, loss=loss)


def network(config: Config, ways: int, classes: int) -> Network:
    """The trunk, with a head or a comparison."""
    trunk = jm.from_linen(jm.networks.resnet8(norm="group"))
    if config.method in ("prototypical", "matching"):
        return getattr(jm.paradigms, config.method)(trunk, ways)
    outputs = classes if config.method in _OWN_TRUNK else ways
    headed = jm.with_heads(trunk, {"logits": jm.from_linen(ClassificationHead(outputs))})
    if config.method in _OWN_TRUNK:
        return headed
    only = "^heads" if config.method == "anil" else ""
    return jm.paradigms.maml(headed, jm.losses.cross_entropy, steps=3, rate=0.1, only=only)


def train(config: Config, source: ArraySource, ways: int, out: Path) -> Any:
    """Train all seeds; gives a function from images and an episode to (seeds,) accuracies."""
    net = network(config, ways, len(source.classes))
    steps = min(100, config.steps)
    images = config.episodes * ways * (config.shots + config.queries)
    weak = jm.augment.weak()
    if config.method in _OWN_TRUNK:
        everyone = (np.arange(len(source)),) * config.seeds
        batches = draws(source, everyone, (images, 0), steps, config.seed)
        objective = jm.augmented(jm.supervised(jm.losses.cross_entropy), weak)
    else:
        batches = episode_rows(source, config, ways, steps)
        whole = jm.supervised(jm.losses.cross_entropy, target="query_label", inputs=EPISODE)
        objective = jm.augmented(episodic(whole, ways, config.shots, config.queries), _each(weak))
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.steps, weight_decay=1e-4
    )
    begun = net if config.method in _OWN_TRUNK else _from_rows(net, ways, config)
    single = jm.learner(begun, objective, optimizer)
    result = jm.fit(
        jm.ensemble(single, config.seeds, strategy=config.strategy, own_batches=True), batches,
        seed=config.seed, steps=config.steps, monitor="train/loss", mode="min",
        out=out if config.checkpoints else None,
        devices=jm.train.Placement(compile_epochs=True),
    )  # fmt: skip
    members = [jm.paradigms.member(result.state, i) for i in range(config.seeds)]
    run = jax.jit(lambda member, inputs: net.apply(
        member.params["net"], member.state["net"], inputs)[0])  # fmt: skip

    def answer(images: np.ndarray, one: Any) -> np.ndarray:
        right = []
        for member in members:
            if config.method in _OWN_TRUNK:
                both = np.concatenate([one.support, one.query])
                features = np.asarray(run(member, images[both])["features"])
                said = of_features(config, features, one.support_label, ways)
            else:
                inputs = {
                    "support": images[one.support][None],
                    "support_label": one.support_label[None],
                    "query": images[one.query][None],
                }
                said = np.asarray(run(member, inputs)["logits"])[0].argmax(-1)
            right.append((said == one.query_label).mean())
        return np.array(right)

    return answer, result.history


def of_features(config: Config, features: np.ndarray, known: np.ndarray, ways: int) -> np.ndarray:
    """Classes of the images behind the support, by features of both."""
    n = len(known)
    if config.method == "propagation":
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        k = min(10, len(unit) - 1)
        equal = np.full(ways, 1 / ways)  # as episodes are drawn
        found = label_propagation(
            unit[:n], known, unit[n:], kind="poisson", k=k, classes=ways, prior=equal
        )
        return found.predicted
    probe = linear_probe(features[:n], known, classes=ways, l2=0.1)
    return probe.predict(features[n:]).argmax(1)


def _from_rows(net: Network, ways: int, config: Config) -> Network:
    """The network, made by the shape of a batch's rows of images."""
    n = ways * config.shots

    def init(key, images):
        labels = jnp.broadcast_to(jnp.repeat(jnp.arange(ways), config.shots), (len(images), n))
        return net.init(
            key, {"support": images[:, :n], "support_label": labels, "query": images[:, n:]}
        )

    return net._replace(init=init)


def _each(augmentation: Any) -> Any:
    """An augmentation of every image of every episode by itself."""

    def seen(key, batch):
        image = batch["image"]
        flat = augmentation(key, {"image": image.reshape(-1, *image.shape[2:])})["image"]
        return {**batch, "image": flat.reshape(image.shape)}

    return seen


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
