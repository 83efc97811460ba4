"""Masks of new images, with their volumes, probabilities and uncertainty."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed._csv import csv_text
from jaxmed._files import replacing, write_whole
from jaxmed.cli.predict._inputs import Given, Input, is_packed, read
from jaxmed.cli.predict._made_by import MadeBy
from jaxmed.data import Scan, read_mask, write_dicom_seg, write_mask
from jaxmed.data.formats import MASKS, is_picture, mask_ending, suffix
from jaxmed.inference import Recipe, Segmenter, decided, probabilities, segment


class Also(NamedTuple):
    """What is written besides the masks."""

    probabilities: bool
    uncertainty: bool


def write(
    model: Segmenter, given: Sequence[Given], out: Path | None, also: Also, *, resume: bool
) -> int:
    """Write the mask of every image and a table of volumes, and tell them."""
    recipe = model.recipe
    targets = targets_of(given, out, len(recipe.patch))
    # Beside a mask that was named alone lies what others made.
    kept = None if out is not None and _is_file(out) else MadeBy(
        out or Path(), model, also, resume=resume
    )  # fmt: skip
    done, failed = 0, 0
    volumes: list[tuple[str, Scan]] = []

    def asked(scan: Scan) -> Scan:
        # Without maps a large volume is decided piece by piece, in less memory.
        return probabilities(model, scan) if any(also) else segment(model, scan)

    for one, target in zip(given, targets, strict=True):
        if kept is not None and kept.has(target) and target.suffix != ".npz":
            volumes.append((one.name, read_mask(target)))
            done += 1
            continue
        masks: list[np.ndarray] = []
        broken = 0
        for found in read(one, recipe.spacing, len(recipe.channels)):
            answer = tried(found, asked)
            if answer is None:
                broken += 1
                continue
            mask = decided(recipe, answer) if any(also) else answer
            masks.append(mask.array)
            if not found.packed:
                # The mask last: where it is, everything is.
                if any(also):
                    picture = is_picture(one.path)
                    _write_also(target, found.name, answer, recipe, also, picture=picture)
                _write_mask(target, mask, recipe.classes)
                volumes.append((found.name, mask))
            name = found.name if found.packed else target
            print(f"{name}: {_sizes(mask, recipe.classes)}", flush=True)
        if masks and target.suffix == ".npz":
            if broken:
                # Rows would no longer be those of the input.
                print(f"jaxmed: error: {one.path}: {broken} bad image(s), so no {target} is "
                      "written", file=sys.stderr)  # fmt: skip
                failed, masks = failed + len(masks), []
            else:
                _save_arrays(target, mask=np.stack(masks))
                print(target)
        done, failed = done + len(masks), failed + broken
    if volumes and out is not None and not _is_file(out):
        table = out / "volumes.csv"
        write_whole(table, _volumes(volumes, recipe.classes))
        print(table)
    return exit_code(done, failed)


def _write_mask(target: Path, mask: Scan, classes: Sequence[str]) -> None:
    if suffix(target) == ".dcm":
        target.parent.mkdir(parents=True, exist_ok=True)
        # A label's segment has its name, whichever of the classes occur.
        write_dicom_seg(target, mask.array, mask, [*classes[1:]])
    else:
        write_mask(target, mask.array, mask)


def _write_also(
    target: Path, name: str, soft: Scan, recipe: Recipe, also: Also, *, picture: bool
) -> None:
    if also.probabilities:
        path = target.parent / f"{name}_probabilities.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        _save_arrays(
            path,
            probabilities=soft.array.astype(np.float16),
            classes=np.array(recipe.classes),
            affine=soft.affine,
        )
    if also.uncertainty:
        found = uncertainty(soft.array, regions=bool(recipe.regions))
        ending = ".tif" if picture else ".nii.gz"
        _save_map(target.parent / f"{name}_uncertainty{ending}", found, soft)


def uncertainty(probabilities: np.ndarray, *, regions: bool) -> np.ndarray:
    """Entropy at each voxel over its largest value, from 0 to 1; of regions, of the least sure."""
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1.0)
    if not regions:
        return (-(p * np.log(p)).sum(-1) / np.log(p.shape[-1])).astype(np.float32)
    q = np.clip(1 - p, 1e-12, 1.0)
    return (-(p * np.log(p) + q * np.log(q)) / np.log(2)).max(-1).astype(np.float32)


def _save_map(path: Path, values: np.ndarray, scan: Scan) -> None:
    import nibabel as nib
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        if path.suffix == ".tif":
            Image.fromarray(values).save(partial)
            return
        affine = np.eye(4)
        kept = [*range(values.ndim), 3]
        affine[np.ix_(kept, kept)] = scan.file.affine
        nib.Nifti1Image(values, affine).to_filename(partial)


def _volumes(masks: Sequence[tuple[str, Scan]], classes: Sequence[str]) -> str:
    """A table of each structure's size: millilitres of volumes, pixels of pictures."""
    names, rows = [*classes[1:]], []
    flat = masks[0][1].array.ndim != 3
    for name, mask in masks:
        counts = [int((mask.array == k).sum()) for k in range(1, len(classes))]
        if flat:
            rows.append([name, *counts, mask.array.size])
        else:
            voxel = float(np.prod(mask.spacing)) / 1000
            rows.append([name, *(f"{n * voxel:.6g}" for n in counts)])
    unit = "pixels" if flat else "ml"
    header = ["case", *(f"{name}_{unit}" for name in names), *["all_pixels"] * flat]
    return csv_text(header, rows)


