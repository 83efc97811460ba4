"""Diffusion and flows, on denoisers of their own."""

from __future__ import annotations

import jaxmed as jm
from jaxmed import generative as gen
from rows._row import CLASSES, Row, Tiny


def denoiser(objective, **options) -> Row:
    """An objective on a tiny denoiser, whatever the task and its trunk."""
    network = gen.timed(jm.from_linen(Tiny(1, True, "dropout")), classes=CLASSES)
    return Row(
        lambda task: objective,
        network=lambda trunk, task: network,
        tasks=("classification",),
        norms=("dropout",),
        **options,
    )


ROWS = {
    "denoising": denoiser(gen.denoising(gen.edm()), across=True),
    "denoising by classes": denoiser(gen.denoising(gen.flow(), label="label", drop=0.2)),
    "denoising of noise": denoiser(gen.denoising(gen.ddpm("linear", predicts="noise"))),
}
