"""The UCR archive: time series with classes, one tab-separated file a part."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data._source import ArraySource
from jaxmed.data.public._download import data_root


def ucr(name: str, split: str = "train", *, root: str | os.PathLike | None = None) -> ArraySource:
    """Read one part of a set of the UCR time series archive.

    ``NAME/NAME_TRAIN.tsv`` and ``NAME/NAME_TEST.tsv`` are looked for in ``UCR`` and the data folder
    itself: a line a series, its class before its values. Series of different lengths end in NaN.

    Args:
        name: of the set, such as ``"ECG200"``.
        split: ``"train"`` or ``"test"``.
        root: data folder; by default the one ``JAXMED_DATA`` names.

    Returns:
        A source of ``image`` (time, 1) float32, ``label`` int32, the classes of both parts being
        numbered in their order, and ``length`` int32, the steps that are values; behind them stands
        0.

    Raises:
        ValueError: no such split.
        DataError: a missing or malformed file.

    References:
        Dau et al. (2019), The UCR time series archive, IEEE/CAA Journal of Automatica Sinica 6.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is 'train' or 'test', got {split!r}")
    base = Path(root) if root else data_root()
    folder = next((base / p / name for p in ("UCR", ".") if (base / p / name).is_dir()), None)
    if folder is None:
        raise fault(base, "exists", f"there is neither UCR/{name} nor {name} in this folder")
    tables = {part: _table(folder / f"{name}_{part.upper()}.tsv") for part in ("train", "test")}
    classes = np.unique(np.concatenate([table[:, 0] for table in tables.values()]))
    path, table = folder / f"{name}_{split.upper()}.tsv", tables[split]
    values = table[:, 1:]
    known = np.isfinite(values)
    length = known.sum(1).astype(np.int32)
    if not np.array_equal(known, np.arange(values.shape[1]) < length[:, None]):
        raise fault(path, "finite", "a value inside a series is not finite")
    if (length == 0).any():
        raise fault(path, "non-empty", f"series {int((length == 0).argmax())} has no values")
    return ArraySource(
        {
            "image": np.where(known, values, 0).astype(np.float32)[..., None],
            "label": np.searchsorted(classes, table[:, 0]).astype(np.int32),
            "length": length,
        },
        case_ids=[f"{name}/{split}/{i}" for i in range(len(table))],
        classes=tuple(f"{value:g}" for value in classes),
        name=str(path),
    )


def _table(path: Path) -> np.ndarray:
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    with reading(path, "the table of series"):
        table = np.loadtxt(path, dtype=np.float64, delimiter="\t", ndmin=2)
    if table.size == 0 or table.shape[1] < 2:
        raise fault(path, "table", "a line has a class and one value or more")
    if not np.isfinite(table[:, 0]).all():
        raise fault(path, "finite", "a class is not a finite number")
    return table
