"""Several tasks, and what they share."""

from __future__ import annotations

import flax.linen as nn

import jaxmed as jm
from jaxmed import paradigms
from rows._row import Row, Task

SOME = ("batch", "group")


def twice(task: Task) -> dict:
    return {"task": task.objective, "again": task.objective}


ROWS = {
    "uncertainty_weighted": Row(
        lambda task: paradigms.uncertainty_weighted(twice(task)), norms=SOME, stacks=True
    ),
    "gradnorm": Row(
        lambda task: paradigms.gradnorm(twice(task), shared=""),
        norms=SOME,
        stacks=True,
    ),
    "pcgrad": Row(lambda task: paradigms.pcgrad(twice(task), shared=""), norms=SOME, stacks=True),
    "with_heads": Row(
        lambda task: jm.weighted(
            {
                "task": task.objective,
                "value": jm.supervised(jm.losses.mse, output="value", target="value"),
            }
        ),
        network=lambda trunk, task: jm.with_heads(trunk, {"value": nn.Dense(1)}),
        norms=SOME,
    ),
    "soft_sharing": Row(
        lambda task: paradigms.soft_sharing(task.objective, ("logits", "other")),
        network=lambda trunk, task: paradigms.towers({"logits": trunk, "other": trunk}),
        norms=SOME,
    ),
    "cross_stitch": Row(
        network=lambda trunk, task: paradigms.cross_stitch(
            {name: [trunk, nn.Dense(task.outputs)] for name in ("logits", "other")}
        ),
        norms=SOME,
    ),
}
