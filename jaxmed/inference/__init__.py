"""Inference: from a trained network to a mask in the scan's own space.

:func:`sliding_window` applies a network of one patch size to images of any size; :func:`mirrored`
averages over mirror images; :func:`keep_largest` removes stray components of a mask;
:func:`instance_map` draws the scores of a bag's instances at their place in the image. A
:class:`Segmenter` is a network, its weights and the :class:`Recipe` of its pre- and postprocessing;
:func:`segment` applies it to one scan, which :func:`prepare` preprocesses as in training. An
:class:`ImageModel` is the equivalent for an image-level network, a classifier or a regressor, with
its :class:`ImageRecipe`, a :class:`BoxModel` that of one that finds boxes (:func:`find_boxes`), an
:class:`InstanceModel` that of one that tells touching objects apart (:func:`find_instances`), a
:class:`Translator` that of one that makes another image (:func:`translate`), a
:class:`SurvivalModel` that of one of times to an event.
:func:`save_model` and :func:`load_model` store each in a folder:
:func:`describe` turns a network into data, :func:`build` recreates it. :func:`average_models` makes
one model of several, such as those of all folds; :func:`export_model` writes the network for
serving, which JAX alone can call.
"""

from jaxmed.inference._box_model import (
    BoxModel,
    BoxRecipe,
    FoundInImage,
    box_model,
    find_boxes,
    prepare_boxes,
)
from jaxmed.inference._describe import DescriptionError, build, describe
from jaxmed.inference._export import Exported, export_model, load_exported
from jaxmed.inference._image_model import ImageModel, ImageRecipe, image_model, prepare_image
from jaxmed.inference._instance_map import instance_map
from jaxmed.inference._instance_model import (
    InstanceModel,
    InstanceRecipe,
    find_instances,
    instance_model,
    prepare_instances,
)
from jaxmed.inference._largest import keep_largest
from jaxmed.inference._members import average_models
from jaxmed.inference._mirror import mirrored
from jaxmed.inference._model_file import (
    ModelError,
    SegmenterError,
    load_model,
    load_segmenter,
    save_model,
    save_segmenter,
)
from jaxmed.inference._segment import (
    Preprocessed,
    decided,
    prepare,
    preprocess,
    probabilities,
    segment,
    structure_channels,
)
from jaxmed.inference._segmenter import Recipe, Segmenter, segmenter
from jaxmed.inference._sliding import sliding_window
from jaxmed.inference._survival_model import SurvivalModel, SurvivalRecipe, survival_model
from jaxmed.inference._translator import TranslationRecipe, Translator, translate, translator

__all__ = [
    "BoxModel",
    "BoxRecipe",
    "DescriptionError",
    "Exported",
    "FoundInImage",
    "ImageModel",
    "ImageRecipe",
    "InstanceModel",
    "InstanceRecipe",
    "ModelError",
    "Preprocessed",
    "Recipe",
    "Segmenter",
    "SegmenterError",
    "SurvivalModel",
    "SurvivalRecipe",
    "TranslationRecipe",
    "Translator",
    "average_models",
    "box_model",
    "build",
    "decided",
    "describe",
    "export_model",
    "find_boxes",
    "find_instances",
    "image_model",
    "instance_map",
    "instance_model",
    "keep_largest",
    "load_exported",
    "load_model",
    "load_segmenter",
    "mirrored",
    "prepare",
    "prepare_boxes",
    "prepare_image",
    "prepare_instances",
    "preprocess",
    "probabilities",
    "save_model",
    "save_segmenter",
    "segment",
    "segmenter",
    "sliding_window",
    "structure_channels",
    "survival_model",
    "translate",
    "translator",
]
