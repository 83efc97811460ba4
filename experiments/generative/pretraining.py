"""Classify after layers that were trained without labels: belief networks, autoencoders.

    jaxmed train pretraining --dataset mnist --method belief --seed 0

Each method begins the same network of sigmoid layers: with random weights (`none`), with Boltzmann
machines one on the other (`belief`), or with autoencoders one on the other, `plain`, `denoising`
(a quarter of the pixels set to 0), `sparse` or `contractive`. `boltzmann` begins a deep Boltzmann
machine, all layers at once (with `--greedy` each by itself before), and goes on through its mean
field. All images are seen without labels; then head and layers learn from those that have one,
`--labels` of them.

Published on MNIST, all labels: 1.2 % error for a deep belief network, .95 % for a deep Boltzmann
machine, 1.6 % from random weights (Salakhutdinov and Hinton 2009). Measured with the smaller layers
here: 1.5 to 1.6 % by `belief`, 1.7 to 1.8 % by `none` (docs/paradigms/energy.md). Of a core's time:
some 2 to 4 minutes with MNIST, by `boltzmann` 8, of which most goes back through its mean field
(`--epochs`).
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed.cli import one_of
from jaxmed.report import Results, class_pictures, classification, split_sizes, stage

from .._common.sets import DIGITS, GREY
from ._digits import parts_of

METHODS = ("none", "belief", "boltzmann", "plain", "denoising", "sparse", "contractive")
GRID = {"method": METHODS, "seed": (0, 1, 2)}


@dataclasses.dataclass(frozen=True)
class Config:
    """One training and test.

    Args:
        method: how the layers begin.
        dataset: `mnist`, `usps`, or a grey set of MedMNIST with one label an image.
        hidden: units of each layer, lowest first.
        labels: training images whose label is used, of a fixed order; by default all.
        examples: training images used at most; by default all.
        seed: of parameters, order of batches and draws.
        layer_epochs: passes over all images for each layer; for `boltzmann` for all together.
        greedy: whether the layers of `boltzmann` are trained one by one first, as long each.
        epochs: passes over the images with a label.
        batch: images of a step.
        layer_rate: learning rate of Boltzmann machines, falling to 0.
        learning_rate: of autoencoders, and of the layers under a head, along a cosine.
        sparsity: weight of the mean code of `sparse`.
        contraction: weight of the squared derivative of `contractive`.
    """

    method: Literal[METHODS] = "belief"  # pyright: ignore[reportInvalidTypeForm]
    dataset: str = one_of("mnist", (*DIGITS, *GREY), strict=False)
    hidden: tuple[int, ...] = (500, 500)
    labels: int | None = None
    examples: int | None = None
    seed: int = 0
    layer_epochs: int = 10
    greedy: bool = False
    epochs: int = 20
    batch: int = 100
    layer_rate: float = 0.05
    learning_rate: float = 1e-3
    sparsity: float = 0.01
    contraction: float = 1e-4


def run(config: Config, out: Path) -> Results:
    """Train the layers, then all of it under a head, and measure the test images."""
    if config.greedy and config.method != "boltzmann":
        raise ValueError(f"--greedy is of --method boltzmann; {config.method} always is")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        parts, classes = parts_of(config.dataset, config.examples)
        # One row an image, which every layer's decoder gives back.
        rows = {
            part: jm.data.column(source, "image").reshape(len(source), -1)
            for part, source in parts.items()
        }
        labels = {part: jm.data.column(source, "label") for part, source in parts.items()}
    known = np.random.default_rng(1).permutation(len(rows["train"]))[: config.labels]
    network = (
        gen.deep_boltzmann(config.hidden)
        if config.method == "boltzmann"
        else gen.belief_network(config.hidden)
    )
    with stage(seconds, "layers"):
        params = _layers(config, rows["train"], out)
    if params is not None:
        network = jm.paradigms.pretrained(network, params)
    network = jm.with_heads(network, {"label": nn.Dense(len(classes))})
    learning = {"image": rows["train"][known], "label": labels["train"][known]}
    batches = jm.data.batches(learning, min(config.batch, len(known)), seed=config.seed)
    optimizer = jm.train.optimizer(
        "adam", config.learning_rate, schedule="cosine", steps=config.epochs * len(batches)
    )
    objective = jm.supervised(jm.losses.cross_entropy, output="label")
    learner = jm.learner(network, objective, optimizer)
    with stage(seconds, "training"):
        result = jm.fit(
            learner, batches, seed=config.seed, epochs=config.epochs, out=out / "head",
            devices=jm.train.Placement(compile_epochs=True),
        )  # fmt: skip
    with stage(seconds, "evaluation"):
        predict = jax.jit(learner.predict)
        logits = [
            np.asarray(predict(result.state, rows["test"][i : i + 1000])["label"])
            for i in range(0, len(rows["test"]), 1000)
        ]
        results = classification(
            labels["test"],
            special.softmax(np.concatenate(logits), axis=-1),
            task="binary" if len(classes) == 2 else "multi-class",
            classes=classes,
            cases=parts["test"].case_ids,
            title=f"{config.dataset}, {config.method}, {len(known)} labels",
            description=(
                f"Layers of {' and '.join(map(str, config.hidden))} units, begun by the method "
                f"{config.method!r} on {len(rows['train'])} images without labels, then trained "
                f"for {config.epochs} epochs on {len(known)} labels."
            ),
            splits=split_sizes(parts, classes=classes),
            history=result.history,
            seconds=seconds,
            notes=tuple(parts["test"].notes),
        )
        images = [parts["test"][i]["image"] for i in range(len(parts["test"]))]
        pictures = class_pictures(images, results.scores, classes=classes)
    return results.replace(pictures=pictures)


def _layers(config: Config, rows: np.ndarray, out: Path) -> Any:
    """The parameters that the network begins with; None for its own."""
    if config.method == "none":
        return None
    batches = jm.data.batches({"image": rows}, config.batch, seed=config.seed)
    steps = config.layer_epochs * len(batches)
    falling = jm.train.schedule("poly", config.layer_rate, steps, power=1.0)
    options: dict[str, Any] = {
        "epochs": config.layer_epochs, "seed": config.seed,
        "devices": jm.train.Placement(compile_epochs=True),
    }  # fmt: skip
    if config.method == "boltzmann":
        optimizer = jm.train.optimizer("momentum", falling, momentum=0.5)
        network = gen.deep_boltzmann(config.hidden)
        if config.greedy:
            alone = gen.deep_layers(config.hidden, optimizer)
            done = gen.fit_layers(alone, batches, out=out / "layers", **options)
            begun = gen.deep_from_rbms([one.state.params["net"] for one in done])
            network = jm.paradigms.pretrained(network, begun)
        learner = jm.learner(network, gen.stochastic_approximation(steps=2), optimizer)
        return jm.fit(learner, batches, out=out / "machine", **options).state.params["net"]
    sizes = (rows.shape[1], *config.hidden)
    learners = [
        _layer(config, below, above, falling, steps) for below, above in itertools.pairwise(sizes)
    ]
    found = gen.fit_layers(learners, batches, out=out / "layers", **options)
    return gen.from_rbms([one.state.params["net"] for one in found])


def _layer(config: Config, below: int, above: int, falling: Any, steps: int) -> Any:
    """One layer's learner: a Boltzmann machine, or an autoencoder whose code is its sigmoids."""
    network = gen.rbm(above)
    if config.method == "belief":
        objective = gen.contrastive_divergence()
        return jm.learner(network, objective, jm.train.optimizer("momentum", falling, momentum=0.5))
    objective = jm.paradigms.autoencoder(
        _masked if config.method == "denoising" else None,
        sparsity=config.sparsity if config.method == "sparse" else 0.0,
        decoder=jm.networks.mlp(below, hidden=()),
        output="features",
    )
    if config.method == "contractive":
        objective = jm.weighted(
            {"image": objective, "code": jm.paradigms.contractive()}, {"code": config.contraction}
        )
    optimizer = jm.train.optimizer("adam", config.learning_rate, schedule="cosine", steps=steps)
    return jm.learner(network, objective, optimizer)


def _masked(key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """A view without a quarter of the pixels."""
    kept = jax.random.bernoulli(key, 0.75, batch["image"].shape)
    return {**batch, "image": jnp.where(kept, batch["image"], 0)}


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