def _sizes(mask: Scan, classes: Sequence[str]) -> str:
    """How much each structure fills."""
    counts = {name: int((mask.array == k).sum()) for k, name in enumerate(classes) if k}
    if mask.array.ndim != 3:
        total = mask.array.size
        return ", ".join(f"{name} {n} pixels ({n / total:.3g})" for name, n in counts.items())
    voxel = float(np.prod(mask.spacing)) / 1000
    return ", ".join(f"{name} {n * voxel:.3g} ml" for name, n in counts.items())


def tried(found: Input, work: Callable[[Scan], Any]) -> Any:
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


def exit_code(done: int, failed: int, *, what: str = "predicted") -> int:
    """The command's exit code, and a line if of some images it could not be done."""
    if failed and done:
        print(f"jaxmed: {failed} of {done + failed} images could not be {what}", file=sys.stderr)
    return 0 if not failed else 1 if done else 2


def _save_arrays(target: Path, **arrays: Any) -> None:
    with replacing(target) as partial:
        np.savez_compressed(partial, **arrays)


def _is_file(out: Path) -> bool:
    return suffix(out) in (*MASKS, ".npz") and not out.is_dir()


def targets_of(given: Sequence[Given], out: Path | None, rank: int) -> list[Path]:
    """Where each file's masks go; never over an image, and no two to one file."""

    def ending(path: Path) -> str:
        return ".npz" if is_packed(path) else mask_ending(path, rank)

    several = len(given) > 1
    is_file = out is not None and bool(out.suffix) and not out.is_dir()
    if out is not None and is_file and several and suffix(out) in MASKS:
        raise ValueError(f"{len(given)} images cannot go to one file {out}: name a folder")
    if out is not None and is_file and not several:
        known = (".npz",) if ending(given[0].path) == ".npz" else MASKS
        if suffix(out) not in known:
            raise ValueError(f"a mask is written as {' or '.join(known)}, not as {out.name!r}")
        targets = [out]
    else:
        targets = [(out or Path()) / f"{one.name}_mask{ending(one.path)}" for one in given]
    for one, target in zip(given, targets, strict=True):
        if any(path.resolve() == target.resolve() for path in one.paths):
            raise ValueError(
                f"the mask of {one.path} would overwrite it: name another file with -o"
            )
    twice = sorted({str(t) for t in targets if targets.count(t) > 1})
    if twice:
        raise ValueError(f"two images have one name, so two masks would go to {twice[0]}")
    return targets
