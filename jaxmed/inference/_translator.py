"""A trained network that makes one image of another, and what is done before and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, PyTree, as_network, pick
from jaxmed.data import Scan, resample_spacing, to_space
from jaxmed.inference._intensities import check_image, check_shape, normalised
from jaxmed.inference._sliding import sliding_window


@dataclass(frozen=True)
class TranslationRecipe:
    """Pre- and postprocessing of an image for a network that makes another image of it.

    Attributes:
        channels: names of the channels that the network is given.
        targets: names of those that it makes.
        patch: spatial shape of the network's input.
        net: the network, from images to images in its ``output``.
        spacing: voxel edge lengths, in millimetres, to which images are brought; 0 along an axis
            that is left as it is, and by default along all.
        normalisation: of each image's channels, as :func:`jaxmed.data.normalise` names it; or
            ``"linear"``, the same map for every image.
        linear: gain and offset of the ``"linear"`` normalisation: pictures in [0, 1] come to
            [-1, 1] by ``(2, -1)``.
        scale: gain and offset from what the network says to intensities of the file: ``(0.5, 0.5)``
            brings [-1, 1] back to [0, 1].
        bounds: lowest and highest intensity that is written; None for any.
        overlap: of neighbouring patches, whose answers are averaged.
        output: the network's endpoint of images.
    """

    channels: tuple[str, ...]
    targets: tuple[str, ...]
    patch: tuple[int, ...]
    net: Network | nn.Module
    spacing: tuple[float, ...] = ()
    normalisation: Literal["zscore", "unit", "percentile", "linear"] = "zscore"
    linear: tuple[float, float] = (1.0, 0.0)
    scale: tuple[float, float] = (1.0, 0.0)
    bounds: tuple[float, float] | None = None
    overlap: float = 0.5
    output: str = "logits"

    def __post_init__(self) -> None:
        check_shape("patch", self.patch)
        if len(self.patch) not in (2, 3) or not self.channels or not self.targets:
            raise ValueError(
                "a translation is of pictures or volumes with channels, got the patch "
                f"{self.patch}, channels {self.channels} and targets {self.targets}"
            )
        if self.spacing and len(self.spacing) != len(self.patch):
            raise ValueError(
                f"spacing and patch name the same axes, got {self.spacing} and {self.patch}"
            )
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds are (lowest, highest), got {self.bounds}")

    @property
    def task(self) -> str:
        """What such a model is for."""
        return "translation"

    @property
    def members(self) -> int:
        """Networks of the model."""
        return 1

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
        return as_network(self.net)


class Translator(NamedTuple):
    """A network that translates images, with its weights; made by :func:`translator`.

    Attributes:
        recipe: pre- and postprocessing.
        params: the network's parameters.
        state: the network's state.
        apply: ``(params, state, images) -> images``, compiled at the first call.
    """

    recipe: TranslationRecipe
    params: PyTree
    state: PyTree
    apply: Callable[[PyTree, PyTree, Array], Array]

    def predict(self, images: Array) -> Array:
        """Map patches ``(batch, *patch, channels)`` to ``(batch, *patch, targets)``."""
        return self.apply(self.params, self.state, images)


def translator(recipe: TranslationRecipe, params: PyTree, state: PyTree) -> Translator:
    """Combine a recipe and weights.

    Args:
        recipe: the recipe.
        params: parameters of ``recipe.network()``: of :func:`jaxmed.generative.pix2pix` the
            generator's, of one direction of :func:`jaxmed.generative.cycle` those under its name.
        state: likewise.

    Returns:
        The translator.
    """
    network = recipe.network()

    @jax.jit
    def apply(params: PyTree, state: PyTree, images: Array) -> Array:
        made = pick(network.apply(params, state, images)[0], recipe.output, "network")
        wanted = (*images.shape[:-1], len(recipe.targets))
        if made.shape != wanted:
            raise ValueError(
                f"the network makes {made.shape} of {images.shape}, not the {len(wanted) - 2}D "
                f"images of {len(recipe.targets)} channel(s) {recipe.targets} that the recipe names"
            )
        gain, offset = recipe.scale
        return gain * made.astype(jnp.float32) + offset

    return Translator(recipe, params, state, apply)


def translate(model: Translator, scan: Scan, *, axis: int = -1, size: int = 1) -> Scan:
    """Translate an image, in the space of the file it came from.

    A network of volumes reads a volume in windows whose answers are averaged, at the voxel size of
    training; one of pictures a picture, or a volume slice by slice, each normalised by itself as
    in training, so that neighbouring slices may differ in brightness.

    Args:
        model: the translator.
        scan: the image, for a network of volumes turned as in training (``read_image(path,
            canonical=True)``).
        axis: of a volume that a network of pictures reads, the axis of ``scan.array`` across which
            slices lie.
        size: windows at once.

    Returns:
        The image, (*spatial, targets) float32, on the grid of ``scan.file``.

    Raises:
        ValueError: another rank or other channels than the network's, or an answer that is not
            finite.

    Examples:
        >>> from jaxmed.core import Network
        >>> from jaxmed.data import Space
        >>> double = Network(lambda key, x: ({}, {}), lambda p, s, x, **_: ({"logits": 2 * x}, s))
        >>> recipe = TranslationRecipe(("t1",), ("t2",), (2, 2), double, normalisation="linear")
        >>> scan = Scan(np.ones((3, 4, 1)), np.eye(3), Space((3, 4), np.eye(3)))
        >>> made = translate(translator(recipe, {}, {}), scan).array
        >>> made.shape, float(made.min())
        ((3, 4, 1), 2.0)
    """
    recipe = model.recipe
    rank = len(scan.affine) - 1
    if len(recipe.patch) == 2 and rank == 3:
        rows = range(scan.array.shape[:rank][axis])
        check_image(np.take(scan.array, 0, axis % rank), 2, recipe.channels)
        made = np.stack(
            [_translated(model, np.take(scan.array, i, axis % rank), size) for i in rows],
            axis % rank,
        )
    else:
        check_image(scan.array, len(recipe.patch), recipe.channels)
        near = _at_spacing(recipe, scan)
        made = _translated(model, near.array, size)
        scan = scan._replace(affine=near.affine)
    if not np.isfinite(made).all():
        raise ValueError("what was made is not finite: the network has diverged, or the image is")
    if recipe.bounds is not None:
        made = np.clip(made, *recipe.bounds)
    return Scan(to_space(made, scan.affine, scan.file), scan.file.affine, scan.file)


def _translated(model: Translator, image: np.ndarray, size: int) -> np.ndarray:
    recipe = model.recipe
    ready = normalised(image, recipe.normalisation, recipe.linear).astype(np.float32)
    outside = recipe.linear[1] if recipe.normalisation == "linear" else 0.0
    return np.asarray(
        sliding_window(
            model.predict, ready, recipe.patch, overlap=recipe.overlap, size=size, value=outside
        ),
        np.float32,
    )


def _at_spacing(recipe: TranslationRecipe, scan: Scan) -> Scan:
    """The scan at the voxel size of training."""
    wanted = recipe.spacing or (0.0,) * len(recipe.patch)
    spacing = [new or old for new, old in zip(wanted, scan.spacing, strict=True)]
    # Headers are rounded: a hundredth of a voxel is no difference in resolution.
    return (
        scan if np.allclose(scan.spacing, spacing, rtol=0.01) else resample_spacing(scan, spacing)
    )
