"""Rows that draw in two stages: an autoencoder, then a diffusion among its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

import jaxmed as jm
from jaxmed import augment, networks
from jaxmed import generative as gen
from jaxmed.core import Objective, Variables
from jaxmed.data import ArraySource

from ._saved import class_names

_AVERAGE = 0.999
_STEPS = 18
_CODES = 128


def latent(config: Any, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """Latent maps of a variational autoencoder, half as fine as the image along each axis."""
    net = networks.image_vae(
        shape[:-1], shape[-1], latent=4, spatial=True, features=_features(shape), dropout=0.1
    )
    # Far less divergence than of a model that is drawn from: the diffusion is its prior.
    return _model(config, net, gen.vae(beta=0.05), shape, classes)


def vq(config: Any, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """Vectors of a codebook, half as fine as the image along each axis."""
    net = networks.vq_codec(
        shape[:-1], shape[-1], codes=_CODES, latent=4, features=_features(shape), dropout=0.1
    )
    return _model(config, net, gen.vq_vae(codes=_CODES), shape, classes)


def _features(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (16, 32) if len(shape) == 4 else (32, 64)


def _model(
    config: Any, net: nn.Module, objective: Objective, shape: tuple[int, ...], classes: int
) -> tuple[Any, ...]:
    """How it is fitted, how it draws, by what, and how it is saved: a row of `_models.MODELS`.

    A third of the steps are the autoencoder's, the others the diffusion's.
    """
    coarse = (*(-(-n // 2) for n in shape[:-1]), 4)
    denoiser = networks.denoiser_unet(
        4, widths=(64, 64), attention=(1,), classes=classes, dropout=0.1
    )
    options = {"process": gen.edm(data=1.0), "method": "heun", "steps": _STEPS,
               "optional": bool(classes)}  # fmt: skip

    def shown(objective: Objective) -> Objective:
        # Volumes, whose sides differ, are not mirrored.
        return objective if len(shape) == 4 else jm.augmented(objective, augment.flip(axes=1))

    def stage(
        network: Any, objective: Objective, arrays: dict[str, np.ndarray], inputs: Any, steps: int,
        out: Path,
    ) -> Any:  # fmt: skip
        learner = jm.train.parameter_average(
            jm.learner(
                network, objective,
                jm.train.optimizer(
                    "adam", config.learning_rate, schedule="cosine", steps=steps,
                    warmup=min(100, steps // 10), clip=100.0,
                ),
                inputs=inputs,
            ),
            min(_AVERAGE, 1 - 1 / max(2, steps // 10)),
        )  # fmt: skip
        source = ArraySource(arrays)
        batches = jm.data.batches(source, min(config.batch, len(source)), seed=config.seed)
        state = jm.fit(learner, batches, seed=config.seed, steps=steps, out=out).state
        return state, learner.predicting.get(state)

    def fit(arrays: dict[str, np.ndarray], out: Path) -> Variables:
        codec_steps = max(1, config.steps // 3)
        codec = jm.from_linen(net)
        _, found = stage(codec, shown(objective), arrays, "image", codec_steps, out / "codec")
        known = gen.Codec(codec, *found)
        learned = gen.latent(
            known,
            gen.denoising(
                options["process"], label="label" if classes else None, drop=0.1 if classes else 0.0
            ),
            statistics=gen.latent_statistics(known, arrays["image"]),
        )
        state, own = stage(
            gen.latent_network(known, jm.from_linen(denoiser)), shown(learned), arrays,
            ("image", "label") if classes else "image", config.steps - codec_steps, out / "latents",
        )  # fmt: skip
        return gen.latent_variables(state, own)

    def save(out: Path, variables: Variables) -> None:
        recipe = gen.GenerativeRecipe(
            "latent", denoiser, shape, {"codec": net, "latent": coarse, **options},
            class_names(config.data),
        )  # fmt: skip
        gen.save_generative_model(out, recipe, *variables)

    draw = gen.latent_sampler(
        gen.diffusion_sampler(jm.from_linen(denoiser), coarse, classes=classes, **options),
        jm.from_linen(net),
    )
    return None, draw, ("label",) if classes else (), fit, None, save
