"""Cases of a table with times to an event: images, records, which of both there are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import ArraySource, DataError, ManifestSource
from jaxmed.data._error import fault
from jaxmed.data.sources._manifest import open_table
from jaxmed.data.tables._records import read_records
from jaxmed.data.tables._table import Table, is_missing, read_table
from jaxmed.inference import SurvivalRecipe, prepare_image

from ._copies import Files, files_of
from ._parts import Cases, split_name


class Read(NamedTuple):
    """What a table holds.

    Attributes:
        table: it.
        survival: (cases, 2) the time, and 1 for the event or 0 for censored.
        images: those that are named, or None.
        files: of each case's image, none where it has no image.
        patients: of each case, or None.
        splits: `train`, `val` or `test` of each case, or None.
    """

    table: Table
    survival: np.ndarray
    images: ManifestSource | None
    files: Files
    patients: tuple[str, ...] | None
    splits: np.ndarray | None

    @property
    def dealt(self) -> Cases:
        """The cases, to be dealt: those with the event and the others alike."""
        event = self.survival[:, 1].astype(int)
        return Cases(str(self.table.path), self.patients, self.splits, self.files, event, "case")


def read_cases(config: Any) -> Read:
    """The cases of the table, whose images are opened and not yet read.

    Raises:
        ValueError: no table, or a folder.
        DataError: a column that is not there, a cell that is no time or event.
    """
    if config.data is None:
        raise ValueError("--data: name a table with the columns time and event")
    if config.data.is_dir():
        raise ValueError(f"--data {config.data}: a folder tells no times; name a table")
    table = read_table(config.data, config.time, config.event, config.image, config.patient)
    for option, name in (("time", config.time), ("event", config.event)):
        if name not in table.columns:
            raise table.fault(f"there is no column {name!r}; name it by --{option}")
    rows = range(len(table.rows))
    times = np.array(
        [[table.number(i, name) for name in (config.time, config.event)] for i in rows]
    )
    for i in rows:
        if times[i, 0] < 0 or times[i, 1] not in (0, 1):
            raise table.fault(
                f"{table.where(i)}: {config.time} must be 0 or later and {config.event} 0 or 1, "
                f"but they are {times[i, 0]:g} and {times[i, 1]:g}"
            )
    images, files = None, [()] * len(rows)
    if config.image in table.columns:
        images, files = _images(config, table)
    patients = splits = None
    if config.patient in table.columns:
        patients = tuple(_told(table, i, config.patient) for i in rows)
    if "split" in table.columns:
        names = [_told(table, i, "split") for i in rows]
        splits = np.array([split_name(name, str(table.path)) for name in names])
    return Read(table, times.astype(np.float32), images, files, patients, splits)


def prepared(read: Read, recipe: SurvivalRecipe) -> tuple[ArraySource, tuple[str, ...]]:
    """The cases in memory as the network takes them, and how cells were read.

    Returns:
        `survival`, and `image`, `record`, `present` as far as there are any.

    Raises:
        DataError: an image that cannot be read, or is unlike the first; a column that is not there.
    """
    arrays: dict[str, np.ndarray] = {"survival": read.survival}
    present, notes = [], ()
    if recipe.image is not None:
        arrays["image"] = _in_memory(read, recipe)
        present.append([bool(paths) for paths in read.files])
    if recipe.records:
        found = read_records(read.table, recipe.records, recipe.categories)
        words = zip(recipe.records, recipe.categories, strict=True)
        notes = tuple(
            f"{name} is taken for one of {len(known)} categories." for name, known in words if known
        )
        notes = (*notes, *found.notes)
        arrays["record"] = found.values
        present.append(~np.isnan(found.values).all(1))
    if len(present) > 1 or not all(present[0]):
        arrays["present"] = np.stack(present, axis=1).astype(np.float32)
    cases = tuple(read.table.where(i) for i in range(len(read.survival)))
    name = str(read.table.path)
    return ArraySource(arrays, case_ids=cases, groups=read.patients, name=name), notes


def _told(table: Table, i: int, column: str) -> str:
    """A cell that must not be empty."""
    if is_missing(table.rows[i][column]):
        raise table.fault(f"{table.where(i)}: {column} is missing; fill it in")
    return str(table.rows[i][column])


def _images(config: Any, table: Table) -> tuple[ManifestSource, Files]:
    """The images that are named, and the files of each case's image, none where there is none."""
    there = [i for i, row in enumerate(table.rows) if not is_missing(row[config.image])]
    if not there:
        raise table.fault(f"no cell of {config.image} names an image")
    named = table.kept(there)
    named = named._replace(rows=[{"image": row[config.image]} for row in named.rows])
    source, faults = open_table(named, root=table.path.parent, labels=(), canonical=True)
    if faults or source is None:
        raise DataError.of(faults)
    files: list[tuple] = [()] * len(table.rows)
    for i, paths in zip(there, files_of(source), strict=True):
        files[i] = paths
    return source, files


def _in_memory(read: Read, recipe: SurvivalRecipe) -> np.ndarray:
    """Images as the network takes them, zeros where there is none."""
    assert read.images is not None
    assert recipe.image is not None
    shape = (*recipe.image.shape, recipe.image.inputs)
    whole = np.zeros((len(read.files), *shape), np.float32)
    for k, i in enumerate(i for i, paths in enumerate(read.files) if paths):
        scan = read.images.image(k, canonical=True)
        try:
            whole[i] = prepare_image(recipe.image, scan)
        except ValueError as error:
            raise fault(read.files[i][0], "shape", f"unlike the first image: {error}") from None
    return whole
