"""A trained image-level network: a classifier or a regressor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, PyTree, as_network, pick
from jaxmed.data import Scan, resample_spacing
from jaxmed.inference._intensities import Linear, check_linear, check_shape, normalised
from jaxmed.inference._segmenter import mean_of_members

Task = Literal["binary", "multi-class", "ordinal", "multi-label", "regression"]


@dataclass(frozen=True)
class ImageRecipe:
    """Pre- and postprocessing of an image for an image-level network.

    Attributes:
        task: ``"binary"``, ``"multi-class"`` or ``"ordinal"``: one class of several;
            ``"multi-label"``: independent labels; ``"regression"``: numbers.
        outputs: names of the classes, the labels or the numbers, in the order of the logits.
        channels: names of the image's channels.
        shape: spatial shape of the network's input; other images are resampled to it.
        net: the network. Its ``logits`` are (batch, outputs); for two classes one logit, of the
            second, suffices.
        normalisation: normalisation of each image's channels, as :func:`jaxmed.data.normalise`
            names it; or ``"linear"``, the same map for every image.
        linear: gain and offset of the ``"linear"`` normalisation: ``(2, -1)`` maps [0, 1] to
            [-1, 1]; or a pair for each channel that the network sees.
        offsets: subtracted from the logits of the classes: a network trained with weights of
            classes answers as one trained without, if these are the weights' logarithms.
        repeat: how often a single channel is repeated, for a network of colour images on grey ones.
        members: how many networks of that kind are averaged; their parameters are stacked.
        target: gain and offset of a regression: the numbers are ``gain * logits + offset``, for a
            network trained on scaled ones.
    """

    task: Task
    outputs: tuple[str, ...]
    channels: tuple[str, ...]
    shape: tuple[int, ...]
    net: Network | nn.Module
    normalisation: Literal["zscore", "unit", "percentile", "linear"] = "zscore"
    linear: Linear = (1.0, 0.0)
    target: tuple[float, float] = (1.0, 0.0)
    offsets: tuple[float, ...] = ()
    repeat: int = 1
    members: int = 1

    def __post_init__(self) -> None:
        check_shape("shape", self.shape)
        check_linear(self.linear, self.inputs)
        if self.offsets and len(self.offsets) != len(self.outputs):
            raise ValueError(f"offsets are one per class of {self.outputs}, got {self.offsets}")
        if self.repeat > 1 and len(self.channels) > 1:
            raise ValueError(f"repeat is of a single channel, got the channels {self.channels}")
        if self.members < 1:
            raise ValueError(f"members is at least 1, got {self.members}")
        if self.task not in get_args(Task):
            raise ValueError(f"task is one of {', '.join(get_args(Task))}, got {self.task!r}")
        least = 1 if self.task in ("multi-label", "regression") else 2
        if len(self.outputs) < least or (self.task == "binary" and len(self.outputs) > 2):
            raise ValueError(f"outputs of a {self.task} task cannot be {self.outputs}")

    @property
    def inputs(self) -> int:
        """Channels of the network's input."""
        return len(self.channels) * self.repeat

    def network(self) -> Network:
        """Build the network, without weights."""
        return as_network(self.net)


class ImageModel(NamedTuple):
    """An image-level network with its weights; made by :func:`image_model`.

    Attributes:
        recipe: pre- and postprocessing.
        params: the network's parameters.
        state: the network's state.
        apply: ``(params, state, images) -> (batch, outputs)``, probabilities, or the numbers of a
            regression; compiled at the first call.
    """

    recipe: ImageRecipe
    params: PyTree
    state: PyTree
    apply: Callable[[PyTree, PyTree, Array], Array]

    def predict(self, images: Array) -> Array:
        """Map prepared images ``(batch, *shape, channels)`` to ``(batch, outputs)``."""
        return self.apply(self.params, self.state, images)


def image_model(recipe: ImageRecipe, params: PyTree, state: PyTree) -> ImageModel:
    """Combine a recipe and weights.

    Args:
        recipe: the recipe.
        params: parameters of ``recipe.network()``.
        state: likewise.

    Returns:
        The classifier or regressor.

    Examples:
        >>> from jaxmed.networks import mlp
        >>> recipe = ImageRecipe("regression", ("age",), ("T1",), (4, 4), mlp(1), target=(10, 50))
        >>> params, state = recipe.network().init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))
        >>> image_model(recipe, params, state).predict(jnp.ones((3, 4, 4, 1))).shape
        (3, 1)
    """
    network = recipe.network()
    gain, offset = recipe.target

    def of_one(params: PyTree, state: PyTree, images: Array) -> Array:
        logits = pick(network.apply(params, state, images)[0], "logits", "network")
        logits = logits if logits.ndim > 1 else logits[:, None]
        wanted = len(recipe.outputs)
        if recipe.task == "binary" and logits.shape[1:] == (1,):
            logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
        if logits.shape[1:] != (wanted,):
            raise ValueError(
                f"the network has logits of shape {logits.shape[1:]} an image, the recipe names "
                f"{wanted} outputs {recipe.outputs}"
            )
        if recipe.task == "regression":
            return gain * logits + offset
        if recipe.offsets:
            logits = logits - jnp.asarray(recipe.offsets, logits.dtype)
        return jax.nn.sigmoid(logits) if recipe.task == "multi-label" else jax.nn.softmax(logits)

    @jax.jit
    def apply(params: PyTree, state: PyTree, images: Array) -> Array:
        return mean_of_members(lambda p, s: of_one(p, s, images), params, state, recipe.members)

    return ImageModel(recipe, params, state, apply)


def prepare_image(recipe: ImageRecipe, scan: Scan) -> np.ndarray:
    """Resample and normalise an image as in training.

    Args:
        recipe: the recipe.
        scan: an image; a volume in canonical orientation (``read_image(path,
            canonical=True)``).

    Returns:
        (*shape, channels) float32, the channels as the network takes them.

    Raises:
        ValueError: if the image and the recipe differ in rank or channels.
    """
    rank = len(recipe.shape)
    if len(scan.affine) - 1 != rank or scan.array.ndim != rank + 1:
        raise ValueError(
            f"the network takes images of {rank} spatial axes, this one has the shape "
            f"{scan.space.shape}"
        )
    if scan.array.shape[-1] != len(recipe.channels):
        raise ValueError(
            f"the network was trained on {len(recipe.channels)} channel(s) "
            f"({', '.join(recipe.channels)}), the image has {scan.array.shape[-1]}"
        )
    if scan.space.shape != recipe.shape:
        edges = zip(scan.spacing, scan.space.shape, recipe.shape, strict=True)
        scan = resample_spacing(scan, [gap * old / new for gap, old, new in edges])
    image = scan.array
    if recipe.repeat > 1:  # before the channels are normalised, each perhaps by a pair of its own
        image = np.repeat(image, recipe.repeat, axis=-1)
    return normalised(image, recipe.normalisation, recipe.linear)
