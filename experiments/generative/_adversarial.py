"""The row of adversaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optax

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed import networks
from jaxmed.core import Variables

from ._saved import class_names

_AVERAGE = 0.999
_LATENT = 64


def gan(config: Any, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """A styled generator against a critic of patches, by class: a row of `_models.MODELS`.

    Both see what they are shown shifted, cut out, shaded and, of pictures, mirrored: a few hundred
    images are soon known by heart. Volumes are drawn without a condition.
    """
    volumes = len(shape) == 4
    net = networks.style_generator(
        shape[:-1], shape[-1], classes=classes, features=(32, 32, 16) if volumes else (64, 64, 32)
    )
    critic = networks.patch_critic(
        features=(16, 32, 64) if volumes else (48, 96, 128), classes=classes
    )
    learner = jm.train.parameter_average(
        gen.gan(
            net,
            critic,
            optax.adam(config.learning_rate, b1=0.0, b2=0.99),
            # Its kernels are as small as they are drawn; those of the generator are scaled.
            optax.adam(0.25 * config.learning_rate, b1=0.0, b2=0.99),
            latent=_LATENT,
            r1=1.0,
            r1_every=8,
            label="label" if classes else None,
            augment=gen.differentiable_augmentation(p=0.7, flips=() if volumes else 1),
        ),
        _AVERAGE,
    )

    def save(out: Path, variables: Variables) -> None:
        recipe = gen.GenerativeRecipe(
            "gan", net, shape, {"latent": _LATENT}, class_names(config.data)
        )
        gen.save_generative_model(out, recipe, *variables)

    draw = gen.gan_sampler(net, _LATENT, classes=classes)
    return learner, draw, ("label",) if classes else (), None, None, save
