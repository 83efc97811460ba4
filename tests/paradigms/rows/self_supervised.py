"""Learning from images alone."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed import networks, paradigms
from rows._row import CLASSES, Row, noisy

PLAIN = networks.ProjectionHead(6, hidden=(8,), norm="none")
BATCH = networks.ProjectionHead(6, hidden=(8,), norm="batch")
PATCH = 2


def larger(batch: dict) -> dict:
    """Twice the voxels along each axis: room for tiles."""
    double = dict(batch)
    for name in ("image", "unlabelled", "mask"):
        for axis in range(1, batch["mask"].ndim):
            double[name] = jnp.repeat(double[name], 2, axis=axis)
    return double


def smaller(key, batch):
    """A crop of the middle, one voxel off each edge."""
    image = batch["image"]
    middle = (slice(None), *[slice(1, -1)] * (image.ndim - 2))
    return {**batch, "image": image[middle] + 0.1 * jax.random.normal(key, image[middle].shape)}


def vit(task, norm):
    return networks.vit(CLASSES, patch=PATCH, width=12, depth=1, heads=2, dropout=0.1)


class TinyDecoder(nn.Module):
    """A masked autoencoder's decoder for the tiny images: 9 patches in 2D, 8 in 3D."""

    @nn.compact
    def __call__(self, x, *, train=False):
        grid = {9: (3, 3), 8: (2, 2, 2)}[x["restore"].shape[1]]
        return networks.TokenDecoder(grid, PATCH ** len(grid), width=12, depth=1, heads=2)(x)


def alone(make, **options) -> Row:
    """An objective that looks at no label."""
    return Row(lambda task: make(), **options)


ROWS = {
    "autoencoder": alone(lambda: paradigms.autoencoder(noisy, sparsity=0.1)),
    "autoencoder of vectors": alone(lambda: paradigms.autoencoder(output="features")),
    "contractive": alone(lambda: paradigms.contractive(probes=2)),
    "contractive of a map": alone(
        lambda: paradigms.contractive(method="exact", output="pyramid"), spatial=("2D",)
    ),
    "inpainting": alone(lambda: paradigms.inpainting(holes=2)),
    "rotation": alone(lambda: paradigms.rotation(view=noisy)),
    "relative_position": alone(lambda: paradigms.relative_position(), batch=larger),
    "jigsaw": alone(lambda: paradigms.jigsaw(view=noisy), batch=larger),
    "masked_autoencoder": alone(lambda: paradigms.masked_autoencoder(PATCH)),
    "masked_autoencoder of a transformer": alone(
        lambda: paradigms.masked_autoencoder(PATCH, drop=True, decoder=TinyDecoder()),
        trunk=vit,
        tasks=("classification",),
        norms=("dropout",),
    ),
    "simclr": alone(lambda: paradigms.simclr(noisy, projector=PLAIN)),
    "supervised_contrast": alone(
        lambda: paradigms.supervised_contrast(
            noisy, projector=PLAIN, known=lambda label: label < CLASSES - 1
        ),
    ),
    "dense_contrast": alone(
        lambda: paradigms.dense_contrast(noisy, samples=5, projector=PLAIN),
    ),
    "moco": alone(lambda: paradigms.moco(noisy, queue=20, projector=PLAIN), across=True),
    "byol": alone(
        lambda: paradigms.byol(
            noisy, decay=lambda step: 1 - 0.5 / (step + 1), projector=BATCH, predictor=BATCH
        ),
        padded=False,
    ),
    "simsiam": alone(lambda: paradigms.simsiam(noisy, projector=PLAIN, predictor=PLAIN)),
    "vicreg": alone(lambda: paradigms.vicreg(noisy, projector=PLAIN), across=True),
    "barlow_twins": alone(lambda: paradigms.barlow_twins(noisy, projector=PLAIN)),
    "dino": alone(
        lambda: paradigms.dino(
            noisy,
            crop=smaller,
            crops=2,
            teacher_temperature=lambda step: 0.04 + 0.01 * step,
            head=paradigms.PrototypeHead(7, hidden=(8,), bottleneck=5),
        ),
    ),
}
