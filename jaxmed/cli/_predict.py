"""`jaxmed predict`: what a trained run says of new images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmed._csv import csv_text
from jaxmed._files import replacing, write_whole

if TYPE_CHECKING:
    from jaxmed.cli._inputs import Input
    from jaxmed.data import Scan
    from jaxmed.inference import ImageModel, Segmenter


def run(arguments: Sequence[str]) -> int:
    """Read the options, apply the model to every image, write what it says.

    Returns:
        0; 1 if some images could not be predicted, 2 if none could: each is named with its reason.
    """
    parser = argparse.ArgumentParser(
        prog="jaxmed predict",
        description="Apply the model of a trained run to new images. A segmenter writes a mask for "
        "each in its own space: the same shape, affine and orientation. A classifier or regressor "
        "writes one table, a row an image.",
    )
    parser.add_argument("run", type=Path, help="folder of a finished run (jaxmed train, or demo)")
    parser.add_argument(
        "image", type=Path, nargs="+",
        help="images: NIfTI, MGZ, PNG, JPEG, TIFF; folders of such; FILE.npz or FILE.npz:ARRAY",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, default=None,
        help="of a segmenter the mask's file, or a folder for several, by default NAME_mask.nii.gz "
        "(.png of a picture, .npz of arrays) in the current folder; else the table, by default "
        "predictions.csv",
    )  # fmt: skip
    options = parser.parse_args([*arguments])

    from jaxmed.cli._inputs import files
    from jaxmed.inference import Segmenter, load_model

    model = load_model(options.run)
    paths = files(options.image)
    if isinstance(model, Segmenter):
        targets = _targets(paths, options.out, len(model.recipe.patch))
        status = _masks(model, paths, targets)
    else:
        table = options.out or Path("predictions.csv")
        status = _table(model, paths, table)
    return status


def _masks(model: Segmenter, paths: Sequence[Path], targets: Sequence[Path]) -> int:
    """Write the mask of every image, and tell its sizes."""
    from jaxmed.cli._inputs import read
    from jaxmed.data import write_mask
    from jaxmed.inference import segment

    done, failed = 0, 0
    for path, target in zip(paths, targets, strict=True):
        masks: list[np.ndarray] = []
        broken = 0
        for found in read(path, model.recipe.spacing, len(model.recipe.channels)):
            mask = _tried(found, lambda scan: segment(model, scan))
            if mask is None:
                broken += 1
                continue
            masks.append(mask.array)
            if not found.packed:
                write_mask(target, mask.array, mask)
            name = found.name if found.packed else target
            print(f"{name}: {_sizes(mask, model.recipe.classes)}")
        if masks and target.suffix == ".npz":
            if broken:
                # Rows would no longer be those of the input.
                print(f"jaxmed: error: {path}: {broken} bad image(s), so no {target} is written",
                      file=sys.stderr)  # fmt: skip
                failed, masks = failed + len(masks), []
            else:
                _save_arrays(target, np.stack(masks))
                print(target)
        done, failed = done + len(masks), failed + broken
    return _code(done, failed)


def _sizes(mask: Scan, classes: Sequence[str]) -> str:
    """How much each structure fills."""
    counts = {name: int((mask.array == k).sum()) for k, name in enumerate(classes) if k}
    if mask.array.ndim != 3:
        total = mask.array.size
        return ", ".join(f"{name} {n} pixels ({n / total:.3g})" for name, n in counts.items())
    voxel = float(np.prod(mask.spacing)) / 1000
    return ", ".join(f"{name} {n * voxel:.3g} ml" for name, n in counts.items())


def _table(model: ImageModel, paths: Sequence[Path], target: Path) -> int:
    """Write a row for every image: its scores and its class, or its numbers."""
    from jaxmed.cli._inputs import read
    from jaxmed.inference import prepare_image

    recipe = model.recipe
    if target.suffix != ".csv":
        raise ValueError(f"the table is written as .csv, not as {target.name!r}")
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"{twice} is named twice")
    names = [*recipe.outputs]
    header = names if recipe.task == "regression" else [f"score_{name}" for name in names]
    decided = recipe.task not in ("regression", "multi-label")
    rows, failed = [], 0
    for path in paths:
        spacing = (1.0,) * len(recipe.shape)
        for found in read(path, spacing, len(recipe.channels)):
            image = _tried(found, lambda scan: prepare_image(recipe, scan))
            if image is None:
                failed += 1
                continue
            said = np.asarray(model.predict(image[None]))[0]
            choice = [names[int(said.argmax())]] if decided else []
            rows.append([found.name, *(f"{v:.9g}" for v in said), *choice])
    if rows:
        text = csv_text(["case", *header, *["predicted"] * decided], rows)
        write_whole(target, text)
        print(f"{target}: {len(rows)} image(s)")
    return _code(len(rows), failed)


def _tried(found: Input, work: Callable[[Scan], Any]) -> Any:
    """What a function says of an image; None, and a line, where it cannot."""
    error = found.error
    if found.scan is not None:
        try:
            return work(found.scan)
        except ValueError as fault:
            error = str(fault)
    prefix = f"{found.name} of {found.path}" if found.packed else f"{found.path}"
    print(f"jaxmed: error: {error if prefix in error else f'{prefix}: {error}'}", file=sys.stderr)
    return None


def _code(done: int, failed: int) -> int:
    if failed and done:
        print(f"jaxmed: {failed} of {done + failed} images could not be predicted", file=sys.stderr)
    return 0 if not failed else 1 if done else 2


def _save_arrays(target: Path, masks: np.ndarray) -> None:
    with replacing(target) as partial:
        np.savez_compressed(partial, mask=masks)


def _targets(paths: Sequence[Path], out: Path | None, rank: int) -> list[Path]:
    """Where each file's masks go; never over an image, and no two to one file."""
    from jaxmed.cli._inputs import name_of
    from jaxmed.data.formats import MASKS, is_picture, suffix

    def ending(path: Path) -> str:
        if ".npz" in path.name:
            return ".npz"
        return ".png" if rank == 2 and is_picture(path) else ".nii.gz"

    several = len(paths) > 1
    is_file = out is not None and bool(out.suffix) and not out.is_dir()
    if out is not None and is_file and several and suffix(out) in MASKS:
        raise ValueError(f"{len(paths)} images cannot go to one file {out}: name a folder")
    if out is not None and is_file and not several:
        known = (".npz",) if ending(paths[0]) == ".npz" else MASKS
        if suffix(out) not in known:
            raise ValueError(f"a mask is written as {' or '.join(known)}, not as {out.name!r}")
        targets = [out]
    else:
        targets = [(out or Path()) / f"{name_of(path)}_mask{ending(path)}" for path in paths]
    for path, target in zip(paths, targets, strict=True):
        if path.resolve() == target.resolve():
            raise ValueError(f"the mask of {path} would overwrite it: name another file with -o")
    twice = sorted({str(t) for t in targets if targets.count(t) > 1})
    if twice:
        raise ValueError(f"two images have one name, so two masks would go to {twice[0]}")
    return targets
