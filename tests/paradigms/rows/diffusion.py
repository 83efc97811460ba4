"""Diffusion and flows, on denoisers of their own."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

import jaxmed as jm
from jaxmed import generative as gen
from rows._row import CLASSES, Row, Tiny


def denoiser(objective, mapped=False, **options) -> Row:
    """An objective on a tiny denoiser, whatever the task and its trunk; with a map, or without."""
    timed = gen.timed(jm.from_linen(Tiny(1, True, "dropout")), classes=CLASSES)
    shown = lambda x: {"image": x, "map": x} if mapped else x  # noqa: E731
    network = timed._replace(init=lambda key, x: timed.init(key, shown(x)))
    return Row(
        lambda task: objective,
        network=lambda trunk, task: network,
        tasks=("classification",),
        norms=("dropout",),
        **options,
    )


def paired(batch: dict) -> dict:
    """A batch with a source for each image."""
    return {**batch, "source": batch["image"][:, ::-1]}


class Halved(nn.Module):
    """A codec of half the voxels along the first axis."""

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.constant(2.0), (1,))
        if isinstance(x, dict) and "latent" in x:
            return {"logits": jnp.repeat(x["latent"], 2, 1) / scale}
        return {"latent": (x["image"] if isinstance(x, dict) else x)[:, ::2] * scale}


CODEC = gen.Codec(jm.from_linen(Halved()), {"scale": jnp.full(1, 2.0)}, {})


ROWS = {
    "denoising": denoiser(gen.denoising(gen.edm())),
    "denoising by classes": denoiser(gen.denoising(gen.flow(), label="label", drop=0.2)),
    "denoising of noise": denoiser(gen.denoising(gen.ddpm("linear", predicts="noise"))),
    "bridging": denoiser(gen.bridging(), mapped=True, batch=paired),
    "latent": denoiser(gen.latent(CODEC, gen.denoising(gen.edm()))),
}
