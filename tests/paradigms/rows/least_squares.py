"""Least squares on features that do not learn."""

from __future__ import annotations

from jaxmed.core import Learner, Network
from jaxmed.paradigms import closed_form, variable_projection
from rows._row import CLASSES, TASKS, Row

# What differs between tasks; `Tiny` has logits of its own.
TASK = {
    "classification": {"classes": CLASSES},
    "regression": {"targets": "numbers", "target": "value"},
    "segmentation": {"classes": CLASSES, "output": "pyramid", "target": "mask"},
}


def fitted(**options):
    def make(network: Network, task: str) -> Learner:
        return closed_form(network, head="answer", **TASK[task], **options)

    return make


def projected(task):
    name = next(name for name, known in TASKS.items() if known is task)
    return variable_projection(ridge=1.0, **TASK[name])


ROWS = {
    "variable_projection": Row(projected),
    "closed_form": Row(solved=fitted(ridge=1.0), across=True),
    "closed_form by cross-validation": Row(solved=fitted(ridge="gcv")),
    "closed_form of drawn features": Row(
        solved=fitted(ridge=1.0, draw=True, forget=0.9), norms=("group", "dropout")
    ),
}
