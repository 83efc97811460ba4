"""A trained segmentation network with all that is needed to apply it, in memory and on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, from_linen
from jaxmed.inference._mirror import mirrored
from jaxmed.networks import UNetPlan, unet
from jaxmed.train import restore, save

_FILE = "model.json"
_FORMAT = "jaxmed segmenter 1"


class SegmenterError(ValueError):
    """A folder that holds no segmenter; the message says what it is instead."""


# What a traceback shows is the name a user can import.
SegmenterError.__module__ = "jaxmed.inference"


@dataclass(frozen=True)
class Recipe:
    """What is done to a scan before and after the network, and which network it is.

    Attributes:
        classes: names of the classes, the background first.
        channels: names of the image's channels.
        spacing: voxel edge lengths, in millimetres, to which scans are brought.
        patch: spatial shape of what the network is given at once.
        plan: of the U-Net.
        options: further options of :func:`jaxmed.networks.unet`.
        normalisation: normalisation of each scan's channels, as :func:`jaxmed.data.normalise` names
            it.
        over: whether its statistics are of all voxels, or of the ``"nonzero"`` ones, to which the
            scan is then cut too: for images whose surroundings were set to zero.
        mirror: spatial axes over whose mirror images predictions are averaged.
        overlap: overlap of neighbouring patches.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    plan: UNetPlan
    options: Mapping[str, Any] = field(default_factory=dict)
    normalisation: Literal["zscore", "unit", "percentile"] = "zscore"
    over: Literal["all", "nonzero"] = "all"
    mirror: tuple[int, ...] = ()
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if len(self.spacing) != len(self.patch):
            raise ValueError(
                f"spacing and patch name the same axes, got {self.spacing} and {self.patch}"
            )
        if len(self.classes) < 2:
            raise ValueError(f"classes are the background and at least one, got {self.classes}")

    def network(self) -> Network:
        """The network, without weights."""
        return from_linen(unet(len(self.classes), plan=self.plan, **self.options))


class Segmenter(NamedTuple):
    """A network that segments scans; made by :func:`segmenter`.

    Attributes:
        recipe: what is done before and after.
        params: the network's parameters.
        state: the network's state.
        apply: ``(params, state, images) -> (batch, *patch, classes)``, probabilities, compiled at
            the first call. ``_replace(params=..., state=...)`` keeps what was compiled.
    """

    recipe: Recipe
    params: PyTree
    state: PyTree
    apply: Callable[[PyTree, PyTree, Array], Array]

    def predict(self, images: Array) -> Array:
        """Map patches ``(batch, *patch, channels)`` to the probabilities of the classes."""
        return self.apply(self.params, self.state, images)


def segmenter(recipe: Recipe, params: PyTree, state: PyTree) -> Segmenter:
    """Join a recipe and weights.

    Args:
        recipe: the recipe.
        params: parameters of ``recipe.network()``.
        state: likewise.

    Returns:
        The segmenter.
    """
    network = recipe.network()

    @jax.jit
    def apply(params: PyTree, state: PyTree, images: Array) -> Array:
        def soft(x: Array) -> Array:
            return jax.nn.softmax(network.apply(params, state, x)[0]["logits"])

        return mirrored(soft, recipe.mirror)(images)

    return Segmenter(recipe, params, state, apply)


def save_segmenter(folder: str | os.PathLike, model: Segmenter) -> Path:
    """Save a segmenter as ``folder/model.json`` and the weights in ``folder/model``.

    Returns:
        The path of ``model.json``, which is written last.
    """
    folder = Path(folder)
    path = folder / _FILE
    save(folder / "model", 0, {"params": model.params, "state": model.state}, {}, keep=1)
    text = json.dumps({"format": _FORMAT, **asdict(model.recipe)}, indent=2)
    partial = path.with_name(f".writing-{os.getpid()}-{path.name}")
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def load_segmenter(folder: str | os.PathLike) -> Segmenter:
    """Load what :func:`save_segmenter` saved.

    Raises:
        SegmenterError: the folder is not that of a finished segmentation run; says what it is.
        CheckpointError: the weights are missing or damaged.
    """
    folder = Path(folder)
    path = folder / _FILE
    if not path.is_file():
        raise SegmenterError(_what_it_is(folder))
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table.pop("format") != _FORMAT:
            raise ValueError("another format")
        plan = {k: _tuples(v) for k, v in table.pop("plan").items()}
        names = {f.name for f in fields(Recipe)}
        rest = {k: v if isinstance(v, dict) else _tuples(v) for k, v in table.items() if k in names}
        recipe = Recipe(plan=UNetPlan(**plan), **rest)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SegmenterError(f"{path} does not describe a segmenter of jaxmed: {error}") from error
    image = jax.ShapeDtypeStruct((1, *recipe.patch, len(recipe.channels)), jnp.float32)
    params, state = jax.eval_shape(recipe.network().init, jax.random.key(0), image)
    kept = restore(folder / "model", {"params": params, "state": state}).state
    return segmenter(recipe, kept["params"], kept["state"])


def _what_it_is(folder: Path) -> str:
    if not folder.exists():
        return f"there is no folder {folder}"
    if not folder.is_dir():
        return f"{folder} is a file; give the folder of a run"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        name = config.get("experiment", "?")
    except (OSError, ValueError, AttributeError):
        return f"{folder} is not the folder of a run: it has neither {_FILE} nor a config.json"
    return (
        f"{folder} holds a run of {name!r} without a segmenter ({_FILE}): either it has not "
        f"finished (the same command goes on), or it is not about segmentation"
    )


def _tuples(value: Any) -> Any:
    """What JSON keeps as lists, as the tuples they were."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
