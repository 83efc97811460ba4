"""The sets that an experiment takes, and few labels of them."""

from __future__ import annotations

import numpy as np

from jaxmed.data import MEDMNIST, mnist, usps

DIGITS = {"mnist": mnist, "usps": usps}
"""Readers of the sets of digits, each of a part."""

ONE_LABEL = tuple(name for name, entry in MEDMNIST.items() if entry.task != "multilabel")
"""Sets of MedMNIST with one label an image."""

GREY = tuple(name for name in ONE_LABEL if MEDMNIST[name].channels == 1)
"""Those of one channel."""

FLAT = tuple(name for name in ONE_LABEL if MEDMNIST[name].rank == 2)
"""Those of images, not of volumes."""


def few_of_each(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Positions of ``n`` images of each class, drawn by a seed.

    Raises:
        ValueError: less than one, or more than a class has; names ``--labels``.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if not 1 <= n <= len(members):
            raise ValueError(f"--labels {n}: class {label} has {len(members)} training images")
        rows.append(rng.choice(members, n, replace=False))
    return np.concatenate(rows)
