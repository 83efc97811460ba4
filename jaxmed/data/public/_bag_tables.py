"""Tables of bags: the classical benchmarks of multiple-instance learning (Musk, Elephant)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._source import ListSource
from jaxmed.data.public._matlab import read_matlab

CLASSES = ("negative", "positive")


def bag_table(path: str | os.PathLike) -> ListSource:
    r"""Read a table of bags: one row per instance, one label per bag.

    Two formats are supported, recognised by the file suffix:

    - ``.csv`` without a header: label (0 or 1), bag, features, as Elephant, Fox and Tiger come;
    - ``.mat``: a bag data set of the Matlab toolboxes PRTools and MIL, as Musk comes: an object
      ``x`` with ``data`` (instances, features), ``nlab`` (1 negative, 2 positive) and
      ``ident.milbag``.

    Args:
        path: the file, such as ``JAXMED_DATA/mil/musk1.mat``.

    Returns:
        A source of bags: ``image`` (instances, features) float32, the values as they are in the
        file, and ``label`` int32. ``case_ids`` are the bags' names, in the order of the file. A bag
        is positive if one of its instances is labelled so. Batches: `bag_batches`.

    Raises:
        DataError: a missing or malformed file, values that are not finite, labels that are not two
            classes, or (in ``.csv``) a bag with two labels.

    References:
        Dietterich, Lathrop and Lozano-Perez. Solving the multiple instance problem with
        axis-parallel rectangles. Artificial Intelligence 89, 1997 (Musk). Andrews, Tsochantaridis
        and Hofmann. Support vector machines for multiple-instance learning. NIPS 2002 (Elephant).

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "bags.csv"
        >>> _ = file.write_text("1,7,0.5,2\n1,7,1.5,2\n0,9,0,1\n")
        >>> source = bag_table(file)
        >>> [(bag["image"].shape, int(bag["label"])) for bag in source], source.case_ids
        ([((2, 2), 1), ((1, 2), 0)], ('7', '9'))
    """
    path = Path(path)
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    readers = {".csv": _from_csv, ".mat": _from_mat}
    if path.suffix.lower() not in readers:
        raise fault(path, "readable", f"a table of bags is a {' or a '.join(readers)} file")
    labels, names, features = readers[path.suffix.lower()](path)
    bad = int((~np.isfinite(features)).sum())
    if bad:
        raise fault(path, "finite", f"{bad} of {features.size} features are NaN or infinite")
    first = np.sort(np.unique(names, return_index=True)[1])
    bags = []
    for name in (names[i] for i in first):
        rows = names == name
        label = np.int32(labels[rows].max())
        bags.append({"image": features[rows].astype(np.float32), "label": label})
    found = {int(bag["label"]) for bag in bags}
    if found != {0, 1}:
        raise fault(path, "label-range", f"bags of both classes are needed, got labels {found}")
    return ListSource(
        tuple(bags), tuple(str(names[i]) for i in first), None, CLASSES, (),
    )  # fmt: skip


def _from_csv(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise fault(path, "readable", f"not a table of numbers: {error}") from error
    if table.shape[0] == 0:
        raise fault(path, "non-empty", "the table has no rows")
    if table.shape[1] < 3:
        raise fault(path, "table", f"{table.shape[1]} columns: wanted label, bag, features ...")
    labels, bags = table[:, 0], table[:, 1]
    if not np.isin(labels, (0, 1)).all():
        raise fault(path, "label-range", f"labels are 0 or 1, got {_some(labels)}")
    for bag in np.unique(bags):
        if len(np.unique(labels[bags == bag])) > 1:
            raise fault(path, "label-range", f"bag {bag:g} has rows of both labels")
    return labels, np.array([f"{bag:g}" for bag in bags]), table[:, 2:]


def _from_mat(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    held = read_matlab(path)
    try:
        table = held["x"][0, 0]
        features = np.asarray(table["data"], np.float64)
        labels = np.asarray(table["nlab"]).ravel().astype(int) - 1
        names = np.asarray(table["ident"][0, 0]["milbag"]).ravel()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise fault(
            path,
            "table",
            f"no PRTools data set x with data, nlab, ident.milbag: there is {sorted(held)}",
        ) from error
    if features.ndim != 2 or not len(features) == len(labels) == len(names):
        raise fault(
            path, "length",
            f"data {features.shape}, nlab {labels.shape} and milbag {names.shape} disagree",
        )  # fmt: skip
    if not np.isin(labels, (0, 1)).all():
        raise fault(path, "label-range", f"nlab is 1 or 2, got {_some(labels + 1)}")
    return labels, np.array([str(name).strip() for name in names]), features


def _some(values: np.ndarray) -> Sequence[float]:
    return np.unique(values)[:5].tolist()
