"""Training of the paradigm table: the phase without labels, then the one with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed.core import LearnerState, PyTree, flatten_paths, unflatten_paths
from jaxmed.networks import ClassificationHead
from jaxmed.paradigms import member_key
from jaxmed.report import stage

from .._common.draws import draws
from .._common.lite0 import lite0
from ._labels import Task, parted, unlabelled_only
from ._rows import Row, Setting

# The settings that decide a pretrained trunk.
PRETRAINED = (
    "row", "dataset", "seeds", "seed", "network", "size", "pretrain_steps", "pretrain_batch",
    "learning_rate", "compute",
)  # fmt: skip

LITE0 = 112  # Side to which images are enlarged, about, for a network made for 224.


class Trained(NamedTuple):
    """What a row came to.

    Attributes:
        scores: probabilities (seeds, cases, classes) of `val` and `test`.
        history: the learning curve of the labelled phase.
        features: of the pretrained trunk, (seeds, cases, f) of `train` and `test`; or none.
    """

    scores: dict[str, np.ndarray]
    history: tuple[dict[str, Any], ...]
    features: dict[str, np.ndarray]


class Trunk(NamedTuple):
    """Parameters and state of a trunk, each with a leading axis of seeds."""

    params: PyTree
    state: PyTree


def train(config: Any, row: Row, task: Task, out: Path, seconds: dict[str, float]) -> Trained:
    """Train a row for all seeds as one program, and predict."""
    pretrained, features = None, {}
    if row.pretrain is not None:
        with stage(seconds, "pretraining"):
            pretrained, features = _pretrained(config, row, task, out / "pretrain")
    head = jm.from_linen(ClassificationHead(len(task.classes)))
    trunk = _trunk(config)
    if row.trunk is not None:
        trunk = row.trunk(trunk)
        features = _start_features(trunk, config, task)
    network = jm.with_heads(trunk, {"logits": head})
    objective = parted(row.objective(_setting(config.steps, _shares(task))), config.batch)

    def single(network: jm.Network) -> jm.Learner:
        run = jm.learner(network, objective, _optimizer(config, config.steps))
        return jm.paradigms.predict_with_teacher(run, network) if row.teacher else run

    learner = _replicates(config, single(network))
    sizes = (config.batch, config.unlabelled)
    batches = draws(task.parts["train"], task.labelled, sizes, config.evaluate_every, config.seed)

    def predict(state: LearnerState, part: str) -> np.ndarray:
        images = {"image": task.parts[part].arrays["image"]}
        return special.softmax(jm.train.predict(learner, state, images, axis=1), axis=-1)

    look = jm.train.evaluator(
        learner, task.parts["val"], {"val/auc": jm.metrics.auc()}, members=True
    )
    key, state = jax.random.key(config.seed), None
    if pretrained is not None:
        state = _begin(single, network, pretrained, key, batches[0], config.seeds)
    with stage(seconds, f"training {out.name}" if out.name == "supervised" else "training"):
        result = jm.fit(
            learner, batches, key=key, state=state, steps=config.steps, evaluate=look,
            monitor="val/auc", out=out if config.checkpoints else None,
            devices=jm.train.Placement(compile_epochs=True),
        )  # fmt: skip
    scores = {part: predict(result.state, part) for part in ("val", "test")}
    return Trained(scores, result.history, features)


def _pretrained(
    config: Any, row: Row, task: Task, out: Path
) -> tuple[Trunk, dict[str, np.ndarray]]:
    """Train the trunks on all training images without labels, or read them; their features."""
    objective = unlabelled_only(row.pretrain(_setting(config.pretrain_steps)))
    network = _trunk(config)
    single = jm.learner(network, objective, _optimizer(config, config.pretrain_steps))
    learner = _replicates(config, single)
    source = task.parts["train"]
    everyone = (np.arange(len(source)),) * config.seeds
    sizes = (config.pretrain_batch, 0)
    batches = draws(source, everyone, sizes, config.evaluate_every, config.seed)
    kept = config.pretrained and config.pretrained / (
        "_".join(str(getattr(config, name)) for name in PRETRAINED) + ".npz"
    )
    if kept and kept.exists():
        with np.load(kept) as file:
            trunk = Trunk(**unflatten_paths({name: file[name] for name in file}))
    else:
        result = jm.fit(
            learner, batches, key=jm.stream(jax.random.key(config.seed), "pretrain"),
            steps=config.pretrain_steps, monitor="train/loss", mode="min",
            out=out if config.checkpoints else None,
            devices=jm.train.Placement(compile_epochs=True),
        )  # fmt: skip
        trunk = Trunk(result.state.params["net"], result.state.state["net"])
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **flatten_paths(trunk._asdict()))

    return trunk, _features(network, trunk, task)


def _features(network: jm.Network, trunk: Trunk, task: Task) -> dict[str, np.ndarray]:
    """Features (seeds, cases, f) of the training and the test images."""

    @jax.jit
    def look(trunk: Trunk, images):
        return jax.vmap(lambda t: network.apply(t.params, t.state, images)[0]["features"])(trunk)

    features = {
        part: np.concatenate(
            [
                np.asarray(look(trunk, images))
                for images in np.array_split(
                    task.parts[part].arrays["image"], -(-len(task.parts[part]) // 256)
                )
            ],
            axis=1,
        )
        for part in ("train", "test")
    }
    return features


def _begin(
    single: Any, network: jm.Network, trunk: Trunk, key: Any, batch: Any, seeds: int
) -> LearnerState:
    """The replicates' first state, each with its own pretrained trunk.

    What the objectives copy at the beginning, such as a teacher, is then pretrained too.
    """

    def one(i: int) -> LearnerState:
        params, state = jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), tuple(trunk))

        def init(key, inputs):
            own_params, own_state = network.init(key, inputs)
            return {**own_params, "trunk": params}, {**own_state, "trunk": state}

        mine = {name: value[i] for name, value in batch.items()}
        learner = single(network._replace(init=init))
        return jax.jit(learner.init)(member_key(key, i), mine)

    states = [one(i) for i in range(seeds)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked._replace(step=states[0].step)


def _replicates(config: Any, learner: jm.Learner) -> jm.Learner:
    return jm.ensemble(learner, config.seeds, strategy=config.strategy, own_batches=True)


def _trunk(config: Any) -> jm.Network:
    if config.network == "lite0":
        return _enlarged(lite0(dtype=config.compute), config.size)
    make = {"small": jm.networks.resnet8, "resnet18": jm.networks.resnet18}[config.network]
    return jm.from_linen(make(dtype=config.compute))


def _enlarged(network: jm.Network, size: int) -> jm.Network:
    """A network for colour photographs on small, perhaps grey images.

    Images in [-1, 1] are what EfficientNet-Lite expects of pixels, to a part in 250.
    """
    factor = max(1, round(LITE0 / size))

    def seen(images):
        images = jm.ops.upsample(images, factor) if factor > 1 else images
        return jnp.broadcast_to(images, (*images.shape[:-1], 3))

    def apply(params, state, inputs, *, key=None, train=False):
        return network.apply(params, state, seen(inputs), key=key, train=train)

    return jm.Network(lambda key, inputs: network.init(key, seen(inputs)), apply)


def _start_features(trunk: jm.Network, config: Any, task: Task) -> dict[str, np.ndarray]:
    """What a given trunk makes of the images before anything is learned, the same for all seeds."""
    images = task.parts["train"].arrays["image"]
    params, state = jax.jit(trunk.init)(jax.random.key(config.seed), images[:1])
    many = lambda leaf: jnp.broadcast_to(leaf, (config.seeds, *leaf.shape))  # noqa: E731
    return _features(trunk, Trunk(*jax.tree.map(many, (params, state))), task)


def _shares(task: Task) -> tuple[float, ...]:
    """Of the classes among the labelled images of the first seed: the draw is by class."""
    labels = task.parts["train"].arrays["label"][task.labelled[0]]
    return tuple(np.bincount(labels, minlength=len(task.classes)) / len(labels))


def _setting(steps: int, shares: tuple[float, ...] = ()) -> Setting:
    weak = jm.augment.weak()
    plain = jm.augmented(jm.supervised(jm.losses.cross_entropy), weak)
    return Setting(steps, plain, weak, jm.augment.strong(), shares)


def _optimizer(config: Any, steps: int) -> Any:
    return jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=steps, weight_decay=1e-4
    )
