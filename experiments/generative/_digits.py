"""Small grey images for models that draw them: digits, and MedMNIST's sets of one channel."""

from __future__ import annotations

from typing import Any

import numpy as np

import jaxmed as jm
from jaxmed.data import MEDMNIST, in_memory, medmnist

from .._common.sets import DIGITS


def parts_of(dataset: str, examples: int | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The training part, of a fixed order if not whole, the test part, and the classes."""
    entry = MEDMNIST.get(dataset)
    if dataset in DIGITS:
        parts = {part: in_memory(DIGITS[dataset](part)) for part in ("train", "test")}
        classes = tuple(parts["test"].classes)
    elif entry is not None and entry.channels == 1 and entry.task != "multilabel":
        parts = {part: in_memory(medmnist(dataset, part)) for part in ("train", "test")}
        classes = tuple(entry.classes)
    else:
        raise ValueError(
            f"--dataset {dataset}: {', '.join(DIGITS)}, or a grey set of MedMNIST with one label "
            "an image"
        )
    order = np.random.default_rng(0).permutation(len(parts["train"]))[:examples]
    parts["train"] = jm.data.subset(parts["train"], np.sort(order))
    return parts, classes
