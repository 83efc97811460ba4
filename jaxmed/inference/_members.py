"""Several trained networks of one kind as one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxmed.inference._image_model import ImageModel
from jaxmed.inference._instance_model import InstanceModel
from jaxmed.inference._joined import joined
from jaxmed.inference._segmenter import Segmenter
from jaxmed.inference._survival_model import SurvivalModel, SurvivalRecipe

Model = TypeVar("Model", Segmenter, ImageModel, InstanceModel, SurvivalModel)


def average_models(models: Sequence[Model]) -> Model:
    """Average what models of one recipe say, such as those of all folds.

    That is probabilities, survival, and what :class:`InstanceModel` says of each voxel.

    Args:
        models: segmenters, classifiers, regressors, models of instances or of times whose recipes
            are equal, but for the baseline of a log hazard, of which each has its own; of cascades,
            the networks before are averaged likewise.

    Returns:
        One model, which can be saved like any other: its parameters are theirs, stacked.

    Raises:
        ValueError: no models, or recipes that differ.

    Examples:
        >>> from jaxmed.inference import ImageRecipe, image_model
        >>> from jaxmed.networks import mlp
        >>> recipe = ImageRecipe("binary", ("no", "yes"), ("grey",), (2, 2), mlp(2, hidden=()))
        >>> start = lambda seed: recipe.network().init(jax.random.key(seed), jnp.ones((1, 2, 2, 1)))
        >>> both = average_models([image_model(recipe, *start(seed)) for seed in (0, 1)])
        >>> both.predict(jnp.ones((3, 2, 2, 1))).shape, both.recipe.members
        ((3, 2), 2)
    """
    if not models:
        raise ValueError("there are no models to average")
    first = models[0]
    if any(_shared(model.recipe) != _shared(first.recipe) for model in models):
        raise ValueError("models of different recipes cannot be averaged")
    if len(models) == 1:
        return first
    # Averages of equally many networks are joined: their average is that of all networks.
    join = jnp.stack if first.recipe.members == 1 else jnp.concatenate
    params, state = (
        jax.tree.map(lambda *leaves: join(leaves), *trees)
        for trees in ([m.params for m in models], [m.state for m in models])
    )
    kept: dict[str, Any] = {"members": len(models) * first.recipe.members}
    if isinstance(first.recipe, SurvivalRecipe):
        kept["baseline"] = _baselines(models)
    recipe = replace(first.recipe, **kept)
    earlier = [m.before for m in models if isinstance(m, Segmenter) and m.before is not None]
    before = average_models(earlier) if earlier else None
    return joined(recipe, params, state, before=before)


def _shared(recipe: Any) -> Any:
    """What models of an average have in common: all but how high a baseline is."""
    if isinstance(recipe, SurvivalRecipe):
        return replace(recipe, baseline=(0.0,) * len(recipe.baseline))
    return recipe


def _baselines(models: Sequence[Any]) -> tuple[float, ...]:
    return tuple(number for model in models for number in model.recipe.baseline)
