"""Rows of diffusion models and flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jaxmed as jm
from jaxmed import augment
from jaxmed import generative as gen
from jaxmed.core import Variables

from ._saved import class_names

_AVERAGE = 0.999
_STEPS = 18


def diffusion(config: Any, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """Karras's process and Heun's steps."""
    return _model(config, shape, classes, gen.edm(data=0.5), "heun", _STEPS)


def flow(config: Any, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """Straight paths, and Heun's steps along them."""
    return _model(config, shape, classes, gen.flow(), "heun", _STEPS)


def _model(
    config: Any, shape: tuple[int, ...], classes: int, process: gen.Process, method: Any, steps: int
) -> tuple[Any, ...]:
    """What learns, how it draws, by what, and how it is saved: a row of `_models.MODELS`.

    Images are shown as they are and mirrored from left to right: a few hundred are soon known by
    heart. Volumes, whose sides differ, are not mirrored, and are drawn by their structures.
    """
    volumes = len(shape) == 4
    net = jm.networks.denoiser_unet(
        shape[-1],
        widths=(16, 32, 48) if volumes else (48, 96, 96),
        attention=(2,) if volumes else (1, 2),
        classes=classes,
        dropout=0.1,
    )
    conditions = {"label": "label"} if classes else {"map": "map"} if volumes else {}
    objective = gen.denoising(process, drop=0.1 if conditions else 0.0, **conditions)
    if not volumes:
        objective = jm.augmented(objective, augment.flip(axes=1))
    learner = jm.train.parameter_average(
        jm.learner(
            jm.from_linen(net),
            objective,
            jm.train.optimizer(
                "adam", config.learning_rate, schedule="cosine", steps=config.steps,
                warmup=min(100, config.steps // 10), clip=1.0,
            ),
            inputs=("image", *conditions),
        ),
        _AVERAGE,
    )  # fmt: skip
    options = {
        "process": process, "method": method, "steps": steps, "clip": (-1.0, 1.0),
        "map_channels": 2 if volumes else 0, "optional": bool(conditions),
    }  # fmt: skip
    draw = gen.diffusion_sampler(jm.from_linen(net), shape, classes=classes, **options)

    def save(out: Path, variables: Variables) -> None:
        recipe = gen.GenerativeRecipe("diffusion", net, shape, options, class_names(config.data))
        gen.save_generative_model(out, recipe, *variables)

    return learner, draw, tuple(conditions), None, None, save
