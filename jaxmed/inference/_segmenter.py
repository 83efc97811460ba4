"""A trained segmentation network with all that is needed to apply it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, as_network, from_linen
from jaxmed.inference._intensities import Linear, check_linear, check_shape
from jaxmed.inference._mirror import mirrored
from jaxmed.networks import UNetPlan, unet


@dataclass(frozen=True)
class Recipe:
    """What is done to a scan before and after the network, and which network it is.

    The network is the U-Net of a ``plan``, or any other, ``net``.

    Attributes:
        classes: names of the classes, the background first.
        channels: names of the image's channels.
        spacing: voxel edge lengths, in millimetres, to which scans are brought; 0 along an axis
            that is left as it is.
        patch: spatial shape of what the network is given at once.
        plan: of the U-Net.
        options: further options of :func:`jaxmed.networks.unet`.
        normalisation: normalisation of each scan's channels, as :func:`jaxmed.data.normalise` names
            it; ``"linear"``, the same map for every scan; or ``"fixed"``, by ``intensities``.
        over: whether its statistics are of all voxels, or of the ``"nonzero"`` ones, to which the
            scan is then cut too: for images whose surroundings were set to zero.
        mirror: spatial axes over whose mirror images predictions are averaged.
        overlap: overlap of neighbouring patches.
        net: a network whose ``logits`` are per voxel, in place of a plan.
        linear: gain and offset of the ``"linear"`` normalisation: pictures in [0, 1] come to
            [-1, 1] by ``(2, -1)``; or a pair for each channel.
        intensities: ``(low, high, mean, sd)`` of each channel for the ``"fixed"`` normalisation:
            CT numbers are clipped to the first two and standardised by the others.
        regions: the class that each output writes, if outputs are overlapping regions, each with a
            probability of its own; in the order in which they are painted. Empty if the outputs
            are the classes, which exclude each other.
        members: how many networks of that kind are averaged; their parameters are stacked.
        cascade: whether the structures that another network found before are further channels of
            the input, one for each class but the background.
        one_piece: whether of all that is found in an image, whatever its class, the largest piece
            joined by faces of voxels is kept (:func:`keep_largest`).
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    plan: UNetPlan | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    normalisation: Literal["zscore", "unit", "percentile", "linear", "fixed"] = "zscore"
    over: Literal["all", "nonzero"] = "all"
    mirror: tuple[int, ...] = ()
    overlap: float = 0.5
    net: Network | nn.Module | None = None
    linear: Linear = (1.0, 0.0)
    intensities: tuple[tuple[float, ...], ...] = ()
    regions: tuple[int, ...] = ()
    members: int = 1
    cascade: bool = False
    one_piece: bool = False

    def __post_init__(self) -> None:
        if len(self.spacing) != len(self.patch):
            raise ValueError(
                f"spacing and patch name the same axes, got {self.spacing} and {self.patch}"
            )
        check_shape("patch", self.patch)
        check_linear(self.linear, len(self.channels))
        if not all(0 <= edge < math.inf for edge in self.spacing):
            raise ValueError(
                f"spacing is millimetres above 0, or 0 for as it is, got {self.spacing}"
            )
        if len(self.classes) < 2:
            raise ValueError(f"classes are the background and at least one, got {self.classes}")
        if self.normalisation == "fixed" and len(self.intensities) != len(self.channels):
            raise ValueError(
                "the fixed normalisation needs (low, high, mean, sd) of each of the channels "
                f"{self.channels}, got intensities {self.intensities}"
            )
        if self.members < 1:
            raise ValueError(f"members is at least 1, got {self.members}")
        if self.plan is not None and self.net is not None:
            raise ValueError("give either plan, of a U-Net, or net, another network, not both")
        if self.options and self.plan is None:
            raise ValueError("options are of the plan's U-Net; net has its own")

    @property
    def inputs(self) -> int:
        """Channels of the network's input."""
        return len(self.channels) + (len(self.classes) - 1 if self.cascade else 0)

    def network(self) -> Network:
        """The network, without weights.

        Raises:
            ValueError: if the recipe names none, as that of a segmenter around one's own ``apply``.
        """
        if self.plan is None and self.net is None:
            raise ValueError("the recipe names no network: give plan, of a U-Net, or net")
        if self.net is None:
            outputs = len(self.regions) or len(self.classes)
            return from_linen(unet(outputs, plan=self.plan, **self.options))
        return as_network(self.net)


class Segmenter(NamedTuple):
    """A network that segments scans; made by :func:`segmenter`.

    Attributes:
        recipe: what is done before and after.
        params: the network's parameters.
        state: the network's state.
        apply: ``(params, state, images) -> (batch, *patch, classes)``, probabilities, compiled at
            the first call. ``_replace(params=..., state=...)`` keeps what was compiled.
        before: of a cascade, the segmenter whose mask is part of this one's input.
    """

    recipe: Recipe
    params: PyTree
    state: PyTree
    apply: Callable[[PyTree, PyTree, Array], Array]
    before: Segmenter | None = None

    def predict(self, images: Array) -> Array:
        """Map patches ``(batch, *patch, channels)`` to the probabilities of the classes."""
        return self.apply(self.params, self.state, images)


def mean_of_members(
    apply: Callable[[PyTree, PyTree], Array], params: PyTree, state: PyTree, members: int
) -> Array:
    """Average what networks of one kind answer, one after the other: memory is that of one."""
    if members == 1:
        return apply(params, state)
    return jnp.mean(jax.lax.map(lambda each: apply(*each), (params, state)), axis=0)


def segmenter(
    recipe: Recipe, params: PyTree, state: PyTree, *, before: Segmenter | None = None
) -> Segmenter:
    """Join a recipe and weights.

    Args:
        recipe: the recipe.
        params: parameters of ``recipe.network()``.
        state: likewise.
        before: of a cascade, the segmenter that looks at a scan first, of the same classes.

    Returns:
        The segmenter.

    Raises:
        ValueError: a recipe of a cascade without the segmenter before it, or the other way round.
    """
    if recipe.cascade != (before is not None):
        raise ValueError(
            "the recipe is of a cascade: name the segmenter before"
            if recipe.cascade
            else "a segmenter before is for a recipe with cascade=True"
        )
    if before is not None and before.recipe.classes != recipe.classes:
        raise ValueError(
            f"the segmenter before has the classes {before.recipe.classes}, not {recipe.classes}"
        )
    network = recipe.network()

    @jax.jit
    def apply(params: PyTree, state: PyTree, images: Array) -> Array:
        def of_one(params: PyTree, state: PyTree) -> Array:
            @jax.jit  # traced once for all mirror images
            def soft(x: Array) -> Array:
                logits = network.apply(params, state, x)[0]["logits"]
                return jax.nn.sigmoid(logits) if recipe.regions else jax.nn.softmax(logits)

            return mirrored(soft, recipe.mirror)(images)

        return mean_of_members(of_one, params, state, recipe.members)

    return Segmenter(recipe, params, state, apply, before)
