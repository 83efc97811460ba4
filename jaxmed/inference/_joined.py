"""Which model a recipe and weights make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxmed.core import PyTree
from jaxmed.inference._box_model import BoxModel, BoxRecipe, box_model
from jaxmed.inference._image_model import ImageModel, ImageRecipe, image_model
from jaxmed.inference._instance_model import InstanceModel, InstanceRecipe, instance_model
from jaxmed.inference._segmenter import Recipe, Segmenter, segmenter
from jaxmed.inference._survival_model import SurvivalModel, SurvivalRecipe, survival_model
from jaxmed.inference._translator import TranslationRecipe, Translator, translator

Model = Segmenter | ImageModel | BoxModel | InstanceModel | Translator | SurvivalModel
AnyRecipe = Recipe | ImageRecipe | BoxRecipe | InstanceRecipe | TranslationRecipe | SurvivalRecipe

_MADE_BY: dict[type, Callable[..., Any]] = {
    BoxRecipe: box_model,
    ImageRecipe: image_model,
    InstanceRecipe: instance_model,
    Recipe: segmenter,
    SurvivalRecipe: survival_model,
    TranslationRecipe: translator,
}


def joined(recipe: Any, params: PyTree, state: PyTree, *, before: Segmenter | None = None) -> Any:
    """The model of a recipe of any kind; ``before`` is of a cascade."""
    options = {} if before is None else {"before": before}
    return _MADE_BY[type(recipe)](recipe, params, state, **options)
