"""Images of an application, with all that a study must know of them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxmed.data import column, data_root, medmnist, read_image

from .._common.pictures import near_copies, pictures, together


class Cases(NamedTuple):
    """Images with classes.

    Attributes:
        images: (n, size, size, channels) in [0, 1], of one channel or three.
        labels: (n,) classes.
        classes: their names.
        names: of the images.
        units: (n,) what is never split: the patient, or what is nearly the same image.
        unit: what units are, such as patients.
        columns: of subgroups, (n,) values each.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    unit: str
    columns: Mapping[str, Sequence[str]] = {}

    def groups(self) -> tuple[str, ...] | None:
        """The units, or None where each has one image."""
        return self.units if len(set(self.units)) < len(self.units) else None


def times(count: int) -> str:
    """How often something was done, in words.

    >>> times(1), times(3)
    ('once', '3 times')
    """
    return "once" if count == 1 else f"{count} times"


def folder(given: Path | None, name: str) -> Path:
    """The folder of a set: the one given, or by name in the data folder."""
    return data_root() / name if given is None else given


def of_folders(places: Sequence[Path], size: int, patient: str = "") -> Cases:
    """Grey pictures of folders with a folder a class; what is nearly the same is one unit.

    Args:
        places: the folders, of the same classes.
        size: side to which images are brought.
        patient: a pattern with one group, the patient in a file's name; "" for none.

    Raises:
        ValueError: for folders of different classes.
        DataError: what `jaxmed data check` tells.
    """
    parts = [pictures(place, size, patient) for place in places]
    for place, part in zip(places, parts, strict=True):
        if part.classes != parts[0].classes:
            raise ValueError(f"{place} has the classes {part.classes}, not {parts[0].classes}")
    images = np.concatenate([part.images for part in parts]).astype(np.float32)
    if len(parts) == 1:
        units = parts[0].units
    else:
        firsts = np.cumsum([0, *(part.patients.max() + 1 for part in parts[:-1])])
        patients = np.concatenate([p.patients + f for p, f in zip(parts, firsts, strict=True)])
        units = together(patients, near_copies(images, patients))
    return Cases(
        images, np.concatenate([part.labels for part in parts]), parts[0].classes,
        tuple(name for part in parts for name in part.cases), tuple(map(str, units)),
        "patients and groups of near copies" if patient else "groups of near copies",
    )  # fmt: skip


def of_medmnist(name: str, size: int) -> tuple[Cases, Cases]:
    """A set of MedMNIST of one label an image: its parts train and val, and its part test."""
    made = []
    for parts in (("train", "val"), ("test",)):
        sources = [medmnist(name, part) for part in parts]
        images = np.concatenate([column(source, "image") for source in sources])
        names = tuple(str(case) for source in sources for case in source.case_ids)
        shape = (len(images), size, size, images.shape[-1])
        made.append(
            Cases(
                np.asarray(jax.image.resize(images, shape, "linear"), np.float32),
                np.concatenate([column(source, "label") for source in sources]).astype(np.int32),
                tuple(sources[0].classes), names, names, "images",
            )
        )  # fmt: skip
    return made[0], made[1]


def square(image: np.ndarray, size: int) -> np.ndarray:
    """An image (height, width, channels) at a size, float32."""
    shape = (size, size, image.shape[-1])
    return np.asarray(jax.image.resize(np.asarray(image, np.float32), shape, "linear"))


def read_squares(files: Sequence[Path], size: int) -> np.ndarray:
    """Pictures (n, size, size, channels) in [0, 1].

    Raises:
        ValueError: names a file that there is not.
    """
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file}: named in the table, and there is no such file")
    return np.stack([square(read_image(file).array, size) for file in files])


def rows_of(table: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table.

    Raises:
        ValueError: names the columns that it lacks.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in needed if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"{table}: no column {', '.join(missing)}")
    return rows
