"""Premises that predictions should satisfy."""

from __future__ import annotations

from jaxmed.rules import (
    anatomy,
    constrained,
    constrained_maps,
    encloses,
    exactly_one,
    implies,
    knowledge,
)
from rows._row import CLASSES, Row

NAMES = tuple(f"class {i}" for i in range(CLASSES))
KNOWN = knowledge(NAMES, exactly_one(*NAMES))
LOOSE = knowledge(NAMES, implies(NAMES[0], NAMES[1]))
MAPS = anatomy(NAMES, encloses(NAMES[1], NAMES[2]))

ROWS = {
    "constrained": Row(
        lambda task: constrained(task.objective, KNOWN, weight=lambda step: 0.1 * step),
        tasks=("classification", "segmentation"),
        stacks=True,
    ),
    "product constrained": Row(
        lambda task: constrained(task.objective, LOOSE, kind="product", activation="softmax"),
        tasks=("classification", "segmentation"),
        stacks=True,
    ),
    "constrained_maps": Row(
        lambda task: constrained_maps(task.objective, MAPS), tasks=("segmentation",), stacks=True
    ),
}
