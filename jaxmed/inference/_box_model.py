"""A trained network that finds boxes, and what is done to an image before and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, PyTree, as_network, pick
from jaxmed.data import fit_image
from jaxmed.inference._intensities import check_image, check_shape, normalised

_ENDPOINTS = ("boxes", "scores", "labels", "mask")


@dataclass(frozen=True)
class BoxRecipe:
    """Pre- and postprocessing of an image for a network that finds boxes.

    Attributes:
        classes: names of the classes, in the order of the network's labels.
        channels: names of the image's channels.
        shape: spatial shape of the network's input; an image is scaled until it just fits, and
            padded with zeros behind.
        net: the network, of the endpoints ``boxes``, ``scores``, ``labels`` and ``mask``, as
            :func:`jaxmed.detection.detector` makes it.
        normalisation: of each image's channels, as :func:`jaxmed.data.normalise` names it; or
            ``"linear"``, the same map for every image.
        linear: gain and offset of the ``"linear"`` normalisation.
        repeat: how often a single channel is repeated, for a network of colour images on grey ones.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    shape: tuple[int, ...]
    net: Network | nn.Module
    normalisation: Literal["zscore", "unit", "percentile", "linear"] = "zscore"
    linear: tuple[float, float] = (1.0, 0.0)
    repeat: int = 1

    def __post_init__(self) -> None:
        check_shape("shape", self.shape)
        if not self.classes:
            raise ValueError("a recipe names at least one class")
        if self.repeat > 1 and len(self.channels) > 1:
            raise ValueError(f"repeat is of a single channel, got the channels {self.channels}")

    @property
    def task(self) -> str:
        """What such a model is for."""
        return "detection"

    @property
    def members(self) -> int:
        """Networks of the model."""
        return 1

    @property
    def inputs(self) -> int:
        """Channels of the network's input."""
        return len(self.channels) * self.repeat

    def network(self) -> Network:
        """Build the network, without weights."""
        return as_network(self.net)


class BoxModel(NamedTuple):
    """A network that finds boxes, with its weights; made by :func:`box_model`.

    Attributes:
        recipe: pre- and postprocessing.
        params: the network's parameters.
        state: the network's state.
        apply: ``(params, state, images) -> endpoints``, compiled at the first call.
    """

    recipe: BoxRecipe
    params: PyTree
    state: PyTree
    apply: Callable[[PyTree, PyTree, Array], dict[str, Array]]

    def predict(self, images: Array) -> dict[str, Array]:
        """Map prepared images ``(batch, *shape, channels)`` to boxes, in their voxels."""
        return self.apply(self.params, self.state, images)


class FoundInImage(NamedTuple):
    """What was found in one image, the surest first.

    Attributes:
        boxes: (n, 2 * rank) lows then highs, in voxels of the image itself.
        scores: (n,).
        labels: (n,) positions of the classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def box_model(recipe: BoxRecipe, params: PyTree, state: PyTree) -> BoxModel:
    """Combine a recipe and weights.

    Args:
        recipe: the recipe.
        params: parameters of ``recipe.network()``.
        state: likewise.

    Returns:
        The model.
    """
    network = recipe.network()

    @jax.jit
    def apply(params: PyTree, state: PyTree, images: Array) -> dict[str, Array]:
        endpoints = network.apply(params, state, images)[0]
        return {name: pick(endpoints, name, "network") for name in _ENDPOINTS}

    return BoxModel(recipe, params, state, apply)


def prepare_boxes(recipe: BoxRecipe, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit and normalise an image as in training.

    Args:
        recipe: the recipe.
        image: (*spatial, channels).

    Returns:
        (*shape, inputs) float32, and the factors (rank,) by which the image was scaled.

    Raises:
        ValueError: if the image and the recipe differ in rank or channels.
    """
    check_image(image, len(recipe.shape), recipe.channels)
    fitted, scale = fit_image(normalised(image, recipe.normalisation, recipe.linear), recipe.shape)
    fitted = np.repeat(fitted, recipe.repeat, axis=-1) if recipe.repeat > 1 else fitted
    return fitted.astype(np.float32), scale


def find_boxes(model: BoxModel, image: np.ndarray) -> FoundInImage:
    """Find objects in an image.

    Args:
        model: the model.
        image: (*spatial, channels), as it was read.

    Returns:
        The boxes in the image's own voxels, cut at its border.

    Raises:
        ValueError: as :func:`prepare_boxes`.
    """
    fitted, scale = prepare_boxes(model.recipe, image)
    found = jax.tree.map(np.asarray, model.predict(jnp.asarray(fitted[None])))
    return in_image({name: value[0] for name, value in found.items()}, scale, image.shape[:-1])


def in_image(
    found: dict[str, np.ndarray], scale: np.ndarray, shape: tuple[int, ...]
) -> FoundInImage:
    """What a network found in a fitted image, in the image itself.

    Args:
        found: endpoints of one image.
        scale: (rank,) factors by which it was scaled.
        shape: the image's spatial shape.

    Returns:
        Boxes of which something lies within the image.
    """
    boxes = found["boxes"].astype(np.float64) / np.tile(scale, 2)
    boxes = np.clip(boxes, 0, np.tile(shape, 2))
    rank = len(shape)
    keep = found["mask"].astype(bool) & (boxes[:, rank:] > boxes[:, :rank]).all(1)
    return FoundInImage(boxes[keep], found["scores"][keep], found["labels"][keep])
