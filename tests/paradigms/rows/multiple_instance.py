"""Learning from bags. ``batch["image"]`` is then a dict: what the network is given."""

from __future__ import annotations

import jax.numpy as jnp

import jaxmed as jm
from rows._row import Row

WHOLE = ("classification", "regression")


def bags(batch: dict) -> dict:
    """Bags of two or three images."""
    image = jnp.stack([batch["image"], batch["unlabelled"], batch["image"][::-1]], axis=1)
    mask = jnp.arange(3) < 2 + jnp.arange(len(image))[:, None] % 2
    return {**batch, "image": {"image": image, "bag_mask": mask}}


def pooled(pooling: str, **options) -> Row:
    return Row(
        network=lambda trunk, task: jm.multiple_instance(
            trunk, pooling, classes=task.outputs, **options
        ),
        batch=bags,
        tasks=WHOLE,
        norms=("batch", "group"),
    )


ROWS = {
    "multiple_instance by lse": pooled("lse"),
    "multiple_instance by gated_attention": pooled("gated_attention", hidden=4),
    "multiple_instance by additive": pooled("additive", hidden=4),
    "multiple_instance by dual_stream": pooled("dual_stream", hidden=4),
    "multiple_instance by transformer": pooled("transformer", width=4, heads=2, layers=1),
}
