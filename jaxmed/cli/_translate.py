"""`jaxmed translate RUN scan.nii.gz`: one image made of another by a trained run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run(arguments: Sequence[str]) -> int:
    """Read the options, translate every image, write what was made.

    Returns:
        0; 1 if some images could not be translated, 2 if none could: each is named with its reason.
    """
    options = _parser().parse_args([*arguments])
    from jaxmed._files import owning
    from jaxmed.cli.predict._inputs import files
    from jaxmed.data.tables._columns import parse_columns
    from jaxmed.inference import Translator, load_model

    model = load_model(options.run)
    if not isinstance(model, Translator):
        task = getattr(model.recipe, "task", "segmentation")
        raise ValueError(f"{options.run} is a model for {task} and makes no images: jaxmed predict")
    given = files(options.image, model.recipe.channels, parse_columns(options.columns))
    with owning(options.out):
        return _written(model, given, options)


def _written(model: Any, given: Sequence[Any], options: argparse.Namespace) -> int:
    from jaxmed.cli.predict._inputs import is_packed
    from jaxmed.cli.predict._masks import exit_code
    from jaxmed.data import write_image
    from jaxmed.data.formats._read import read_channels
    from jaxmed.inference import translate

    names = [one.name for one in given]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two images have one name, {twice[0]}: their files would be one")
    done = failed = 0
    for one in given:
        try:
            if one.error:
                raise ValueError(one.error)
            if is_packed(one.path):
                raise ValueError("arrays of an .npz have no space: use jaxmed.inference.translate")
            scan = read_channels(one.paths, canonical=len(model.recipe.patch) == 3)
            if len(model.recipe.patch) == 2 and scan.array.ndim == 4:
                _check_axis(options.axis)
            made = translate(model, scan, axis=options.axis)
            for name, image in _files(model, one, made.array).items():
                target = options.out / name
                if any(path.resolve() == target.resolve() for path in one.paths):
                    raise ValueError(f"{target} would overwrite the image: name another folder")
                print(f"{write_image(target, image, made)}")
        except (ValueError, OSError) as error:
            print(f"{one.path}: {error}", file=sys.stderr)
            failed += 1
            continue
        done += 1
    return exit_code(done, failed, what="translated")


def _check_axis(axis: int) -> None:
    if axis not in (0, 1, 2):
        raise ValueError(f"--axis is 0, 1 or 2, got {axis}")


def _files(model: Any, one: Any, image: Any) -> dict[str, Any]:
    """Names of files, and what is in each: pictures of channels that no picture holds are several.

    A picture becomes one of 8 bits if the recipe keeps to [0, 1], else a TIFF of float32; all other
    images NIfTI.
    """
    from jaxmed.data.formats import is_picture

    recipe = model.recipe
    channels = image.shape[-1]
    if not is_picture(one.path) or image.ndim != 3:
        return {f"{one.name}_translated.nii.gz": image}
    shares = recipe.bounds is not None and recipe.bounds[0] >= 0 and recipe.bounds[1] <= 1
    ending = ".png" if shares else ".tif"
    if channels == 1 or (channels == 3 and shares):
        return {f"{one.name}_translated{ending}": image}
    return {
        f"{one.name}_translated_{target}{ending}": image[..., k : k + 1]
        for k, target in enumerate(recipe.targets)
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmed translate",
        description="Make one image of another by a trained run: a sequence that was not measured "
        "of those that were, by any network from images to images (a regression, pix2pix, a "
        "bridge). NAME_translated has the shape, affine and orientation of the image. A network of "
        "volumes reads volumes in windows, one of pictures reads pictures, and volumes slice by "
        "slice. What is made is what is plausible, not what was measured: no diagnosis may rest "
        "on it.",
    )
    parser.add_argument(
        "run", type=Path, help="folder of a finished run (jaxmed train translation)"
    )
    parser.add_argument(
        "image", type=Path, nargs="+",
        help="images in any format that predict reads; of several channels, files CASE_0000, "
        "CASE_0001, ..., or CASE_NAME by the names of the channels, are one image",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, default=Path(), help="a folder, by default the current one"
    )
    parser.add_argument(
        "--axis", type=int, default=2,
        help="of a volume that a network of pictures reads, the file's axis across which slices "
        "lie, from 0; by default 2",
    )  # fmt: skip
    parser.add_argument(
        "--columns", nargs="+", default=(), metavar="ROLE=COLUMN",
        help="columns of tables that have other names, such as image=file",
    )  # fmt: skip
    return parser
