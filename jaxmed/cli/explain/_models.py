"""A trained model as a network, and images as it sees them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmed.data import Scan
from jaxmed.inference import ImageModel, Segmenter, prepare_image
from jaxmed.inference._segment import given


class Seen(NamedTuple):
    """An image as the network sees it.

    Attributes:
        image: (*shape, channels); of a cascade's last network the masks found before it too.
        answer: what the model says of it, in words.
        target: the output that is explained, and its name.
        where: of a segmenter, the first voxel of the patch in the prepared scan.
    """

    image: np.ndarray
    answer: str
    target: int
    where: tuple[int, ...] | None = None


def shape_of(model: ImageModel | Segmenter) -> tuple[int, ...]:
    """The spatial shape of the network's input."""
    return tuple(model.recipe.shape if isinstance(model, ImageModel) else model.recipe.patch)


def image_channels(model: ImageModel | Segmenter) -> int:
    """Channels of what the network sees that are of the image; a cascade's others are masks."""
    return model.recipe.inputs if isinstance(model, ImageModel) else len(model.recipe.channels)


def outputs_of(model: ImageModel | Segmenter) -> list[str]:
    """What the outputs are called."""
    if isinstance(model, ImageModel):
        return [*model.recipe.outputs]
    recipe = model.recipe
    return [recipe.classes[i] for i in recipe.regions] if recipe.regions else [*recipe.classes]


def see(model: ImageModel | Segmenter, scan: Scan, asked: str | None) -> Seen:
    """Prepare an image, and choose what is explained.

    Args:
        model: a classifier, a regressor, or a segmenter.
        scan: the image, in canonical orientation.
        asked: the name of an output; None for what the model answers.

    Raises:
        ValueError: if there is no such output, or the scan does not fit the model.
    """
    names = outputs_of(model)
    if asked is not None and asked not in names:
        raise ValueError(f"--target: there is no output {asked!r}; there are {', '.join(names)}")
    if isinstance(model, ImageModel):
        return _of_image(model, scan, names, asked)
    return _of_structure(model, scan, names, asked)


def _of_image(model: ImageModel, scan: Scan, names: list[str], asked: str | None) -> Seen:
    image = prepare_image(model.recipe, scan)
    said = np.asarray(model.predict(jnp.asarray(image[None])))[0]
    target = int(said.argmax()) if asked is None else names.index(asked)
    unit = "" if model.recipe.task == "regression" else "probability "
    answer = f"{names[target]}, {unit}{said[target]:.3g}"
    return Seen(image, answer, target)


def _of_structure(model: Segmenter, scan: Scan, names: list[str], asked: str | None) -> Seen:
    """The patch about the middle of the structure, or of the largest one but the background."""
    patch, image = model.recipe.patch, np.asarray(given(model, scan, 1).scan.array)
    short = [max(0, p - n) for p, n in zip(patch, image.shape[:-1], strict=True)]
    image = np.pad(image, [(s // 2, s - s // 2) for s in short] + [(0, 0)], mode="edge")
    corner = tuple((n - p) // 2 for n, p in zip(image.shape[:-1], patch, strict=True))
    first = 0 if model.recipe.regions else 1
    for _ in range(2):  # in the middle of the image, then about what was found there
        found = _answers(model, image[_box(corner, patch)], first)
        sizes = np.bincount(found[found >= 0].ravel(), minlength=len(names))
        target = int(sizes.argmax()) if asked is None else names.index(asked)
        if not sizes[target]:
            break
        middle = np.argwhere(found == target).mean(0).round().astype(int)
        corner = tuple(
            int(np.clip(c + m - p // 2, 0, n - p))
            for c, m, p, n in zip(corner, middle, patch, image.shape[:-1], strict=True)
        )
    seen = image[_box(corner, patch)]
    voxels = int((_answers(model, seen, first) == target).sum())
    return Seen(seen, f"{names[target]}, {voxels} voxels of the patch", target, corner)


def _answers(model: Segmenter, patch: np.ndarray, first: int) -> np.ndarray:
    """The output that each voxel has, -1 for the background."""
    said = np.asarray(model.predict(jnp.asarray(patch[None])))[0]
    if first:
        return np.where(said.argmax(-1) == 0, -1, said.argmax(-1))
    return np.where(said.max(-1) < 0.5, -1, said.argmax(-1))


def _box(corner: tuple[int, ...], patch: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
