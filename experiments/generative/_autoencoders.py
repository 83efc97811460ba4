"""Rows of variational autoencoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import optax

import jaxmed as jm
from jaxmed import augment, networks
from jaxmed import generative as gen
from jaxmed.core import Variables

from ._saved import class_names

_AVERAGE = 0.995


def vae(config: Any, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """A latent vector and a learned scale of the voxels."""
    volumes = len(shape) == 4
    features = (8, 16, 32) if volumes else (16, 32, 64)
    net = networks.image_vae(
        shape[:-1], shape[-1], classes=classes, features=features, latent=32, dropout=0.1
    )
    return _model(config, net, shape, classes)


def ladder(config: Any, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """Latent maps at each scale, the finer given the coarser."""
    volumes = len(shape) == 4
    features = (8, 16, 32) if volumes else (16, 32, 64)
    net = networks.ladder_vae(
        shape[:-1], shape[-1], classes=classes, features=features, latent=4, dropout=0.1
    )
    return _model(config, net, shape, classes)


def _model(config: Any, net: nn.Module, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """What learns, how it draws, by what, and how it is saved: a row of `_models.MODELS`.

    The divergence comes to count over the first fifth of the steps. What is drawn are the voxels'
    means, which are smoother than any image.
    """
    inputs = ("image", "label") if classes else "image"
    warm_up = optax.linear_schedule(0.0, 1.0, max(1, config.steps // 5))
    objective = gen.vae(beta=warm_up, inputs=inputs)
    if len(shape) == 3:
        objective = jm.augmented(objective, augment.flip(axes=1))
    learner = jm.train.parameter_average(
        jm.learner(
            jm.from_linen(net),
            objective,
            jm.train.optimizer(
                "adam", config.learning_rate, schedule="cosine", steps=config.steps, clip=100.0
            ),
            inputs=inputs,
        ),
        _AVERAGE,
    )

    def save(out: Path, variables: Variables) -> None:
        recipe = gen.GenerativeRecipe("vae", net, shape, {}, class_names(config.data))
        gen.save_generative_model(out, recipe, *variables)

    draw = gen.vae_sampler(net, classes=classes)
    return learner, draw, ("label",) if classes else (), None, None, save
