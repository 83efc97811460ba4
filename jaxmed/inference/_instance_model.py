"""A trained network that tells objects apart, and what is done to an image before and after it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, PyTree, as_network, from_linen, pick
from jaxmed.inference._intensities import check_image, check_shape, finite, normalised
from jaxmed.inference._segmenter import mean_of_members
from jaxmed.inference._sliding import sliding_window
from jaxmed.networks import UNetPlan, unet


class Form(Protocol):
    """How objects are written as maps, such as :class:`jaxmed.detection.InstanceForm`."""

    @property
    def channels(self) -> int:
        """Outputs a voxel."""
        ...

    def mirrored(self, outputs: Any, axes: Sequence[int]) -> Array:
        """Turn back what was said of an image that was mirrored along axes."""
        ...

    def find(self, outputs: Any, *, threshold: float, smallest: int) -> np.ndarray:
        """Read the objects (*spatial) from outputs (*spatial, channels)."""
        ...


@dataclass(frozen=True)
class InstanceRecipe:
    """Pre- and postprocessing of an image for a network that tells objects apart.

    Attributes:
        channels: names of the image's channels.
        patch: spatial shape of the network's input.
        form: what the network says of each voxel, and how objects are read from that.
        plan: of the network, a U-Net.
        net: the network, if it is no planned U-Net.
        normalisation: of each image's channels, as :func:`jaxmed.data.normalise` names it.
        threshold: of ``form.find``.
        smallest: voxels of the smallest object.
        mirror: spatial axes over whose mirror images outputs are averaged.
        members: networks, of one kind, whose outputs are averaged; their weights are stacked.
    """

    channels: tuple[str, ...]
    patch: tuple[int, ...]
    form: Form
    plan: UNetPlan | None = None
    net: Network | nn.Module | None = None
    normalisation: Literal["zscore", "unit", "percentile"] = "zscore"
    threshold: float = 0.5
    smallest: int = 15
    mirror: tuple[int, ...] = ()
    members: int = 1

    def __post_init__(self) -> None:
        check_shape("patch", self.patch)
        if (self.plan is None) == (self.net is None):
            raise ValueError("give either plan, of a U-Net, or net, another network")
        if not 0 < self.threshold < 1 or self.smallest < 0:
            raise ValueError(
                "threshold is a probability, and smallest is not negative, got "
                f"{self.threshold} and {self.smallest}"
            )
        if self.members < 1:
            raise ValueError(f"members is 1 or more, got {self.members}")
        if any(not 0 <= a < len(self.patch) for a in self.mirror):
            raise ValueError(
                f"mirror is axes of 0 to {len(self.patch) - 1}, got {tuple(self.mirror)}"
            )

    @property
    def task(self) -> str:
        """What such a model is for."""
        return "instances"

    @property
    def inputs(self) -> int:
        """Channels of the network's input."""
        return len(self.channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the network's input."""
        return self.patch

    def network(self) -> Network:
        """Build the network, without weights."""
        if self.net is not None:
            return as_network(self.net)
        return from_linen(unet(self.form.channels, plan=self.plan))


class InstanceModel(NamedTuple):
    """A network that tells objects apart, with its weights; made by :func:`instance_model`.

    Attributes:
        recipe: pre- and postprocessing.
        params: the network's parameters.
        state: the network's state.
        apply: ``(params, state, images) -> outputs``, compiled at the first call.
    """

    recipe: InstanceRecipe
    params: PyTree
    state: PyTree
    apply: Callable[[PyTree, PyTree, Array], Array]

    def predict(self, images: Array) -> Array:
        """Map patches ``(batch, *patch, channels)`` to outputs ``(batch, *patch, outputs)``."""
        return self.apply(self.params, self.state, images)


def instance_model(recipe: InstanceRecipe, params: PyTree, state: PyTree) -> InstanceModel:
    """Combine a recipe and weights.

    Args:
        recipe: the recipe.
        params: parameters of ``recipe.network()``.
        state: likewise.

    Returns:
        The model.
    """
    network = recipe.network()
    n = len(recipe.mirror)
    subsets = [s for k in range(n + 1) for s in itertools.combinations(recipe.mirror, k)]

    def one(params: PyTree, state: PyTree, images: Array) -> Array:
        total: Any = 0.0
        for subset in subsets:
            turned = jnp.flip(images, [a + 1 for a in subset])
            said = pick(network.apply(params, state, turned)[0], "logits", "network")
            total = total + (recipe.form.mirrored(said, subset) if subset else said)
        return total / len(subsets)

    @jax.jit
    def apply(params: PyTree, state: PyTree, images: Array) -> Array:
        return mean_of_members(lambda p, s: one(p, s, images), params, state, recipe.members)

    return InstanceModel(recipe, params, state, apply)


def prepare_instances(recipe: InstanceRecipe, image: np.ndarray) -> np.ndarray:
    """Normalise an image as in training.

    Args:
        recipe: the recipe.
        image: (*spatial, channels).

    Returns:
        The same shape, float32.

    Raises:
        ValueError: if the image and the recipe differ in rank or channels.
    """
    check_image(image, len(recipe.patch), recipe.channels)
    return normalised(image, recipe.normalisation, (1.0, 0.0)).astype(np.float32)


def find_instances(model: InstanceModel, image: np.ndarray, *, overlap: float = 0.5) -> np.ndarray:
    """Tell the objects of an image apart.

    An image of any size is read in windows whose outputs are averaged, and objects are found in
    the whole: none is cut where two windows meet.

    Args:
        model: the model.
        image: (*spatial, channels), as it was read.
        overlap: share of a window that its neighbour sees too.

    Returns:
        (*spatial) int32, 0 the background.

    Raises:
        ValueError: as :func:`prepare_instances`.
    """
    recipe = model.recipe
    ready = prepare_instances(recipe, image)
    outputs = sliding_window(model.predict, ready, recipe.patch, overlap=overlap, size=1)
    return recipe.form.find(finite(outputs), threshold=recipe.threshold, smallest=recipe.smallest)
