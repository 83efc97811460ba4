"""Borders and centres of images: told apart, blanked, exchanged."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxmed.core import View, stream
from jaxmed.core._partners import partners


def inside(size: int, width: float) -> np.ndarray:
    """(1, size, size, 1): whether a pixel is of the centre, a border of this share left out.

    Raises:
        ValueError: a border that leaves no centre, or is none.
    """
    edge = round(width * size)
    if not 0 < 2 * edge < size:
        raise ValueError(f"--border {width}: of {size} pixels it leaves no border or no centre")
    found = np.zeros((1, size, size, 1), bool)
    found[:, edge:-edge, edge:-edge] = True
    return found


def centre(images: Any, width: float) -> Any:
    """The centres alone, cut out."""
    edge = round(width * images.shape[1])
    return images[:, edge:-edge, edge:-edge]


def swap(width: float, into: str = "image") -> View:
    """Each image with the border of another of the batch, put into a field."""

    def view(key, batch):
        images = batch["image"]
        mine = partners(stream(key, "border"), len(images), batch.get("weight"))
        kept = jnp.asarray(inside(images.shape[1], width))
        return {**batch, into: jnp.where(kept, images, images[mine])}

    return view


def exchanged(images: np.ndarray, labels: np.ndarray, width: float, seed: int) -> np.ndarray:
    """Each image with the border of one of another class, drawn by a seed."""
    rng = np.random.default_rng(seed)
    others = [rng.choice(np.flatnonzero(labels != label)) for label in labels]
    return np.where(inside(images.shape[1], width), images, images[others])


def alone(images: np.ndarray, width: float, fill: float) -> np.ndarray:
    """The border alone: what is inside is of one grey."""
    return np.where(inside(images.shape[1], width), np.float32(fill), images)


def blanked(images: np.ndarray, width: float, fill: float) -> np.ndarray:
    """The centre alone: the border is of one grey."""
    return np.where(inside(images.shape[1], width), images, np.float32(fill))
