"""`jaxmed predict`: its options, and which model is asked."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmed._files import files_below
from jaxmed.cli._cut import add_cut
from jaxmed.cli._place import writing


def run(arguments: Sequence[str]) -> int:
    """Read the options, apply the model to every image, write what it says.

    Returns:
        0; 1 if some images could not be predicted, 2 if none could: each is named with its reason.
    """
    options = _parser().parse_args([*arguments])
    out: Path | None = options.out
    if out is None or (out.suffix and not out.is_dir()):
        return _run(options)  # a file's folder may be written to by others
    with writing(out):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from jaxmed.cli.predict import _boxes, _instances, _masks, _scores, _times
    from jaxmed.cli.predict._inputs import files
    from jaxmed.data.tables._columns import parse_columns
    from jaxmed.inference import (
        BoxModel,
        InstanceModel,
        Segmenter,
        SurvivalModel,
        Translator,
        load_model,
    )

    model = load_model(options.run)
    if isinstance(model, Translator):
        raise ValueError(
            f"{options.run} makes images of images: jaxmed translate {options.run} IMAGE..."
        )
    if isinstance(model, SurvivalModel):
        others = ("probabilities", "uncertainty", "calibrated", "sets", "resume", "mirror", "tile")
        _refuse(options, others, "another kind of model than one of times")
        return _times.write(model, options.image, options.out, parse_columns(options.columns))
    if options.tile is not None:
        return _of_slides(model, options)
    _refuse_slides(options.image)
    given = files(options.image, model.recipe.channels, parse_columns(options.columns))
    if isinstance(model, BoxModel):
        others = ("probabilities", "uncertainty", "calibrated", "sets", "resume")
        _refuse(options, others, "another kind of model than a detector")
        return _boxes.write(_mirrored(model, options.mirror), given, options.out)
    if isinstance(model, InstanceModel):
        others = ("probabilities", "uncertainty", "calibrated", "sets", "resume")
        _refuse(options, others, "another kind of model than one of instances")
        return _instances.write(_mirrored(model, options.mirror), given, options.out)
    if not isinstance(model, Segmenter):
        _refuse(options, ("probabilities", "uncertainty", "mirror"), "a segmenter")
        asked = _scores.Asked(options.run, options.calibrated, options.sets, options.resume)
        return _scores.write(model, given, options.out, asked)
    _refuse(options, ("calibrated", "sets"), "a classifier")
    model = _mirrored(model, options.mirror)
    also = _masks.Also(options.probabilities, options.uncertainty)
    return _masks.write(model, given, options.out, also, resume=options.resume)


def _mirrored(model: Any, axes: Sequence[int] | None) -> Any:
    """The model, which looks at mirror images along these axes; None leaves it as it is."""
    from jaxmed.detection import mirrored_detector
    from jaxmed.inference import BoxModel, InstanceModel, box_model, instance_model, segmenter

    if axes is None:
        return model
    recipe = model.recipe
    if isinstance(model, BoxModel):
        rank = len(recipe.shape)
        if any(not 0 <= a < rank for a in axes):
            raise ValueError(f"--mirror: axes are of 0 to {rank - 1}, got {list(axes)}")
        made = dataclasses.replace(recipe, net=mirrored_detector(recipe.network(), axes))
        return box_model(made, model.params, model.state)
    made = dataclasses.replace(recipe, mirror=tuple(axes))
    if isinstance(model, InstanceModel):
        return instance_model(made, model.params, model.state)
    return segmenter(made, model.params, model.state, before=model.before)


def _of_slides(model: Any, options: argparse.Namespace) -> int:
    """Read the tiles of slides."""
    from jaxmed.cli._slides import named_slides
    from jaxmed.cli.predict import _tiles
    from jaxmed.data.tables._columns import parse_columns
    from jaxmed.inference import BoxModel, InstanceModel, Segmenter

    if isinstance(model, Segmenter | BoxModel | InstanceModel):
        raise ValueError(
            f"--tile is of a classifier or a regressor, which {options.run} is not: cut slides by "
            "jaxmed tiles, and segment the pictures"
        )
    maps = ("probabilities", "uncertainty", "mirror", "calibrated", "sets", "resume")
    if said := [name for name in maps if getattr(options, name) not in (None, False)]:
        raise ValueError(f"--{said[0]} is of whole images, not of the tiles of slides")
    cut = _tiles.Cut(
        options.tile, options.mpp, options.overlap, options.least, options.all, options.pixel_size
    )
    given = named_slides(options.image, parse_columns(options.columns))
    return _tiles.write(model, given, options.out or Path(), cut)


def _refuse_slides(given: Sequence[Path]) -> None:
    from jaxmed.data.formats import SLIDES

    inside = [p for path in given for p in (files_below(path) if path.is_dir() else [path])]
    if slides := [path for path in inside if path.name.lower().endswith(SLIDES)]:
        raise ValueError(
            f"{slides[0]} is a whole slide: say as what tiles the model is to see it, such as "
            "--tile 256 --mpp 0.5 (those of jaxmed tiles)"
        )


def _refuse(options: argparse.Namespace, names: Sequence[str], of: str) -> None:
    for name in names:
        if getattr(options, name) not in (None, False):
            raise ValueError(f"--{name} is of {of}, which {options.run} is not")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmed predict",
        description="Apply the model of a trained run to new images. A segmenter writes a mask for "
        "each in its own space: the same shape, affine and orientation, and a table of volumes. A "
        "classifier or regressor writes one table, a row an image; a detector one, a row a box; "
        "one of instances a label map for each image, one of times the survival of a table's rows.",
    )
    parser.add_argument("run", type=Path, help="folder of a finished run (jaxmed train, or demo)")
    parser.add_argument(
        "image", type=Path, nargs="+",
        help="images: NIfTI, DICOM, NRRD, MetaImage, PNG, JPEG, TIFF; folders of such or of DICOM "
        "series; tables that list images; FILE.npz or FILE.npz:ARRAY",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, default=None,
        help="a folder; for one image also the mask's file, for scores also the table. By default "
        "the current folder: NAME_mask in the image's format (.png of a picture, .dcm of DICOM, "
        ".npz of arrays, else .nii.gz), predictions.csv, or boxes.csv (.json for COCO's form)",
    )  # fmt: skip
    parser.add_argument(
        "--columns", nargs="+", default=(), metavar="ROLE=COLUMN",
        help="columns of tables that have other names, such as image=file",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="leave out images whose results are there already, "
        "made by this model with these options",
    )  # fmt: skip
    parser.add_argument(
        "--probabilities", action="store_true",
        help="write NAME_probabilities.npz too: (*spatial, classes) float16 on the image's grid",
    )  # fmt: skip
    parser.add_argument(
        "--uncertainty", action="store_true",
        help="write NAME_uncertainty too: entropy of the classes at each voxel, 0 to 1",
    )  # fmt: skip
    parser.add_argument(
        "--mirror", type=int, nargs="*", default=None, metavar="AXIS",
        help="axes of the mirror images that are averaged, from 0; none for a faster answer. By "
        "default those of the plan",
    )  # fmt: skip
    parser.add_argument(
        "--calibrated", action="store_true",
        help="scores by temperature scaling, fitted to what was held out from training",
    )  # fmt: skip
    parser.add_argument(
        "--sets", type=float, default=None, metavar="LEVEL",
        help="for each image the classes that hold the true one with this probability (conformal "
        "sets, from what was held out from training), such as 0.9",
    )  # fmt: skip
    slides = parser.add_argument_group(
        "whole slides", "read tile by tile, by a classifier or regressor of tiles (jaxmed tiles): "
        "tables of the tiles and of the slides' means, a map NAME_map.ome.tif, pictures of it",
    )  # fmt: skip
    slides.add_argument(
        "--tile", type=int, default=None, metavar="PIXELS",
        help="the inputs are slides; edge of a tile, as in training",
    )  # fmt: skip
    add_cut(slides)
    return parser
