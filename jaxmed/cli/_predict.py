"""`jaxmed predict`: masks of new scans by a trained run, in each scan's own space."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

_ENDINGS = (".nii.gz", ".nii")


def run(arguments: Sequence[str]) -> int:
    """Read the options, segment the scans, write their masks."""
    parser = argparse.ArgumentParser(
        prog="jaxmed predict",
        description="Segment scans with a trained run. Each mask is written in its scan's own "
        "space: the same shape, affine and orientation.",
    )
    parser.add_argument("run", type=Path, help="folder of a finished run (jaxmed train, or demo)")
    parser.add_argument("image", type=Path, nargs="+", help="scan(s): NIfTI, or what else is read")
    parser.add_argument(
        "-o", "--out", type=Path, default=None,
        help="the mask's file, or a folder for the masks of several scans; "
        "by default NAME_mask.nii.gz in the current folder",
    )  # fmt: skip
    options = parser.parse_args([*arguments])
    targets = _targets(options.image, options.out)

    from jaxmed.data import read_image, write_mask
    from jaxmed.inference import load_segmenter, segment

    model = load_segmenter(options.run)
    names = model.recipe.classes
    for image, target in zip(options.image, targets, strict=True):
        scan = read_image(image, canonical=True)
        try:
            mask = segment(model, scan)
        except ValueError as error:
            raise ValueError(f"{image}: {error}") from error
        write_mask(target, mask.array, mask)
        voxel = 1.0
        for length in mask.spacing:
            voxel *= length
        sizes = ", ".join(
            f"{name} {(mask.array == k).sum() * voxel / 1000:.3g} ml"
            for k, name in enumerate(names)
            if k
        )
        print(f"{target}: {sizes}")
    return 0


def _targets(images: Sequence[Path], out: Path | None) -> list[Path]:
    """Where each mask goes; never over an image, and no two to one file."""
    several = len(images) > 1
    if out is not None and not several and out.name.lower().endswith(_ENDINGS) and not out.is_dir():
        targets = [out]
    elif out is not None and not several and out.suffix and not out.is_dir():
        raise ValueError(f"a mask is written as {' or '.join(_ENDINGS)}, not as {out.name!r}")
    elif out is not None and several and out.name.lower().endswith(_ENDINGS):
        raise ValueError(f"{len(images)} scans cannot go to one file {out}: name a folder")
    else:
        folder = out or Path()
        targets = [folder / f"{_stem(image)}_mask.nii.gz" for image in images]
    for image, target in zip(images, targets, strict=True):
        if image.resolve() == target.resolve():
            raise ValueError(f"the mask of {image} would overwrite it: name another file with -o")
    twice = sorted({str(t) for t in targets if targets.count(t) > 1})
    if twice:
        raise ValueError(f"two scans have one name, so two masks would go to {twice[0]}")
    return targets


def _stem(path: Path) -> str:
    name = path.name
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), path.suffix)
    return name[: len(name) - len(ending)]
