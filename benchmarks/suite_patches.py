"""Patches of volumes on disk: from memory maps, against reading whole volumes for each.

MONAI's side is its data set that keeps prepared examples on disk (``PersistentDataset``, with the
places of the foreground), which reads a whole example for every patch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

import jaxmed as jm
from benchmarks import _torch
from benchmarks._case import Case, Options, Run, UnavailableError


def cases(options: Options) -> list[Case]:
    """Batches of patches, a third of them around a labelled voxel, by one thread."""
    size, patch, volumes = (24, 8, 2) if options.quick else (256, 96, 4)
    folder = tempfile.TemporaryDirectory(prefix="patches-")
    made: dict[str, Any] = {}

    def sources() -> dict[str, Any]:
        if not made:
            made.update(_sources(Path(folder.name), size, volumes), folder=folder)
        return made

    def side(name: str) -> Run:
        cut = jm.data.random_patch((patch,) * 3)
        batches = jm.data.batches(sources()[name], 2, transform=cut)
        steps = iter(range(10**9))
        return Run(lambda: batches[next(steps)], result=lambda: batches[0]["image"])

    names = ("jaxmed", "whole .npy", "whole .nii.gz")
    sides = {name: lambda name=name: side(name) for name in names}
    sides["monai"] = lambda: _monai(sources(), patch, options)
    return [
        Case(
            f"patches of {patch}^3 from {volumes} volumes of {size}^3",
            sides,
            items=2,
            unit="patches",
        )
    ]


def _sources(folder: Path, size: int, volumes: int) -> dict[str, Any]:
    """The same volumes in three forms; a ball of two labels in noise."""
    rng = np.random.default_rng(0)
    grid = np.linalg.norm(np.indices((size,) * 3) - size / 2, axis=0)
    mask = (grid < size / 4).astype(np.int32) + (grid < size / 8)
    paths = []
    for number in range(volumes):
        image = rng.normal(size=mask.shape).astype(np.float32)
        pair = folder / f"{number}.nii.gz", folder / f"{number}_mask.nii.gz"
        for array, path in zip((image, mask), pair, strict=True):
            nib.Nifti1Image(array, np.eye(4)).to_filename(path)
        np.save(folder / f"{number}.npy", image[..., None])
        np.save(folder / f"{number}_mask.npy", mask)
        paths.append(pair)

    def read(example: dict[str, Any]) -> dict[str, Any]:
        image, labels = paths[int(example["number"])]
        return {
            "image": jm.data.read_image(image).array,
            "mask": jm.data.read_mask(labels).array,
        }

    def load(example: dict[str, Any]) -> dict[str, Any]:
        number = int(example["number"])
        return {
            "image": np.load(folder / f"{number}.npy"),
            "mask": np.load(folder / f"{number}_mask.npy"),
        }

    numbers = jm.data.as_source({"number": np.arange(volumes)})
    compressed = jm.data.map_source(numbers, read)
    return {
        "jaxmed": jm.data.memory_mapped(compressed, folder / "maps"),
        "whole .npy": jm.data.map_source(numbers, load),
        "whole .nii.gz": compressed,
        "paths": paths,
    }


def _monai(made: dict[str, Any], patch: int, options: Options) -> Run:
    torch = _torch.torch_module(options.threads)
    try:
        from monai import transforms
        from monai.data import DataLoader, PersistentDataset
    except ImportError as error:
        raise UnavailableError("pip install --no-deps monai") from error
    both = ["image", "mask"]
    steps = transforms.Compose(
        [
            transforms.LoadImaged(both),
            transforms.EnsureChannelFirstd(both),
            transforms.FgBgToIndicesd("mask"),
            transforms.RandCropByPosNegLabeld(
                both,
                label_key="mask",
                spatial_size=(patch,) * 3,
                pos=1,
                neg=2,
                fg_indices_key="mask_fg_indices",
                bg_indices_key="mask_bg_indices",
            ),
            transforms.SelectItemsd(both),
        ]
    )
    files = [{"image": str(image), "mask": str(mask)} for image, mask in made["paths"]]
    cached = PersistentDataset(files, steps, cache_dir=str(made["paths"][0][0].parent / "monai"))
    loader = DataLoader(cached, batch_size=2, shuffle=True)
    torch.manual_seed(0)

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    batches = endless()
    for _ in range(len(loader)):  # prepared, as ours are
        next(batches)
    return Run(lambda: next(batches))
