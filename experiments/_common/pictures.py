"""Pictures of a folder a class, small and grey, with what belongs together found in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import jaxmed as jm
from jaxmed import unsupervised as un
from jaxmed.cli._features import grey
from jaxmed.data import data_root

_COMPARED = 32  # Side at which near duplicates are looked for.


class Pictures(NamedTuple):
    """Images of a set.

    Attributes:
        images: (n, size, size, 1) in [0, 1].
        labels: (n,) classes.
        classes: their names.
        cases: (n,) names of the files.
        patients: (n,) a number for each patient that a file's name tells, and for each other file.
        told: (n,) whether the name tells a patient, which some sources' names do.
        units: (n,) as `patients`, with near duplicates in one.
        pairs: near duplicates of different patients.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    patients: np.ndarray
    told: np.ndarray
    units: np.ndarray
    pairs: tuple[un.NearPair, ...]


def pictures(data: Path | str, size: int, patient: str = "") -> Pictures:
    """Read a folder a class.

    Args:
        data: the folder, or the name of one in the data folder.
        size: side to which images are brought.
        patient: a pattern with one group, the patient in a file's name; "" for none.

    Raises:
        DataError: what `jaxmed data check` tells.
    """
    folder = Path(data)
    source = jm.data.dataset(folder if folder.is_dir() else data_root() / folder)
    cases, n = tuple(source.case_ids), len(source)
    found = [re.search(patient, Path(name).stem) if patient else None for name in cases]
    names = [name if match is None else match[1] for name, match in zip(cases, found, strict=True)]
    patients = np.unique(names, return_inverse=True)[1]
    pairs = _pairs(grey(source, _COMPARED), patients)
    return Pictures(
        grey(source, size).reshape(n, size, size, 1),
        np.asarray(source.labels, np.int32),
        tuple(source.classes),
        cases,
        patients,
        np.array([match is not None for match in found]),
        together(patients, pairs),
        pairs,
    )


def near_copies(images: np.ndarray, patients: np.ndarray) -> tuple[un.NearPair, ...]:
    """Images (n, side, side, 1) of different patients that are nearly the same."""
    shape = (len(images), _COMPARED, _COMPARED, 1)
    return _pairs(np.asarray(jax.image.resize(images, shape, "linear")), patients)


def _pairs(images: np.ndarray, patients: np.ndarray) -> tuple[un.NearPair, ...]:
    rows = images.reshape(len(images), -1)
    return un.explore(jax.random.key(0), rows, groups=patients, ks=(2, 3)).pairs


def together(patients: np.ndarray, pairs: tuple[un.NearPair, ...]) -> np.ndarray:
    """A number for each patient, the same where images of two are near duplicates."""
    n = int(patients.max()) + 1
    ends = np.array([(patients[p.first], patients[p.second]) for p in pairs], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)[1][patients]
