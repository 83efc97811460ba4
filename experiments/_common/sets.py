"""Names of the sets that an experiment takes, for its settings."""

from __future__ import annotations

from jaxmed.data import MEDMNIST

ONE_LABEL = tuple(name for name, entry in MEDMNIST.items() if entry.task != "multilabel")
"""Sets of MedMNIST with one label an image."""

GREY = tuple(name for name in ONE_LABEL if MEDMNIST[name].channels == 1)
"""Those of one channel."""

FLAT = tuple(name for name in ONE_LABEL if MEDMNIST[name].rank == 2)
"""Those of images, not of volumes."""
