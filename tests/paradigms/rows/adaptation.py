"""A trained network on images of another kind, without labels."""

from __future__ import annotations

import optax

import jaxmed as jm
from jaxmed.paradigms import batch_statistics, coral, dann, mixstyle, mmd, tent
from rows._row import LOSSES, TASKS, Row


def with_weights(task):
    """The task's objective, of a network that is told which rows are padding."""
    name = next(name for name, known in TASKS.items() if known is task)
    return jm.supervised(**LOSSES[name], inputs=("image", "weight"))


ROWS = {
    "coral": Row(lambda task: coral(task.objective), stacks=True),
    "mmd": Row(lambda task: mmd(task.objective), stacks=True),
    "dann": Row(lambda task: dann(task.objective, hidden=4), stacks=True),
    "mixstyle": Row(with_weights, network=lambda trunk, task: mixstyle(trunk, at="Conv_0", p=1.0)),
    "batch_statistics": Row(network=lambda trunk, task: batch_statistics(trunk), norms=("batch",)),
    "tent": Row(
        solved=lambda network, task: tent(network, optax.sgd(0.1), keep=None),
        tasks=("classification", "segmentation"),
        norms=("batch", "group"),
    ),
}
