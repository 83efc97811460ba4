"""A trained network for serving: one file that JAX alone can call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed._files import write_whole
from jaxmed.core import Array
from jaxmed.inference._describe import describe
from jaxmed.inference._model_file import Model, ModelError
from jaxmed.inference._segmenter import Recipe, Segmenter
from jaxmed.inference._survival_model import SurvivalModel

_PROGRAM, _RECIPE = "network.stablehlo", "recipe.json"
_FORMAT = "jaxmed export 1"
_PLATFORMS = ("cpu", "cuda", "tpu")


class Exported(NamedTuple):
    """A network that was exported; made by :func:`load_exported`.

    Attributes:
        call: ``(images) -> probabilities or numbers``; images (batch, *shape, channels) float32,
            prepared as ``recipe`` says.
        shape: spatial shape of what it takes.
        channels: how many.
        recipe: what is done before and after, as data.
    """

    call: Callable[[Array], Array]
    shape: tuple[int, ...]
    channels: int
    recipe: dict


def export_model(
    folder: str | os.PathLike,
    model: Model,
    *,
    platforms: Sequence[str] = _PLATFORMS,
) -> Path:
    """Export a model's network with its weights, for any batch size, as StableHLO.

    ``folder/network.stablehlo`` needs no code of jaxmed: ``jax.export.deserialize`` reads it and
    ``call`` runs it on the platforms named. It takes prepared images (`prepare`, `prepare_image`)
    of the recipe's patch or shape, and gives probabilities or numbers; of a detector its boxes, and
    of a model of instances what its form reads. ``folder/recipe.json`` says
    how images are prepared. The first network of a cascade goes into ``folder/before``.

    Args:
        folder: the folder, created if missing.
        model: a segmenter, classifier, regressor, detector, translator, or model of instances.
        platforms: of ``"cpu"``, ``"cuda"``, ``"rocm"``, ``"tpu"``.

    Returns:
        The path of the program.

    Raises:
        ModelError: JAX lacks what writes programs: ``pip install 'jaxmed[export]'``; or a model of
            times to an event.

    References:
        https://docs.jax.dev/en/latest/export/export.html
    """
    if isinstance(model, SurvivalModel):
        raise ModelError(
            "a model of times takes records and a mask beside images, and programs are of images "
            "alone: use jaxmed predict"
        )
    recipe = model.recipe
    shape = recipe.patch if isinstance(recipe, Recipe) else recipe.shape
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *shape, recipe.inputs), jnp.float32)

    @jax.jit
    def network(images: Array) -> Array | dict[str, Array]:
        return model.apply(model.params, model.state, images)

    # XLA's own convolutions: a native one is code of this machine.
    with ops.config(conv="xla"):
        program = jax.export.export(network, platforms=tuple(platforms))(images)
    try:
        content = bytes(program.serialize())
    except ImportError as error:
        raise ModelError(
            "writing the program needs flatbuffers: pip install 'jaxmed[export]'"
        ) from error
    folder = Path(folder)
    if isinstance(model, Segmenter) and model.before is not None:
        export_model(folder / "before", model.before, platforms=platforms)
    table = {
        "format": _FORMAT,
        "shape": list(shape),
        "channels": recipe.inputs,
        "platforms": list(platforms),
        "recipe": describe(recipe),
    }
    write_whole(folder / _RECIPE, json.dumps(table, indent=2) + "\n")
    write_whole(folder / _PROGRAM, content)
    return folder / _PROGRAM


def load_exported(folder: str | os.PathLike) -> Exported:
    """Load what :func:`export_model` wrote.

    Raises:
        ModelError: the folder holds no exported network, or one of another format.
    """
    folder = Path(folder)
    try:
        table = json.loads((folder / _RECIPE).read_text(encoding="utf-8"))
        if table["format"] != _FORMAT:
            raise ValueError(f"it has the format {table['format']!r}")
        program = jax.export.deserialize(bytearray((folder / _PROGRAM).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder} holds no exported network: {error}") from error
    return Exported(program.call, tuple(table["shape"]), table["channels"], table["recipe"])
