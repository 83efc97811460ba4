"""Cases of a table with times to an event: images, records, which of both there are."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource, DataError, ManifestSource, Scan
from jaxmed.data._error import fault
from jaxmed.data.sources._manifest import open_table
from jaxmed.data.tables._records import Records, read_records
from jaxmed.data.tables._table import Table, is_missing, read_table
from jaxmed.inference import ImageRecipe, prepare_image

from ._copies import Files, files_of
from ._own import split_name


class Read(NamedTuple):
    """What a table holds.

    Attributes:
        source: `survival`, and `image`, `record`, `present` as far as there are any.
        records: how its record columns were read, or None.
        image: how its images are prepared, or None.
        splits: `train`, `val` or `test` of each case, or None.
        files: of each case's image, none where it has no image.
        notes: how cells were read.
    """

    source: ArraySource
    records: Records | None
    image: ImageRecipe | None
    splits: np.ndarray | None
    files: Files
    notes: tuple[str, ...]


def read_cases(config: Any) -> Read:
    """The cases of the table, in memory.

    Raises:
        ValueError: no table, a column that is not there, neither images nor records.
        DataError: a cell that is no time or event, an image that cannot be read.
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
    arrays, present = {"survival": times.astype(np.float32)}, {}
    recipe = found = None
    files: Files = [()] * len(rows)
    if config.image in table.columns:
        arrays["image"], files, recipe = _images(config, table)
        present["image"] = np.array([bool(paths) for paths in files])
    if config.records:
        found = read_records(table, config.records)
        arrays["record"] = found.values
        present["record"] = ~np.isnan(found.values).all(1)
    if not present:
        raise table.fault(
            f"there is no column {config.image!r} and --records names none: nothing to learn from"
        )
    if len(present) > 1 or not next(iter(present.values())).all():
        here = [present[name] for name in sorted(present)]
        arrays["present"] = np.stack(here, axis=1).astype(np.float32)
    patients = splits = None
    if config.patient in table.columns:
        patients = tuple(_told(table, i, config.patient) for i in rows)
    if "split" in table.columns:
        names = [_told(table, i, "split") for i in rows]
        splits = np.array([split_name(name, str(table.path)) for name in names])
    source = ArraySource(
        arrays, case_ids=tuple(table.where(i) for i in rows), groups=patients, name=str(table.path)
    )
    return Read(source, found, recipe, splits, files, () if found is None else found.notes)


def as_learned(read: Read, names: tuple[str, ...], kept: np.ndarray) -> Read:
    """The cases as a network knows them that learns from some: what they lack, it cannot know."""
    if read.records is None:
        return read
    records = read.records.learned_by(names, kept)
    arrays = {**read.source.arrays, "record": records.values}
    if "present" in arrays:
        here = ~np.isnan(records.values).all(1)
        arrays["present"] = np.column_stack([arrays["present"][:, :-1], here]).astype(np.float32)
    source = dataclasses.replace(read.source, arrays=arrays)
    return read._replace(source=source, records=records, notes=records.notes)


def _told(table: Table, i: int, column: str) -> str:
    """A cell that must not be empty."""
    if is_missing(table.rows[i][column]):
        raise table.fault(f"{table.where(i)}: {column} is missing; fill it in")
    return str(table.rows[i][column])


def _images(config: Any, table: Table) -> tuple[np.ndarray, Files, ImageRecipe]:
    """Images of one size, zeros where there is none, their files, how they are prepared."""
    there = [i for i, row in enumerate(table.rows) if not is_missing(row[config.image])]
    if not there:
        raise table.fault(f"no cell of {config.image} names an image")
    named = table.kept(there)
    named = named._replace(rows=[{"image": row[config.image]} for row in named.rows])
    source, faults = open_table(named, root=table.path.parent, labels=(), canonical=True)
    if faults or source is None:
        raise DataError.of(faults)
    images, recipe = _prepared(config, source)
    whole = np.zeros((len(table.rows), *images.shape[1:]), np.float32)
    whole[there] = images
    files: list[tuple] = [()] * len(table.rows)
    for i, paths in zip(there, files_of(source), strict=True):
        files[i] = paths
    return whole, files, recipe


def _prepared(config: Any, source: ManifestSource) -> tuple[np.ndarray, ImageRecipe]:
    """The images as the network takes them, by the grid and channels of the first."""
    recipe, found = _recipe(config, source.image(0, canonical=True)), []
    for i in range(len(source)):
        scan = source.image(i, canonical=True)
        try:
            found.append(prepare_image(recipe, scan))
        except ValueError as error:
            raise fault(source.paths(i)[0], "shape", f"unlike the first image: {error}") from None
    return np.stack(found), recipe


def _recipe(config: Any, scan: Scan) -> ImageRecipe:
    shape = scan.space.shape
    small = tuple(max(8, round(n * config.size / max(shape))) for n in shape)
    channels = tuple(f"channel {i}" for i in range(scan.array.shape[-1]))
    network = getattr(jm.networks, config.network)(1, stem="small")
    return ImageRecipe("regression", ("risk",), channels, small, network)
