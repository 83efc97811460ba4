"""A trained generator on disk: its network, weights, and how images are drawn by it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed._files import write_whole
from jaxmed.core import Key, Network, PyTree, as_network
from jaxmed.generative._drawing import Condition, Draw, draw_images
from jaxmed.generative.adversarial._gan import gan_sampler
from jaxmed.generative.autoencoders._codec import vae_sampler
from jaxmed.generative.diffusion._latent import latent_sampler
from jaxmed.generative.diffusion._sampler import diffusion_sampler
from jaxmed.inference import DescriptionError, ModelError, build, describe
from jaxmed.inference._foreign import check_links, describing
from jaxmed.train import restore, save

_FILE, _WEIGHTS, _FORMAT = "generator.json", "generator", "jaxmed generator 1"


@dataclass(frozen=True)
class GenerativeRecipe:
    """How images are drawn by a network: data, written beside its weights.

    Attributes:
        kind: the family of the generator, which says by whose factory it draws: ``"diffusion"``
            (:func:`diffusion_sampler`), ``"latent"`` (:func:`latent_sampler` of a diffusion),
            ``"gan"`` (:func:`gan_sampler`) or ``"vae"`` (:func:`vae_sampler`).
        net: the network; of a latent diffusion, the one that draws latents.
        shape: ``(*spatial, channels)`` of the images.
        options: of the factory, by name: the process and steps of a diffusion model, the length of
            a GAN's noise. Of a latent diffusion also its ``codec``, the autoencoder's network, the
            shape ``latent`` of what that decodes, and the ``likelihood`` it was trained with.
        classes: names of the classes that are drawn by, in the order of ``condition["label"]``.
        limits: values of the images that are black and white in a picture.
        spacing: of volumes, the edges of a voxel in millimetres; of 1 if empty.
    """

    kind: str
    net: Network | nn.Module
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    limits: tuple[float, float] = (-1.0, 1.0)
    spacing: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"kind is one of {', '.join(map(repr, _KINDS))}, got {self.kind!r}")
        if not self.limits[0] < self.limits[1]:
            raise ValueError(f"limits are black and then white, got {self.limits}")
        if self.spacing and len(self.spacing) != len(self.shape) - 1:
            raise ValueError(
                f"spacing is one edge an axis of images of shape {self.shape}, got {self.spacing}"
            )

    def network(self) -> Network:
        """The network, without weights."""
        return as_network(self.net)

    def draw(self) -> Draw:
        """The draw, by the factory of its kind.

        Raises:
            ValueError: for options that this factory does not take, or refuses.
        """
        try:
            return _KINDS[self.kind](self)
        except TypeError as error:
            raise ValueError(f"a generator of the kind {self.kind!r}: {error}") from error


class GenerativeModel(NamedTuple):
    """A trained generator.

    Attributes:
        recipe: how it draws.
        params: what its draw takes as parameters.
        state: likewise as state.
    """

    recipe: GenerativeRecipe
    params: PyTree
    state: PyTree

    def draw(
        self,
        key: Key,
        count: int,
        *,
        condition: Condition | None = None,
        chunk: int = 64,
        **options: Any,
    ) -> np.ndarray:
        """Draw images by :func:`draw_images`.

        Args:
            key: random key.
            count: how many.
            condition: arrays by name, ``(count, ...)``.
            chunk: how many are drawn at once.
            **options: other options of the factory than the recipe's, such as ``steps``.

        Returns:
            ``(count, *spatial, channels)`` float32.

        Raises:
            ValueError: as :func:`draw_images`, or for an option that there is not.
        """
        recipe = replace(self.recipe, options={**self.recipe.options, **options})
        return draw_images(
            recipe.draw(), key, self.params, self.state, count, chunk=chunk, condition=condition
        )

    def digest(self) -> str:
        """A number that knows the recipe and all weights, in hexadecimal digits."""
        found = hashlib.sha256(json.dumps(describe(self.recipe), sort_keys=True).encode())
        leaves, _ = jax.tree.flatten_with_path((self.params, self.state))
        for path, leaf in leaves:
            array = np.ascontiguousarray(leaf)
            found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
            found.update(array.tobytes())
        return found.hexdigest()[:32]


def save_generative_model(
    folder: str | os.PathLike, recipe: GenerativeRecipe, params: PyTree, state: PyTree
) -> Path:
    """Save a trained generator, for `jaxmed generate FOLDER`.

    ``folder/generator.json``, written last and whole, holds the recipe, ``folder/generator`` the
    weights.

    Args:
        folder: the folder, created if missing.
        recipe: how it draws; its network can be described (:func:`jaxmed.inference.describe`).
        params: what its draw takes: of a run, what ``learner.predicting.get`` gives.
        state: likewise.

    Returns:
        The path of ``generator.json``.

    Raises:
        ModelError: if the network or an option cannot be described, or the weights are not those of
            dicts, tuples and lists of arrays.
        ValueError: for a recipe by which nothing can be drawn.
    """
    folder = Path(folder)
    recipe.draw()
    try:
        table = {
            "format": _FORMAT,
            "recipe": describe(recipe),
            "params": _outline(params),
            "state": _outline(state),
        }
        text = json.dumps(table, indent=2, allow_nan=False)
    except DescriptionError as error:
        raise ModelError(f"the generator cannot be saved: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILE
    path.unlink(missing_ok=True)
    save(folder / _WEIGHTS, 0, {"params": params, "state": state}, {}, keep=1)
    write_whole(path, text + "\n")
    return path


def load_generative_model(folder: str | os.PathLike) -> GenerativeModel:
    """Load what :func:`save_generative_model` saved.

    Args:
        folder: as given there.

    Returns:
        The model.

    Raises:
        ModelError: if the folder holds no generator, or one that this version does not read.
        CheckpointError: the weights are missing or damaged.
    """
    folder = Path(folder)
    path = folder / _FILE
    if not path.is_file():
        raise ModelError(_without(folder))
    check_links(folder, _FILE, _WEIGHTS)
    with describing(path, "a generator"):
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != _FORMAT:
            raise ValueError(f"it has the format {table['format']!r}, not {_FORMAT!r}")
        recipe = build(table["recipe"])
        if not isinstance(recipe, GenerativeRecipe):
            raise ValueError(f"a {type(recipe).__name__} is no recipe of a generator")
        recipe.draw()
        like = {"params": _shapes(table["params"]), "state": _shapes(table["state"])}
    kept = restore(folder / _WEIGHTS, like).state
    return GenerativeModel(recipe, kept["params"], kept["state"])


def _diffusion(recipe: GenerativeRecipe) -> Draw:
    return diffusion_sampler(
        recipe.network(), recipe.shape, classes=len(recipe.classes), **recipe.options
    )


def _latent(recipe: GenerativeRecipe) -> Draw:
    options = dict(recipe.options)
    if missing := [name for name in ("codec", "latent") if name not in options]:
        raise ValueError(f"a latent diffusion has the option {missing[0]!r}, got {sorted(options)}")
    codec, shape = as_network(options.pop("codec")), tuple(options.pop("latent"))
    likelihood = options.pop("likelihood", "gaussian")
    latents = diffusion_sampler(recipe.network(), shape, classes=len(recipe.classes), **options)
    return latent_sampler(latents, codec, likelihood=likelihood)


def _gan(recipe: GenerativeRecipe) -> Draw:
    return gan_sampler(recipe.network(), classes=len(recipe.classes), **recipe.options)


def _vae(recipe: GenerativeRecipe) -> Draw:
    return vae_sampler(recipe.network(), classes=len(recipe.classes), **recipe.options)


# By which factory a kind draws: another family is another line.
_KINDS: dict[str, Callable[[GenerativeRecipe], Draw]] = {
    "diffusion": _diffusion,
    "latent": _latent,
    "gan": _gan,
    "vae": _vae,
}


def _outline(tree: PyTree) -> Any:
    """Shapes and dtypes of a tree, as JSON holds it."""
    if isinstance(tree, Mapping):
        return {"dict": {name: _outline(part) for name, part in tree.items()}}
    if type(tree) in (tuple, list):
        return {type(tree).__name__: [_outline(part) for part in tree]}
    if not isinstance(tree, jax.Array | np.ndarray):
        raise DescriptionError(f"its weights are arrays in dicts, tuples and lists, not {tree!r}")
    return {"shape": list(tree.shape), "dtype": jnp.dtype(tree.dtype).name}


def _shapes(outline: Any) -> PyTree:
    if "dict" in outline:
        return {name: _shapes(part) for name, part in outline["dict"].items()}
    for kind in (tuple, list):
        if kind.__name__ in outline:
            return kind(_shapes(part) for part in outline[kind.__name__])
    return jax.ShapeDtypeStruct(tuple(outline["shape"]), jnp.dtype(outline["dtype"]))


def _without(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if (folder / "model.json").is_file():
        return (
            f"{folder} holds a model that draws no images ({_FILE} is missing): `jaxmed predict` "
            "applies it to images"
        )
    return (
        f"{folder} holds no trained generator ({_FILE}): either the run has not finished (the same "
        "command goes on), or it draws nothing"
    )
