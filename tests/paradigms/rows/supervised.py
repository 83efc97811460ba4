"""Learning from labels, and what stands beside it."""

from __future__ import annotations

import jax.numpy as jnp
import optax

import jaxmed as jm
from jaxmed import networks
from jaxmed.paradigms import Head, bagging, co_teaching, learning_loss, random_subspaces
from rows._row import LOSSES, TASKS, Row, noisy

_OWN = {  # by the activation of the task's predictions, and whether they are maps
    ("softmax", False): {"loss": jm.losses.cross_entropy},
    ("softmax", True): {"loss": jm.losses.dice_ce, "target": "mask"},
    (None, False): {"loss": jm.losses.mse, "target": "value"},
}

ROWS = {
    "supervised": Row(),
    "learning_loss": Row(
        lambda task: learning_loss(
            task.objective, stop_after=1, **_OWN[task.activation, task.dense]
        ),
        network=lambda trunk, task: jm.with_heads(
            trunk, {"predicted_loss": Head(networks.LossHead(4), "pyramid")}
        ),
    ),
    "weighted": Row(
        lambda task: jm.weighted({"once": task.objective, "again": task.objective}, {"again": 0.5}),
        stacks=True,
    ),
    "ramped weighted": Row(
        lambda task: jm.weighted({"task": task.objective}, {"task": lambda step: 1.0 + step}),
        stacks=True,
    ),
    "augmented": Row(lambda task: jm.augmented(task.objective, noisy), stacks=True),
    "mixup": Row(lambda task: jm.mixup(task.objective), stacks=True),
    "cutmix": Row(lambda task: jm.paradigms.cutmix(task.objective), stacks=True),
    "bagging": Row(
        learner=lambda one: bagging(one, 2, strategy="unroll"),
        batch=lambda batch: {**batch, "index": jnp.arange(len(batch["label"]))},
    ),
    "random_subspaces": Row(
        learner=lambda one: random_subspaces(one, 2, axes=(1, 2), strategy="unroll")
    ),
    "snapshots supervised": Row(learner=lambda one: jm.train.snapshots(one, 2, every=1)),
    "online_newton supervised": Row(
        solved=lambda network, task: jm.learner(
            network, TASKS[task].objective, jm.train.online_newton(0.5, radius=1.0)
        )
    ),
    "co_teaching": Row(
        solved=lambda network, task: co_teaching(
            network, TASKS[task].objective, optax.sgd(0.1), forget=0.25, **LOSSES[task]
        ),
        across=True,
    ),
    "ensemble": Row(learner=lambda one: jm.ensemble(one, 2, strategy="unroll")),
    "averaged alternate": Row(
        learner=lambda one: jm.train.parameter_average(
            jm.alternate({"a": one, "b": one}, predicts="a")
        )
    ),
    "alternate": Row(
        learner=lambda one: jm.alternate({"a": one, "b": one}, predicts="a", repeats={"a": 2})
    ),
}
