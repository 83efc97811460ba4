"""What a saved generator is told of the set that it learned from."""

from __future__ import annotations

from jaxmed.data import MEDMNIST, medmnist


def class_names(data: str) -> tuple[str, ...]:
    """The classes of a set of MedMNIST; none of volumes."""
    return tuple(medmnist(data, "val").classes) if data in MEDMNIST else ()
