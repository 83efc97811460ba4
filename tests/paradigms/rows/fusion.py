"""Several modalities in one network; ``batch["image"]`` is then a dict."""

from __future__ import annotations

import jax.numpy as jnp

import jaxmed as jm
from rows._row import Row

WHOLE = ("classification", "regression")


def two_scans(batch: dict) -> dict:
    """Two images a case, of which every other case lacks the second."""
    image = batch["image"]
    present = jnp.stack([jnp.ones(len(image)), jnp.arange(len(image)) % 2], axis=1)
    return {**batch, "image": {"a": image, "b": image[::-1], "present": present}}


def two_channels(batch: dict) -> dict:
    """The same as channels of one image, the first of its channels."""
    image = batch["image"][..., :1]
    present = jnp.stack([jnp.ones(len(image)), jnp.arange(len(image)) % 2], axis=1)
    both = jnp.concatenate([image, image[::-1]], axis=-1)
    return {**batch, "image": {"image": both, "present": present}}


def censored(batch: dict) -> dict:
    """Times, of which every third is censored."""
    rows = jnp.arange(len(batch["image"]), dtype=jnp.float32)
    return {**batch, "survival": jnp.stack([rows // 2 + 1, (rows % 3 > 0) * 1.0], axis=1)}


def fused(how: str, **options) -> Row:
    return Row(
        network=lambda trunk, task: jm.paradigms.fuse(
            {"a": trunk, "b": trunk}, how, classes=task.outputs, drop=0.3, **options
        ),
        batch=two_scans,
        tasks=WHOLE,
        norms=("batch", "group"),
    )


ROWS = {
    "fuse by concat": fused("concat"),
    "fuse by attention": fused("attention"),
    "fuse by film": fused("film", main="a"),
    "fuse of logits": Row(
        network=lambda trunk, task: jm.paradigms.fuse(
            {"a": trunk, "b": trunk}, "mean", reads="logits", drop=0.3
        ),
        batch=two_scans,
        norms=("batch", "group"),
    ),
    "fuse_channels": Row(
        network=lambda trunk, task: jm.paradigms.fuse_channels(trunk, drop=0.3),
        batch=two_channels,
    ),
    "proportional_hazards": Row(
        lambda task: jm.paradigms.proportional_hazards(),
        batch=censored,
        tasks=("regression",),
        across=True,
    ),
}
