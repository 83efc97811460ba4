"""Boltzmann machines and belief networks of the `energy` experiment: how each is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed.core import Variables


class Trained(NamedTuple):
    """A machine that has learned, and what of it is a restricted one.

    Attributes:
        network: the whole machine's.
        variables: its parameters and state.
        restricted: the parameters whose partition function it has: its own, a deep Boltzmann
            machine's by odd and even layers, the top of a belief network.
        chains: persistent chains of that machine.
        history: of the training; of layers, of the last.
    """

    network: Any
    variables: Any
    restricted: Mapping[str, Any]
    chains: Any
    history: Any


def trained(config: Any, images: np.ndarray, out: Path) -> Trained:
    """Train the configured model on the images, from visible biases at their mean."""
    batches = jm.data.batches({"image": images}, config.batch, seed=config.seed)
    clipped = np.clip(images.mean(0).ravel(), 0.01, 0.99)
    bias = np.log(clipped) - np.log1p(-clipped)

    def optimizer(epochs: int) -> Any:
        rate = jm.train.schedule("poly", config.learning_rate, epochs * len(batches), power=1.0)
        return jm.train.optimizer("momentum", rate, momentum=config.momentum)

    options: dict[str, Any] = {
        "seed": config.seed, "devices": jm.train.Placement(compile_epochs=True),
    }  # fmt: skip
    make = {"rbm": _restricted, "boltzmann": _deep, "belief": _belief}[config.model]
    return make(config, batches, bias, optimizer, out, options)


def _learning(config: Any) -> dict[str, Any]:
    """What all objectives are told."""
    return {
        "steps": config.steps, "chains": config.chains, "centre": config.centre,
        "sparsity": config.sparsity,
    }  # fmt: skip


def _chains(state: Any) -> Any:
    return state.state["obj"]["chains"]


def _restricted(
    config: Any, batches: Any, bias: Any, optimizer: Callable, out: Path, options: Any
) -> Trained:
    network = jm.paradigms.pretrained(gen.rbm(config.hidden[0]), {"visible_bias": bias})
    objective = gen.contrastive_divergence(**_learning(config))
    learner = jm.learner(network, objective, optimizer(config.epochs))
    result = jm.fit(learner, batches, epochs=config.epochs, out=out, **options)
    variables = learner.predicting.get(result.state)
    return Trained(network, variables, variables.params, _chains(result.state), result.history)


def _deep(
    config: Any, batches: Any, bias: Any, optimizer: Callable, out: Path, options: Any
) -> Trained:
    start: dict[str, Any] = {"biases": {"0": bias}}
    if config.layer_epochs:
        layers = gen.deep_layers(config.hidden, optimizer(config.layer_epochs), **_learning(config))
        done = gen.fit_layers(
            layers, batches, epochs=config.layer_epochs, out=out / "layers", **options
        )
        start = gen.deep_from_rbms([one.state.params["net"] for one in done])
    network = jm.paradigms.pretrained(gen.deep_boltzmann(config.hidden), start)
    objective = gen.stochastic_approximation(**_learning(config))
    learner = jm.learner(network, objective, optimizer(config.epochs))
    result = jm.fit(learner, batches, epochs=config.epochs, out=out, **options)
    variables = learner.predicting.get(result.state)
    restricted = gen.as_rbm(variables.params)
    return Trained(network, variables, restricted, _chains(result.state), result.history)


def _belief(
    config: Any, batches: Any, bias: Any, optimizer: Callable, out: Path, options: Any
) -> Trained:
    objective = gen.contrastive_divergence(**_learning(config))
    lowest = jm.paradigms.pretrained(gen.rbm(config.hidden[0]), {"visible_bias": bias})
    networks = [lowest, *(gen.rbm(units) for units in config.hidden[1:])]
    layers = [jm.learner(one, objective, optimizer(config.epochs)) for one in networks]
    done = gen.fit_layers(layers, batches, epochs=config.epochs, out=out / "layers", **options)
    params = gen.from_rbms([one.state.params["net"] for one in done])
    top = done[-1]
    return Trained(
        gen.belief_network(config.hidden), Variables(params, {}), params["top"],
        _chains(top.state), top.history,
    )  # fmt: skip


def drawn_images(key: Any, config: Any, found: Trained, pixels: int) -> np.ndarray:
    """Means of pixels after further Gibbs steps of the chains, (drawn, pixels)."""
    chains = found.chains
    start = jnp.resize(chains, (config.drawn, chains.shape[1]))
    draw = gen.generate if config.model == "belief" else gen.sample
    params = found.variables.params if config.model == "belief" else found.restricted
    images = draw(key, params, config.drawn, steps=config.draw_steps, start=start)
    return np.asarray(images)[:, :pixels]


def likelihood(config: Any, found: Trained, images: np.ndarray, log_z: Any, part: str) -> Any:
    """Nats of an image, or their lower bound, on the same binary pixels whatever the machine."""
    key = jm.stream(jax.random.key(0), part)
    if config.model == "belief":
        return gen.belief_bound(
            key, found.variables.params, images, log_z, binarise="draw", draws=config.bound_draws
        )
    return gen.log_likelihood(
        found.network, found.variables, images, log_z, binarise="draw", key=key
    )
