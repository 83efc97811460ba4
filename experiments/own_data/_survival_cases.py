"""Cases of a table with times to an event: images, records, which of both there are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource, DataError, ManifestSource
from jaxmed.data._error import fault
from jaxmed.data.sources._manifest import open_table
from jaxmed.data.tables._table import NO_NUMBER, Table, is_missing, number, read_table
from jaxmed.inference import ImageRecipe, prepare_image

from ._copies import Files, files_of
from ._own import split_name

_FEW = 10


class Read(NamedTuple):
    """What a table holds.

    Attributes:
        source: `survival`, and `image`, `record`, `present` as far as there are any.
        columns: what each record column is, as `networks.tabular` takes it.
        records: their names.
        splits: `train`, `val` or `test` of each case, or None.
        files: of each case's image, none where it has no image.
        notes: how cells were read.
    """

    source: ArraySource
    columns: tuple[int, ...]
    records: tuple[str, ...]
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
    if missing := [name for name in config.records if name not in table.columns]:
        raise table.fault(f"--records {missing[0]}: there is no such column, of {table.columns}")
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
    arrays, present, notes = {"survival": times.astype(np.float32)}, {}, []
    files: Files = [()] * len(rows)
    if config.image in table.columns:
        arrays["image"], files = _images(config, table)
        present["image"] = np.array([bool(paths) for paths in files])
    columns: tuple[int, ...] = ()
    if config.records:
        arrays["record"], columns, notes = records(table, config.records)
        present["record"] = ~np.isnan(arrays["record"]).all(1)
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
    return Read(source, columns, config.records, splits, files, tuple(notes))


def records(table: Table, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[int, ...], list[str]]:
    """Records (cases, columns) with NaN for empty cells, what each column is, how it was read.

    Raises:
        DataError: a column that is empty, an infinite number, or words among many numbers.
    """
    columns, sizes, notes = [], [], []
    for name in names:
        cells = [row[name] for row in table.rows]
        read = [number(c, decimal_comma=table.decimal_comma) for c in cells]
        known = [i for i, c in enumerate(cells) if not is_missing(c)]
        words = [i for i in known if read[i] is None and str(cells[i]).casefold() not in NO_NUMBER]
        if not known:
            raise table.fault(f"--records {name}: all its cells are empty; leave it out")
        if not words:
            if odd := [i for i in known if read[i] is not None and not np.isfinite(read[i])]:
                raise table.fault(f"{table.where(odd[0])}: {name} is {cells[odd[0]]!r}")
            columns.append([np.nan if x is None else x for x in read])
            sizes.append(0)
            continue
        if len({read[i] for i in known} - {None}) > _FEW:
            raise table.fault(
                f"{table.where(words[0])}: {name} is {cells[words[0]]!r} in a column of numbers; "
                "leave the cell empty if it is not known"
            )
        values = sorted({str(cells[i]).strip() for i in known})
        columns.append([np.nan if is_missing(c) else values.index(str(c).strip()) for c in cells])
        sizes.append(len(values))
        notes.append(f"{name} is taken for one of {len(values)} categories.")
    return np.array(columns, np.float32).T, tuple(sizes), notes


def unseen_are_missing(read: Read, learned: ArraySource, held: ArraySource) -> tuple[str, ...]:
    """Blank categories that no case learned from has: of them the network knows nothing.

    Returns:
        What a reader should know of it.
    """
    notes = []
    for k, (name, size) in enumerate(zip(read.records, read.columns, strict=True)):
        if not size:
            continue
        column = held.arrays["record"][:, k]
        unseen = ~np.isnan(column) & ~np.isin(column, learned.arrays["record"][:, k])
        column[unseen] = np.nan
        if unseen.any():
            notes.append(
                f"{name}: {unseen.sum()} of the cases held out have a category that no case "
                "learned from has; it counts as missing."
            )
    return tuple(notes)


def _told(table: Table, i: int, column: str) -> str:
    """A cell that must not be empty."""
    if is_missing(table.rows[i][column]):
        raise table.fault(f"{table.where(i)}: {column} is missing; fill it in")
    return str(table.rows[i][column])


def _images(config: Any, table: Table) -> tuple[np.ndarray, Files]:
    """Images of one size, zeros where there is none, and their files."""
    there = [i for i, row in enumerate(table.rows) if not is_missing(row[config.image])]
    if not there:
        raise table.fault(f"no cell of {config.image} names an image")
    named = table.kept(there)
    named = named._replace(rows=[{"image": row[config.image]} for row in named.rows])
    source, faults = open_table(named, root=table.path.parent, labels=(), canonical=True)
    if faults or source is None:
        raise DataError.of(faults)
    images = _prepared(config, source)
    whole = np.zeros((len(table.rows), *images.shape[1:]), np.float32)
    whole[there] = images
    files: list[tuple] = [()] * len(table.rows)
    for i, paths in zip(there, files_of(source), strict=True):
        files[i] = paths
    return whole, files


def _prepared(config: Any, source: ManifestSource) -> np.ndarray:
    """The images as the network takes them, by the grid and channels of the first."""
    recipe, found = None, []
    for i in range(len(source)):
        scan = source.image(i, canonical=True)
        if recipe is None:
            shape = scan.space.shape
            small = tuple(max(8, round(n * config.size / max(shape))) for n in shape)
            channels = tuple(f"channel {i}" for i in range(scan.array.shape[-1]))
            network = getattr(jm.networks, config.network)(1, stem="small")
            recipe = ImageRecipe("regression", ("risk",), channels, small, network)
        try:
            found.append(prepare_image(recipe, scan))
        except ValueError as error:
            raise fault(source.paths(i)[0], "shape", f"unlike the first image: {error}") from None
    return np.stack(found)
