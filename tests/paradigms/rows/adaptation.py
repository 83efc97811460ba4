"""A trained network on images of another kind, without labels."""

from __future__ import annotations

import optax

from jaxmed.paradigms import batch_statistics, coral, dann, mixstyle, mmd, tent
from rows._row import Row

ROWS = {
    "coral": Row(lambda task: coral(task.objective), stacks=True, across=True),
    "mmd": Row(lambda task: mmd(task.objective), stacks=True),
    "dann": Row(lambda task: dann(task.objective, hidden=4), stacks=True),
    # Whom padding rows are mixed with is theirs to say: the network is told no weights here.
    "mixstyle": Row(network=lambda trunk, task: mixstyle(trunk, at="Conv_0", p=1.0), padded=False),
    "batch_statistics": Row(network=lambda trunk, task: batch_statistics(trunk), norms=("batch",)),
    "tent": Row(
        solved=lambda network, task: tent(network, optax.sgd(0.1), keep=None),
        tasks=("classification", "segmentation"),
        norms=("batch", "group"),
    ),
}
