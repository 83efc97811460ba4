"""Images that were drawn, as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

import jaxmed
from jaxmed._files import replacing, write_whole
from jaxmed.generative import GenerativeRecipe

_SHOWN, _COLUMNS = 100, 10


def write(
    out: Path,
    images: np.ndarray,
    recipe: GenerativeRecipe,
    names: Sequence[str] | None,
    note: dict[str, Any],
) -> None:
    """Write images, a sheet of them, and the note that says how they came to be.

    Args:
        out: the folder.
        images: (n, *spatial, channels).
        recipe: by which they were drawn.
        names: the class of each.
        note: what is said of all of them.
    """
    out.mkdir(parents=True, exist_ok=True)
    volumes = images.ndim == 5
    digits = max(4, len(str(len(images) - 1)))
    files = []
    for number, image in enumerate(images):
        name = f"{number:0{digits}d}" + (".nii.gz" if volumes else ".png")
        with replacing(out / name) as partial:
            if volumes:
                _write_volume(partial, image, recipe)
            else:
                _picture(image, recipe.limits).save(partial, format="PNG")
        files.append({"file": name} if names is None else {"file": name, "label": names[number]})
    with replacing(out / "sheet.png") as partial:
        _sheet(images, recipe.limits).save(partial, format="PNG")
    table = {**note, "jaxmed": jaxmed.__version__, "images": files}
    write_whole(out / "generated.json", json.dumps(table, indent=2) + "\n")


def _write_volume(path: Path, image: np.ndarray, recipe: GenerativeRecipe) -> None:
    spacing = recipe.spacing or (1.0, 1.0, 1.0)
    array = image[..., 0] if image.shape[-1] == 1 else image
    nib.save(nib.Nifti1Image(array.astype(np.float32), np.diag([*spacing, 1.0])), path)


def _picture(image: np.ndarray, limits: tuple[float, float]) -> Image.Image:
    """(height, width, channels) as eight bits."""
    low, high = limits
    grey = np.clip((image - low) / (high - low), 0, 1)
    bytes_ = np.round(255 * grey).astype(np.uint8)
    # A picture has one channel or three: of others the first is shown.
    return Image.fromarray(bytes_ if image.shape[-1] == 3 else bytes_[..., 0])


def _sheet(images: np.ndarray, limits: tuple[float, float]) -> Image.Image:
    """The first images in rows of ten, a line of white between them; of volumes a middle plane."""
    shown = images[:_SHOWN]
    if shown.ndim == 5:
        shown = shown[:, :, :, shown.shape[3] // 2].swapaxes(1, 2)[:, ::-1]
    pictures = [np.asarray(_picture(image, limits)) for image in shown]
    tall, wide = pictures[0].shape[:2]
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    extra = pictures[0].shape[2:]
    sheet = np.full((rows * (tall + 1) - 1, columns * (wide + 1) - 1, *extra), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (tall + 1), i % columns * (wide + 1)
        sheet[top : top + tall, left : left + wide] = picture
    times = max(1, min(4, 1200 // sheet.shape[1]))
    return Image.fromarray(sheet.repeat(times, 0).repeat(times, 1))
