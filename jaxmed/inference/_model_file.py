"""Trained models on disk: a JSON description and the weights."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed._files import write_whole
from jaxmed.core import PyTree
from jaxmed.inference._describe import DescriptionError, build, describe
from jaxmed.inference._foreign import ModelError, check_links, describing
from jaxmed.inference._joined import AnyRecipe, Model, joined
from jaxmed.inference._segmenter import Recipe, Segmenter
from jaxmed.inference._survival_model import SurvivalRecipe
from jaxmed.networks import UNetPlan
from jaxmed.train import restore, save

_FILE, _WEIGHTS, _BEFORE = "model.json", "model", "before"
_FORMAT = "jaxmed model 2"
_FORMAT_1 = "jaxmed segmenter 1"


class SegmenterError(ModelError):
    """Raised for a folder that holds no segmenter; the message says what it is instead."""


SegmenterError.__module__ = "jaxmed.inference"


def save_model(folder: str | os.PathLike, model: Model) -> Path:
    """Save a trained model, for use by `jaxmed predict FOLDER` or `jaxmed translate FOLDER`.

    ``folder/model.json`` holds the pre- and postprocessing and the network's description
    (:func:`describe`), ``folder/model`` the weights, ``folder/before`` the first network of a
    cascade. Nothing is written unless everything can be; ``model.json`` is written last and
    atomically, so a folder that has it is complete.

    Args:
        folder: the folder, created if missing.
        model: a model whose network can be described.

    Returns:
        The path of ``model.json``.

    Raises:
        ModelError: if the network cannot be described, or the weights do not match it; says
            what to do.
    """
    folder = Path(folder)
    path = folder / _FILE
    try:
        table = {"format": _FORMAT, "recipe": describe(model.recipe)}
        text = json.dumps(table, indent=2, allow_nan=False)
    except DescriptionError as error:
        raise ModelError(f"the model cannot be saved: {error}") from error
    _check_weights(model)
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if isinstance(model, Segmenter) and model.before is not None:
        save_model(folder / _BEFORE, model.before)
    save(folder / _WEIGHTS, 0, {"params": model.params, "state": model.state}, {}, keep=1)
    write_whole(path, text + "\n")
    return path


def load_model(folder: str | os.PathLike) -> Model:
    """Load a model saved by :func:`save_model`, or by an earlier version's ``save_segmenter``.

    Raises:
        ModelError: if the folder is not that of a finished run with a model; says what it is. If
            a link in it leads out of it. Or if its weights are not finite: what they answer may
            look like nothing found.
        CheckpointError: the weights are missing or damaged.
    """
    folder = Path(folder)
    path = folder / _FILE
    if not path.is_file():
        raise ModelError(_what_it_is(folder))
    check_links(folder, _FILE, _WEIGHTS, _BEFORE)
    with describing(path, "a model of jaxmed"):
        table = json.loads(path.read_text(encoding="utf-8"))
        written = table["format"]
        if written == _FORMAT:
            recipe = build(table["recipe"])
        elif written == _FORMAT_1:
            recipe = _recipe_1(table)
        else:
            raise ValueError(f"it has the format {written!r}, this version reads {_FORMAT!r}")
        if not isinstance(recipe, AnyRecipe):
            raise ValueError(f"a {type(recipe).__name__} is no recipe")
        params, state = weight_shapes(recipe)
    kept = restore(folder / _WEIGHTS, {"params": params, "state": state}).state
    check_weights(folder, kept)
    cascade = isinstance(recipe, Recipe) and recipe.cascade
    before = load_segmenter(folder / _BEFORE) if cascade else None
    return joined(recipe, kept["params"], kept["state"], before=before)


def check_weights(folder: Path, weights: PyTree) -> None:
    """Refuse weights that are no numbers.

    Raises:
        ModelError: names the first of them.
    """
    for path, leaf in jax.tree.leaves_with_path(weights):
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        if floating and not np.isfinite(np.asarray(leaf, np.float32)).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ModelError(
                f"{folder}: {name} holds numbers that are not finite: its training diverged"
            )


def save_segmenter(folder: str | os.PathLike, model: Segmenter) -> Path:
    """Save a segmenter, as :func:`save_model` does.

    Returns:
        The path of ``model.json``, which is written last.

    Raises:
        ModelError: as :func:`save_model`.
    """
    return save_model(folder, model)


def load_segmenter(folder: str | os.PathLike) -> Segmenter:
    """Load a segmenter saved by :func:`save_model`, in this or an earlier version.

    Raises:
        SegmenterError: the folder is not that of a finished segmentation run; says what it is.
        CheckpointError: the weights are missing or damaged.
    """
    try:
        model = load_model(folder)
    except ModelError as error:
        raise SegmenterError(str(error)) from error
    if not isinstance(model, Segmenter):
        raise SegmenterError(
            f"{folder} holds a model for {model.recipe.task}, not a segmenter: use load_model"
        )
    return model


def weight_shapes(recipe: AnyRecipe) -> tuple[PyTree, PyTree]:
    """Return the shapes of parameters and state of a recipe's network."""
    if isinstance(recipe, SurvivalRecipe):
        inputs: Any = recipe.example()
    else:
        spatial = recipe.patch if isinstance(recipe, Recipe) else recipe.shape
        inputs = jax.ShapeDtypeStruct((1, *spatial, recipe.inputs), jnp.float32)
    shapes = jax.eval_shape(recipe.network().init, jax.random.key(0), inputs)
    if recipe.members == 1:
        return shapes
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((recipe.members, *leaf.shape), leaf.dtype), shapes
    )


def _check_weights(model: Model) -> None:
    """Raise if the weights do not match the recipe's network."""
    wanted = _outline(weight_shapes(model.recipe))
    given = _outline((model.params, model.state))
    for path in sorted({*wanted, *given}):
        if wanted.get(path) != given.get(path):
            raise ModelError(
                f"the model cannot be saved: its weights are not those of the recipe's network, "
                f"which has {wanted.get(path, 'nothing')} at {path!r}, where they have "
                f"{given.get(path, 'nothing')}"
            )


def _outline(trees: tuple[PyTree, PyTree]) -> dict[str, str]:
    leaves, _ = jax.tree.flatten_with_path(dict(zip(("params", "state"), trees, strict=True)))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{jax.dtypes.result_type(leaf)}{list(jnp.shape(leaf))}"
        )
        for path, leaf in leaves
    }


def _recipe_1(table: dict[str, Any]) -> Recipe:
    """Read a recipe of the first format: fields as they are, tuples as lists, U-Nets only."""
    plan = UNetPlan(**{name: _tuples(value) for name, value in table["plan"].items()})
    names = {f.name for f in fields(Recipe)} - {"plan"}
    rest: dict[str, Any] = {
        name: value if isinstance(value, dict) else _tuples(value)
        for name, value in table.items()
        if name in names
    }
    return Recipe(plan=plan, **rest)


def _tuples(value: Any) -> Any:
    """Convert lists read from JSON back to tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


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
        f"{folder} holds a run of {name!r} without a model ({_FILE}): either it has not finished "
        "(the same command goes on), or the experiment saves none"
    )
