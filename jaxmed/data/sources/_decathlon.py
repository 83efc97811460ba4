"""Medical Segmentation Decathlon folders: ``dataset.json`` and NIfTI images with masks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data._source import Example
from jaxmed.data.formats._read import read_image, read_mask, read_space
from jaxmed.data.formats._registry import stem
from jaxmed.data.images._space import Scan, check_grid
from jaxmed.data.sources._observed import Observed

_SPLITS = {"training": "imagesTr", "test": "imagesTs"}


@dataclass(frozen=True)
class DecathlonSource:
    """The cases of one split of a Decathlon folder; made by `decathlon`."""

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...] | None
    case_ids: tuple[str, ...]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    canonical: bool
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Scan:
        """Read the image of a case with its place in the patient."""
        return read_image(self.images[index], canonical=self.canonical)

    def mask(self, index: int, *, like: Scan | None = None) -> Scan:
        """Read the mask of a case, checked against its image if given."""
        if self.masks is None:
            raise fault(self.name, "table", "this split has no masks")
        return read_mask(
            self.masks[index], like=like, classes=len(self.classes), canonical=self.canonical
        )

    def __getitem__(self, index: int) -> Example:
        scan = self.image(index)
        _check_channels(self.images[index], scan.array.shape[-1], self.modalities)
        example = {
            "image": scan.array,
            "spacing": np.asarray(scan.spacing, np.float32),
            "affine": np.float32(scan.affine),
        }
        if self.masks is not None:
            example["mask"] = self.mask(index, like=scan).array
        return example


def decathlon(
    path: str | os.PathLike,
    *,
    split: Literal["training", "test"] = "training",
    canonical: bool = True,
) -> DecathlonSource:
    """Open a Medical Segmentation Decathlon folder, such as ``Task04_Hippocampus``.

    All headers are read at once: a missing file, or a mask whose size or affine differs from its
    image's, is an error here. Voxels are read case by case (`in_memory` reads them all).

    Args:
        path: the folder with ``dataset.json``. Files whose names begin with ``._`` are ignored.
        split: ``"training"`` (with masks) or ``"test"``.
        canonical: whether volumes are turned to RAS+; `write_mask` turns masks back.

    Returns:
        A source of ``image`` (*spatial, channels) float32, ``mask`` (*spatial,) int32, ``spacing``
        (3,) and ``affine`` (4, 4), with ``case_ids``, ``classes`` and ``modalities``. The volumes
        keep their own shapes: bring them to one with `random_patch` or `crop_or_pad`.

    Raises:
        DataError: anything malformed, by file and rule.

    References:
        Antonelli et al. The Medical Segmentation Decathlon. Nature Communications 13:4128, 2022.
    """
    source, faults = _open(Path(path), split, canonical)
    faults += [f for i in range(len(source)) for f in _header_faults(source, i)]
    if faults:
        raise DataError.of(faults)
    return source


def check_decathlon(path: Path) -> Iterator[Fault]:
    """List the faults of a whole folder, voxels included."""
    for split in _SPLITS:
        try:
            source, faults = _open(path, split, True)
        except DataError as error:
            if split == "training" or any(f.rule != "non-empty" for f in error.faults):
                yield from error.faults
            if any(f.file.endswith("dataset.json") and f.rule == "readable" for f in error.faults):
                return
            continue
        yield from faults
        observed = Observed(str(path / "dataset.json"), one_size=False)
        for index in range(len(source)):
            yield from _case_faults(source, index, observed)
        yield from observed.faults()


def _case_faults(source: DecathlonSource, index: int, observed: Observed) -> Iterator[Fault]:
    scan = None
    try:
        scan = source.image(index)
        _check_channels(source.images[index], scan.array.shape[-1], source.modalities)
        yield from observed.image((source.images[index],), scan)
    except DataError as error:
        yield from error.faults
    if source.masks is not None:
        try:
            yield from observed.mask(source.masks[index], source.mask(index, like=scan))
        except DataError as error:
            yield from error.faults


def _header_faults(source: DecathlonSource, index: int) -> Iterator[Fault]:
    try:
        image, channels = read_space(source.images[index])
        _check_channels(source.images[index], channels, source.modalities)
        if source.masks is not None:
            mask, _ = read_space(source.masks[index])
            check_grid(source.masks[index], mask, image)
    except DataError as error:
        yield from error.faults


def _check_channels(path: Path, channels: int, modalities: tuple[str, ...]) -> None:
    if channels != len(modalities):
        raise fault(
            path, "shape", f"{channels} channels, but dataset.json lists modalities {modalities}"
        )


def _open(path: Path, split: str, canonical: bool) -> tuple[DecathlonSource, list[Fault]]:
    """Read dataset.json; the source holds the cases whose files exist, the faults the others."""
    if split not in _SPLITS:
        raise ValueError(f"split is 'training' or 'test', got {split!r}")
    file = path / "dataset.json"
    table = _read_json(file)
    wanted = ("image", "label") if split == "training" else ("image",)
    cases: dict[str, tuple[Path, ...]] = {}
    faults = []
    for entry in table.get(split, []):
        entry = {"image": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or any(key not in entry for key in wanted):
            raise fault(file, "table", f"an entry of {split!r} lacks one of {wanted}: {entry}")
        paths = tuple(path / str(entry[key]) for key in wanted)
        if paths[0].name.startswith("._"):  # left by macOS beside every file of an archive
            continue
        name = stem(paths[0])
        missing = [Fault(str(p), "exists", f"listed in {file}") for p in paths if not p.is_file()]
        if name in cases:
            faults.append(Fault(str(file), "unique", f"case {name} is listed twice"))
        elif missing:
            faults += missing
        else:
            cases[name] = paths
    if not cases and not faults:
        raise fault(file, "non-empty", f"{split!r} lists no cases")
    columns = tuple(zip(*cases.values(), strict=True)) or ((),) * len(wanted)
    source = DecathlonSource(
        name=str(path),
        images=columns[0],
        masks=columns[1] if split == "training" else None,
        case_ids=tuple(cases),
        classes=_classes(file, table.get("labels")),
        modalities=_modalities(file, table.get("modality", table.get("channel_names"))),
        canonical=canonical,
    )
    return source, faults


def _classes(file: Path, labels: Any) -> tuple[str, ...]:
    if isinstance(labels, dict) and labels and all(isinstance(v, int) for v in labels.values()):
        labels = {str(v): k for k, v in labels.items()}  # nnU-Net's {"name": number}
    numbers = [str(i) for i in range(len(labels or ()))]
    if not isinstance(labels, dict) or len(labels) < 2 or sorted(labels) != sorted(numbers):
        raise fault(file, "table", f"labels must name the classes 0, 1, ..., got {labels}")
    return tuple(str(labels[i]) for i in numbers)


def _modalities(file: Path, modality: Any) -> tuple[str, ...]:
    numbers = [str(i) for i in range(len(modality or ()))]
    if not isinstance(modality, dict) or not modality or sorted(modality) != sorted(numbers):
        raise fault(file, "table", f"modality must name the channels 0, 1, ..., got {modality}")
    return tuple(str(modality[i]) for i in numbers)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise fault(path, "exists", "a Decathlon folder has a dataset.json")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise fault(path, "readable", f"not JSON: {error}") from error
    if not isinstance(table, dict):
        raise fault(path, "table", f"expected an object, got {type(table).__name__}")
    return table
