"""Likelihoods of Boltzmann machines, restricted or deep, and of belief networks, on small images.

    jaxmed train energy --dataset mnist --hidden 20 --seed 0

Persistent contrastive divergence with centred units, plain gradient steps whose rate falls to zero,
pixels drawn anew from their grey values at each step. The test digits are drawn once, from a seed
of their own, and their mean log-likelihood is in nats: exactly, by all states of up to 25 units on
one side; beyond, the partition function is bracketed by annealing from both ends. A `boltzmann` of
several layers has a lower bound by mean field, and may begin with layers that were trained one by
one (`--layer-epochs`). A `belief` network, layer upon layer (`--epochs` of each), has one by draws
of its recognition, and the partition function of its top.

Published on MNIST: -84.6 nats, a bound, for a deep Boltzmann machine of 500 and 1,000 units; -137.6
for a mixture of 500 Bernoulli distributions (Salakhutdinov and Hinton 2009). Measured with 20
hidden units, three seeds: -136.5, -136.0, -135.4, exactly, each some five minutes of two CPU cores;
with 500 (`--hidden 500 --steps 5`): -85.1 (-86.1 to -84.2); a bound of such a deep machine
(`--model boltzmann --hidden 500 1000 --layer-epochs 10`): -90.7 (docs/paradigms/energy.md). Of a
core's time, an epoch of 60,000 digits takes some 7 seconds with 500 units, 3 more a further Gibbs
step (`--steps`), 30 to 40 with two layers of 500 and 1,000; annealing at 2,000 temperatures half a
minute with 500 units.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed.cli import one_of
from jaxmed.report import DensityResults, split_sizes, stage

from .._common.sets import DIGITS, GREY
from ._digits import parts_of
from ._machines import Trained, drawn_images, likelihood, trained

GRID = {"hidden": ((20,),), "seed": (0, 1, 2)}
_EXACT = 22  # Units whose states are all added up.
_NAMES = {"rbm": "Boltzmann machine", "boltzmann": "Boltzmann machine", "belief": "belief network"}


@dataclasses.dataclass(frozen=True)
class Config:
    """One training and test.

    Args:
        model: `rbm`, of one hidden layer; `boltzmann` or `belief`, of several.
        dataset: `mnist`, `usps`, or a grey set of MedMNIST with one label an image.
        hidden: units of each hidden layer, lowest first.
        seed: of parameters, order of batches, chains and pixels.
        epochs: passes over the training set; of `belief`, for each layer.
        layer_epochs: passes for each layer of a `boltzmann` before all learn together; 0 for none.
        batch: images of a step.
        learning_rate: at the start; it falls to 0 along a straight line.
        momentum: of the gradient steps.
        chains: number of persistent chains.
        steps: Gibbs steps between two gradients.
        centre: whether units are centred.
        sparsity: weight of the penalty on hidden units' activity.
        examples: training images used at most, of a fixed order; by default all.
        temperatures: of annealing, where the partition function is not a sum.
        annealed: chains of annealing.
        bound_draws: draws of hidden layers for the bound of `belief`.
        drawn: images drawn for the report.
        draw_steps: Gibbs steps of each.
    """

    model: Literal["rbm", "boltzmann", "belief"] = "rbm"
    dataset: str = one_of("mnist", (*DIGITS, *GREY), strict=False)
    hidden: tuple[int, ...] = (20,)
    seed: int = 0
    epochs: int = 40
    layer_epochs: int = 0
    batch: int = 100
    learning_rate: float = 0.1
    momentum: float = 0.5
    chains: int = 100
    steps: int = 1
    centre: bool = True
    sparsity: float = 0.0
    examples: int | None = None
    temperatures: int = 2000
    annealed: int = 100
    bound_draws: int = 10
    drawn: int = 40
    draw_steps: int = 1000


def run(config: Config, out: Path) -> DensityResults:
    """Train, estimate the partition function, measure the test digits, draw some."""
    if config.model == "rbm" and len(config.hidden) != 1:
        raise ValueError(f"--hidden {config.hidden}: an rbm has one layer, others several")
    if config.layer_epochs and config.model != "boltzmann":
        raise ValueError(
            f"--layer-epochs {config.layer_epochs}: a {config.model} has --epochs alone"
        )
    seconds: dict[str, float] = {}
    key = jax.random.key(config.seed)
    with stage(seconds, "data"):
        parts, _ = parts_of(config.dataset, config.examples)
        images = {part: jm.data.column(source, "image") for part, source in parts.items()}
        mean = images["train"].mean(0)
    with stage(seconds, "training"):
        found = trained(config, images["train"], out)
    with stage(seconds, "partition function"):
        log_z = _log_z(config, jm.stream(key, "log_z"), found)
    measure = "log_likelihood" if config.model == "rbm" else "log_likelihood_bound"
    with stage(seconds, "evaluation"):
        metrics: dict[str, Any] = {
            f"{part}_{measure}": likelihood(config, found, rows[:10_000], log_z, part)
            for part, rows in images.items()
        }
        drawn = drawn_images(jm.stream(key, "drawn"), config, found, mean.size)
    shape = mean.shape[:2]
    pixels = mean.size
    independent = _independent(mean, images["test"])
    drawings = {
        "test digits": images["test"][: config.drawn, ..., 0],
        f"drawn: means of pixels after {config.draw_steps} further Gibbs steps of the chains":
            drawn.reshape(-1, *shape),
    }  # fmt: skip
    if config.model == "rbm":
        drawings["weights of hidden units"] = _scaled(
            np.asarray(found.restricted["kernel"]).T[: config.drawn].reshape(-1, *shape)
        )
    layers = " and ".join(map(str, config.hidden))
    return DensityResults(
        title=f"{config.dataset}, {_NAMES[config.model]} of {layers} hidden units",
        classes=(),
        metrics={**metrics, "log_z": log_z},
        headline=(f"test_{measure}", "log_z"),
        description=(
            f"A {_NAMES[config.model]} of {pixels} pixels and {layers} hidden units, trained for "
            f"{config.epochs} epochs{_told(config)} on {len(images['train'])} digits. Independent "
            f"pixels with the training set's means have {independent:.1f} nats on the same test "
            "digits."
        ),
        data=jm.report.DataSummary(splits=split_sizes(parts)),
        drawings=drawings,
    ).replace(
        history=found.history, seed=config.seed, seconds=seconds, notes=tuple(parts["test"].notes)
    )


def _told(config: Config) -> str:
    if config.model == "belief":
        return " a layer"
    return f", {config.layer_epochs} a layer before," if config.layer_epochs else ""


def _log_z(config: Config, key: Any, found: Trained) -> Any:
    params = found.restricted
    sides = params["visible_bias"].size, params["hidden_bias"].size
    if min(sides) <= _EXACT:
        return gen.log_partition(None, params)
    # The chains have seen the last steps of learning, and go on from there.
    start = jnp.resize(found.chains, (config.annealed, sides[0]))
    begun = gen.gibbs(jm.stream(key, "start"), params, start, steps=config.draw_steps)
    return gen.log_partition(
        key, params, method="bracket", chains=config.annealed, temperatures=config.temperatures,
        start=begun,
    )  # fmt: skip


def _independent(mean: np.ndarray, images: np.ndarray) -> float:
    """Nats a digit of pixels that know nothing of each other, on the same binary digits."""
    p = np.clip(mean.ravel().astype(np.float64), 1e-3, 1 - 1e-3)
    shown = jnp.asarray(images[:10_000])
    v = np.asarray(gen.binarised(jm.stream(jax.random.key(0), "test"), shown, "draw"))
    return float((v @ np.log(p) + (1 - v) @ np.log1p(-p)).mean())


def _scaled(kernels: np.ndarray) -> np.ndarray:
    """Each unit's weights with 0 at middle grey."""
    most = np.abs(kernels).max((1, 2), keepdims=True)
    return 0.5 + 0.5 * kernels / np.where(most > 0, most, 1)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
